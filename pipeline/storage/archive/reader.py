"""Read an archive in place: its metadata and any blob, without unpacking it.

``open_archive`` takes what the user has: a file, a set of volumes, or the unpacked folder. What it gives can be read by
several threads at once. Bytes are verified as they are read: whoever reads a blob from its first byte to its last never
gets the end of one that does not have its digest, but ``ArchiveError`` with the names of the blob and of the file.
"""

from __future__ import annotations

import abc
import bisect
import contextlib
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from pipeline.core.errors import ArchiveError, ContentError
from pipeline.core.files import CHUNK, TEMPORARY
from pipeline.core.oci import Digest
from pipeline.storage.archive import volume_reader
from pipeline.storage.archive.framing import FrameError, Framing
from pipeline.storage.archive.index import INDEX_NAME, MAX_INDEX_SIZE, ArchiveIndex, BlobEntry, MetadataFrame, Trailer
from pipeline.storage.archive.volume_reader import VolumeSet

_BLOB_FOLDERS = ("share", "blobs")
_NO_METADATA = frozenset({*_BLOB_FOLDERS, ".state", INDEX_NAME})


def open_archive(path: Path) -> ArchiveReader:
    """Open an archive file, a set of volumes (by its name, with or without ``.partN``), or an unpacked folder.

    Raises ArchiveError naming what is missing, truncated, out of place or damaged, as far as it can be known without reading
    everything; its subclass ForeignArchiveError for what this program did not write, which tar may still be able to unpack.
    """
    if path.is_dir():
        return _FolderReader(path)
    volumes = volume_reader.find(path)
    return _PackedReader(volumes, *volume_reader.read_trailer(volumes))


