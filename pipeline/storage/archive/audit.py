"""What no digest covers: the tar around the content of an archive, and the frames that hold it.

``ArchiveReader`` needs none of it; every other program does. In comes an archive that could be opened, out goes what is wrong
with it, in words. Together with reading every blob and every metadata file, which the caller does, this looks at each byte of
the stream: headers, padding and marks here, the rest there. Content of blobs is not read again.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import zstandard

from pipeline.core.files import CHUNK
from pipeline.storage.archive import volume_reader
from pipeline.storage.archive.framing import Codec, FrameError
from pipeline.storage.archive.index import INDEX_NAME, START_MARK, trailer_size
from pipeline.storage.archive.reader import ArchiveReader, _PackedReader

_GZIP = 16 + zlib.MAX_WBITS
_ZSTD_START = b"\x28\xb5\x2f\xfd"
_GZIP_START = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@dataclass(frozen=True)
class _Section:
    """Part of the tar: what it holds, or, of a blob, only how much."""

    size: int
    data: bytes | None


def audit(archive: ArchiveReader) -> list[str]:
    """All that would make tar stumble, or unpack something else than what is read in place. Empty where nothing would."""
    if not isinstance(archive, _PackedReader):
        return []
    sections, problems = [], []
    for section in _sections(archive):
        if isinstance(section, str):
            problems.append(section)
        else:
            sections.append(section)
    # With a hole in it the rest of the tar would be out of step.
    return problems or list(_compare(archive, _Tar(sections)))


def _sections(archive: _PackedReader) -> Iterator[_Section | str]:
    """The tar in order; in place of what cannot be read, what is wrong with it."""
    volumes, index = archive._volumes, archive._index
    trailer, framing = volume_reader.read_trailer(volumes)
    known: list[tuple[int, int, int, bool]] = [
        *((b.offset, b.length, b.size, True) for b in index.blobs.values() if b.length),
        *((f.offset, f.length, f.size, False) for f in index.frames),
        (trailer.offset, trailer.length, trailer.size, False),
    ]
    end = volumes.size - trailer_size(framing)
    position, note, is_marked = 0, framing.note(START_MARK), False
    for offset, length, size, is_blob in [*sorted(known), (end, 0, 0, False)]:
        if offset < position:
            yield f"two parts of the archive overlap at byte {offset}"
            return
        try:
            gap = volumes.read(position, offset - position)
            # The mark decodes to nothing, so it is compared.
            before, mark, after = gap.partition(note) if not is_marked else (gap, b"", b"")
            is_marked = is_marked or bool(mark)
            for part in (before, after):
                if data := _decode(part, index.codec):
                    yield _Section(len(data), data)
            if is_blob:
                yield _Section(size, None)
            elif length:
                yield _Section(size, framing.unpack(volumes.read(offset, length), size))
        except FrameError as error:
            yield f"the tar around the blobs is damaged in {volumes.names(position, offset + length - position)}: {error}"
        position = offset + length
    if not is_marked:
        yield f"the mark at the start of {volumes.paths[0]} is damaged"


def _decode(data: bytes, codec: Codec) -> bytes:
    """The content of frames, one after another. Raises FrameError."""
    content = []
    try:
        while data:
            if codec is Codec.GZIP:
                gzip = zlib.decompressobj(_GZIP)
                content.append(gzip.decompress(data))
                if not gzip.eof or not data.startswith(_GZIP_START):
                    raise FrameError("no gzip member")
                data = gzip.unused_data
            else:
                zstd = zstandard.ZstdDecompressor().decompressobj()
                content.append(zstd.decompress(data))
                if not zstd.eof or not data.startswith(_ZSTD_START):
                    raise FrameError("no zstd frame")
                data = zstd.unused_data
    except (zlib.error, zstandard.ZstdError) as error:
        raise FrameError(str(error)) from error
    return b"".join(content)


class _Tar(io.RawIOBase):
    """The unpacked tar as a file, with zeros for the content of blobs."""

    def __init__(self, sections: list[_Section]) -> None:
        self._sections = sections
        self._ends = list(accumulate(section.size for section in sections))
        self._position = 0
        self.blobs = {end - section.size for section, end in zip(sections, self._ends, strict=True) if section.data is None}
        """Where in the tar blobs start."""

    @property
    def size(self) -> int:
        return self._ends[-1] if self._ends else 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        wanted = self.size - self._position if size < 0 else min(size, self.size - self._position)
        data = b""
        while len(data) < wanted:
            number = bisect_right(self._ends, self._position)
            section = self._sections[number]
            start = self._position - (self._ends[number] - section.size)
            length = min(wanted - len(data), section.size - start, CHUNK)
            data += bytes(length) if section.data is None else section.data[start : start + length]
            self._position += length
        return data


def _compare(archive: _PackedReader, tar: _Tar) -> Iterator[str]:
    """Whether the members of the tar are what the archive index says, and nothing but zeros is between them."""
    root, index = archive._index.root, archive._index
    expected = {f"{root}/{name}": file.size for name, file in index.files.items()}
    blobs = {f"/{digest.algorithm}/{digest.hex}": entry.size for digest, entry in index.blobs.items()}
    end = 0
    try:
        with tarfile.open(fileobj=cast("io.BufferedIOBase", tar), mode="r:") as members:
            for member in members:
                yield from _stray_bytes(tar, end, member.offset, member.name)
                end = member.offset_data + (member.size if member.isreg() else 0)
                if not member.isreg() or member.name == f"{root}/{INDEX_NAME}":
                    continue
                size = expected.pop(member.name, None)
                if size is None and (member.offset_data in tar.blobs or not member.size):
                    size = blobs.pop("/" + "/".join(member.name.split("/")[-2:]), None)
                if size != member.size:
                    yield f"{member.name} in the tar is not what {INDEX_NAME} says"
        yield from _stray_bytes(tar, end, tar.size, "the end")
    except tarfile.TarError as error:
        yield f"tar cannot read the archive: {error}"
    for name in [*expected, *blobs]:
        yield f"the tar does not hold {name.removeprefix('/')}, which {INDEX_NAME} names"


def _stray_bytes(tar: _Tar, start: int, stop: int, where: str) -> Iterator[str]:
    tar.seek(start)
    if any(tar.read(stop - start)):
        yield f"stray bytes in the tar before {where}"
