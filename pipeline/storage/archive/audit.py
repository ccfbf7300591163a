"""What no digest covers: the tar around the content of an archive, and the frames that hold it.

``ArchiveReader`` needs none of it; every other program does. Together with reading every blob and every metadata file, which
the caller does, ``audit`` looks at each byte of the stream: headers, padding and marks here, the rest there. Content of blobs
is not read again. The tar passes by in small pieces; nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from pipeline.core.oci import Digest
from pipeline.storage.archive.framing import MAX_FRAME, FrameError
from pipeline.storage.archive.index import INDEX_NAME, START_MARK, trailer_size
from pipeline.storage.archive.reader import ArchiveReader
from pipeline.storage.archive.tar_header import BLOCK, RECORD
from pipeline.storage.archive.tar_reader import TarError, TarMember, TarReader

MAX_PROBLEMS = 100
_WINDOW = 64 * 1024
"""Bytes of the stream in which most frames of metadata end."""


@dataclass(frozen=True)
class _Blob:
    """In place of a blob's content."""

    digest: Digest
    size: int


def audit(archive: ArchiveReader, check: Callable[[], None] = lambda: None) -> list[str]:
    """All that would make tar stumble, or unpack something else than what is read in place. Empty where nothing would.

    What ``check`` raises, called all along, ends it. Of many problems the first ``MAX_PROBLEMS`` are told.
    """
    frames = _Frames(archive, check)
    pieces = frames.pieces()
    problems = list(islice(_compare(archive, _Tar(pieces, check)), MAX_PROBLEMS))
    # With a hole in it the tar is out of step, and only the holes are told.
    if frames.problems or not problems:
        for _ in pieces:
            check()
    return frames.problems or problems


class _Frames:
    """All frames of an archive in order; ``problems`` are those that cannot be read."""

    def __init__(self, archive: ArchiveReader, check: Callable[[], None]) -> None:
        self.problems: list[str] = []
        self._archive = archive
        self._check = check
        self._note = archive.framing.note(START_MARK)
        self._is_marked = False

    def pieces(self) -> Iterator[bytes | _Blob]:
        """The content of the tar, and which blobs are in it."""
        archive, trailer = self._archive, self._archive.trailer
        end = archive.volumes.size - trailer_size(archive.framing)
        known: list[tuple[int, int, int, Digest | None]] = [
            *((blob.offset, blob.length, blob.size, digest) for digest, blob in archive.blobs.items() if blob.length),
            *((frame.offset, frame.length, frame.size, None) for frame in archive.index.frames),
            (trailer.offset, trailer.length, trailer.size, None),
            (end, 0, 0, None),
        ]
        position = 0
        for offset, length, size, digest in sorted(known, key=lambda part: part[0]):
            try:
                yield from self._between(position, offset)
                if digest is not None:
                    yield _Blob(digest, size)
                elif length:
                    yield archive.framing.unpack(archive.volumes.read(offset, length), size)
            except FrameError as error:
                where = archive.volumes.names(position, offset + length - position)
                self._problem(f"the tar around the blobs is damaged in {where}: {error}")
            position = offset + length
        if not self._is_marked:
            self._problem(f"the mark at the start of {archive.volumes.paths[0]} is damaged")

    def _between(self, start: int, stop: int) -> Iterator[bytes]:
        """The content of the frames from ``start`` to ``stop``, which the archive index does not name. Raises FrameError."""
        while start < stop:
            self._check()
            content, length = self._first_frame(start, stop)
            if length == len(self._note) and not content:
                self._is_marked = True
            elif not content:
                raise FrameError("an empty frame")
            yield content
            start += length

    def _first_frame(self, start: int, stop: int) -> tuple[bytes, int]:
        framing, volumes = self._archive.framing, self._archive.volumes
        data = volumes.read(start, min(stop - start, _WINDOW))
        # The mark decodes to nothing, so it is compared.
        if not self._is_marked and data.startswith(self._note):
            return b"", len(self._note)
        try:
            return framing.first_frame(data)
        except FrameError:
            if stop - start <= _WINDOW:
                raise
        return framing.first_frame(volumes.read(start, min(stop - start, framing.max_packed_length(MAX_FRAME))))

    def _problem(self, text: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(text)


class _Tar:
    """The unpacked tar, from front to back; content of blobs can only be passed."""

    def __init__(self, pieces: Iterator[bytes | _Blob], check: Callable[[], None]) -> None:
        self.position = 0
        self._pieces = pieces
        self._check = check
        self._data = memoryview(b"")
        self._blob: _Blob | None = None

    def read(self, size: int) -> bytes:
        """The next bytes, fewer where the tar ends. Raises TarError where a blob is in the way."""
        parts = []
        while size and self._fill():
            if self._blob is not None:
                raise TarError("a blob is where a header should be")
            part, self._data = self._data[:size], self._data[size:]
            size -= len(part)
            self.position += len(part)
            parts.append(bytes(part))
        return b"".join(parts)

    def skip(self, size: int) -> None:
        """Pass bytes and whole blobs. Raises TarError where a blob is longer, or the tar ends."""
        while size:
            if not self._fill() or (self._blob is not None and self._blob.size > size):
                raise TarError("a member is longer or shorter than its content")
            if self._blob is not None:
                passed, self._blob = self._blob.size, None
            else:
                passed = min(size, len(self._data))
                self._data = self._data[passed:]
            size -= passed
            self.position += passed

    def blob_here(self) -> Digest | None:
        """The blob whose content comes next."""
        return self._blob.digest if self._fill() and self._blob is not None else None

    def _fill(self) -> bool:
        """Whether something comes next."""
        while not self._data and self._blob is None:
            self._check()
            piece = next(self._pieces, None)
            if piece is None:
                return False
            if isinstance(piece, _Blob):
                self._blob = piece
            else:
                self._data = memoryview(piece)
        return True


def _compare(archive: ArchiveReader, tar: _Tar) -> Iterator[str]:
    """Whether the members of the tar are what the archive index says, and nothing but zeros is between them."""
    root, index = archive.index.root, archive.index
    files = {f"{root}/{name}": (file.start, file.size) for name, file in index.files.items()}
    blobs = {f"{digest.algorithm}/{digest.hex}": digest for digest in index.blobs}

    def is_expected(member: TarMember) -> bool:
        if member.name == f"{root}/{INDEX_NAME}":
            return member.size == archive.trailer.size
        if member.name in files:
            return files.pop(member.name) == (member.start, member.size)
        digest = blobs.pop("/".join(member.name.split("/")[-2:]), None)
        if digest is None or index.blobs[digest].size != member.size:
            return False
        return not member.size or tar.blob_here() == digest

    reader = TarReader(tar)
    try:
        while (member := reader.next_member()) is not None:
            if member.is_file and not is_expected(member):
                yield f"{member.name} in the tar is not what {INDEX_NAME} says"
            tar.skip(member.size)
            if any(tar.read(-member.size % BLOCK)):
                yield f"stray bytes in the tar after {member.name}"
        rest = tar.read(RECORD + 1)
        if any(rest) or len(rest) > RECORD:
            yield "stray bytes in the tar before the end"
    except TarError as error:
        yield f"tar cannot read the archive: {error}"
        return
    for name in [*files, *blobs]:
        yield f"the tar does not hold {name}, which {INDEX_NAME} names"