class ArchiveReader(abc.ABC):
    """What there is to read. ``blobs`` is given by digest, everything else by its path below the root folder."""

    names: tuple[str, ...]
    """The metadata files, e.g. ``index.json``."""
    blobs: Mapping[Digest, BlobEntry]

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing is kept open between two reads, so nothing is to be done."""
        return

    def has_blob(self, digest: Digest) -> bool:
        return digest in self.blobs

    @abc.abstractmethod
    def read_metadata(self, path: str) -> bytes:
        """A whole metadata file, verified where a digest of it is known. Raises ArchiveError."""

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of a blob from ``offset`` on, ``length`` of them or all there are, in pieces of about a MiB.

        Raises ArchiveError for a blob that is not there, a range outside it, and, before the last piece is given when it is
        read whole, one that does not have its digest.
        """
        entry = self.blobs.get(digest)
        if entry is None:
            raise ArchiveError(f"{self._place()} does not hold {digest}")
        stop = entry.size if length is None else offset + length
        if not 0 <= offset <= stop <= entry.size:
            raise ArchiveError(f"{digest} has {entry.size} bytes, none from {offset} to {stop}")
        pieces = self._content(digest, entry, offset, stop) if stop > offset else iter(())
        if offset == 0 and stop == entry.size:
            return self._verified(pieces, digest, entry)
        return pieces

    def _verified(self, pieces: Iterator[bytes], digest: Digest, entry: BlobEntry) -> Iterator[bytes]:
        hasher, size, held = hashlib.new(digest.algorithm), 0, b""
        for piece in pieces:
            hasher.update(piece)
            size += len(piece)
            if held:
                yield held
            held = piece
        if size != entry.size or hasher.hexdigest() != digest.hex:
            raise self._damaged(digest, entry, "it does not match its digest")
        if held:
            yield held

    def _damaged(self, digest: Digest, entry: BlobEntry, reason: str) -> ArchiveError:
        return ArchiveError(f"{digest} is damaged in {self._place(digest, entry)}: {reason}", tip="copy the archive again")

    @abc.abstractmethod
    def _content(self, digest: Digest, entry: BlobEntry, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` to ``stop`` (> start), not verified."""

    @abc.abstractmethod
    def _place(self, digest: Digest | None = None, entry: BlobEntry | None = None) -> str:
        """The file or files that all, or one blob, is in."""


class _PackedReader(ArchiveReader):
    """An archive file or a set of volumes."""

    def __init__(self, volumes: VolumeSet, trailer: Trailer, framing: Framing) -> None:
        self._volumes = volumes
        self._framing = framing
        self._index = _read_index(volumes, trailer, framing)
        volume_reader.check_places(volumes, self._index.samples)
        self._frame_starts = [frame.start for frame in self._index.frames]
        self._last_frame: tuple[MetadataFrame, bytes] | None = None
        self.names = tuple(self._index.files)
        self.blobs = self._index.blobs

    def read_metadata(self, path: str) -> bytes:
        file = self._index.files.get(path)
        if file is None:
            raise ArchiveError(f"{self._place()} does not hold {path}")
        data = b""
        first = bisect.bisect_right(self._frame_starts, file.start) - 1
        for frame in self._index.frames[max(first, 0) :] if file.size else ():
            if len(data) == file.size:
                break
            skip = file.start + len(data) - frame.start
            data += self._unpack_frame(frame, path)[skip : skip + file.size - len(data)]
        if Digest.of(data, file.digest.algorithm) != file.digest:
            raise ArchiveError(f"{path} is damaged in {self._place()}", tip="copy the archive again")
        return data

    def _unpack_frame(self, frame: MetadataFrame, path: str) -> bytes:
        # Files are mostly read one after another, and lie in one frame.
        last = self._last_frame
        if last is not None and last[0] == frame:
            return last[1]
        try:
            data = self._framing.unpack(self._volumes.read(frame.offset, frame.length), frame.size)
        except FrameError as error:
            where = self._volumes.names(frame.offset, frame.length)
            raise ArchiveError(f"{path} is damaged in {where}: {error}", tip="copy the archive again") from error
        self._last_frame = frame, data
        return data

    def _content(self, digest: Digest, entry: BlobEntry, start: int, stop: int) -> Iterator[bytes]:
        if entry.encoding == self._framing.stored_name:
            read = self._stored
        elif entry.encoding == self._framing.packed_name:
            read = self._packed
        else:
            raise self._damaged(digest, entry, f"unknown encoding {entry.encoding!r}")
        try:
            yield from read(entry, start, stop)
        except FrameError as error:
            raise self._damaged(digest, entry, str(error)) from error

    def _stored(self, entry: BlobEntry, start: int, stop: int) -> Iterator[bytes]:
        framing, checksum = self._framing, 0
        step = CHUNK // framing.block_size * framing.block_size
        for position in range(start - start % framing.block_size, stop, step):
            end = min(position + step, stop)
            first_byte, last_byte = framing.block_range(entry.size, position, end)
            data = self._volumes.read(entry.offset + first_byte, last_byte - first_byte)
            content = b"".join(framing.blocks(data, entry.size, position))
            checksum = zlib.crc32(content, checksum)
            yield content[max(start - position, 0) : end - position]
        if start == 0 and stop == entry.size:
            self._check_frame(entry, 0, framing.stored_start(entry.size))
            frame_end = framing.stored_end(checksum, entry.size)
            self._check_frame(entry, entry.length - len(frame_end), frame_end)

    def _check_frame(self, entry: BlobEntry, position: int, expected: bytes) -> None:
        """For other programs' sake: they read what we could do without."""
        if self._volumes.read(entry.offset + position, len(expected)) != expected:
            raise FrameError(f"its frame is not as it must be at byte {position}")

    def _packed(self, entry: BlobEntry, start: int, stop: int) -> Iterator[bytes]:
        chunk_size, offset = self._index.chunk_size, entry.offset
        for number, length in enumerate(entry.chunks):
            position = number * chunk_size
            if position < stop and position + chunk_size > start:
                size = min(chunk_size, entry.size - position)
                content = self._framing.unpack(self._volumes.read(offset, length), size)
                yield content[max(start - position, 0) : stop - position]
            offset += length

    def _place(self, digest: Digest | None = None, entry: BlobEntry | None = None) -> str:
        return self._volumes.names(entry.offset, entry.length) if entry else self._volumes.names(0, self._volumes.size)


def _read_index(volumes: VolumeSet, trailer: Trailer, framing: Framing) -> ArchiveIndex:
    try:
        if trailer.size > MAX_INDEX_SIZE or trailer.length > MAX_INDEX_SIZE:
            raise FrameError(f"{trailer.size} bytes are too many")
        data = framing.unpack(volumes.read(trailer.offset, trailer.length), trailer.size)
        if hashlib.sha256(data).digest() != trailer.sha256:
            raise FrameError("it does not match its digest")
        return ArchiveIndex.from_bytes(data)
    except FrameError as error:
        where = volumes.names(trailer.offset, trailer.length)
        raise ArchiveError(f"the {INDEX_NAME} in {where} is damaged: {error}", tip="copy the archive again") from error


class _FolderReader(ArchiveReader):
    """An unpacked archive, or the folder that ``-compress=dir`` made; the folder itself or the one it is in."""

    def __init__(self, path: Path) -> None:
        self._root = path if (path / "oci-layout").exists() else _only_layout(path)
        self.blobs = dict(self._find_blobs())
        self.names = tuple(sorted(self._metadata_names(self._root)))

    def _find_blobs(self) -> Iterator[tuple[Digest, BlobEntry]]:
        for base in _BLOB_FOLDERS:
            for file in (file for folder in _children(self._root / base) for file in _children(folder)):
                # What skopeo left of a copy that was killed has no digest for a name.
                with contextlib.suppress(ContentError):
                    size = file.stat().st_size
                    yield Digest.parse(f"{file.parent.name}:{file.name}"), BlobEntry(0, size, size, "file")

    def _metadata_names(self, folder: Path) -> Iterator[str]:
        for child in _children(folder):
            if child.name in _NO_METADATA or child.name.startswith(TEMPORARY) or child.is_symlink():
                continue
            if child.is_dir():
                yield from self._metadata_names(child)
            else:
                yield str(child.relative_to(self._root))

    def read_metadata(self, path: str) -> bytes:
        if path not in self.names:
            raise ArchiveError(f"{self._root} does not hold {path}")
        return (self._root / path).read_bytes()

    def _content(self, digest: Digest, entry: BlobEntry, start: int, stop: int) -> Iterator[bytes]:
        volumes = VolumeSet((self._file(digest),))
        for position in range(start, stop, CHUNK):
            yield volumes.read(position, min(CHUNK, stop - position))

    def _file(self, digest: Digest) -> Path:
        paths = [self._root / base / digest.algorithm / digest.hex for base in _BLOB_FOLDERS]
        return paths[0] if paths[0].exists() else paths[1]

    def _place(self, digest: Digest | None = None, entry: BlobEntry | None = None) -> str:
        return str(self._file(digest) if digest else self._root)


def _only_layout(path: Path) -> Path:
    """The one OCI image layout in the folder ``path``."""
    layouts = [marker.parent for marker in path.glob("*/oci-layout")]
    if len(layouts) != 1:
        raise volume_reader.ForeignArchiveError(
            f"{path} is no unpacked archive: neither it nor the one folder in it has an oci-layout file"
        )
    return layouts[0]


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
