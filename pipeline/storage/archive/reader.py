"""Read an archive in place: its metadata and any blob, without unpacking it.

Several threads may read at once. Bytes are verified as they are read: whoever reads a blob from its first byte to its last
never gets the end of one that does not have its digest, but ``ArchiveError`` with the names of the blob and of the file. The
files stay open, so an archive that another run replaces is read on as it was.
"""

from __future__ import annotations

import bisect
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from pipeline.core.errors import ArchiveError
from pipeline.core.files import CHUNK
from pipeline.core.oci import Digest
from pipeline.storage.archive import volume_reader
from pipeline.storage.archive.framing import FrameError, Framing
from pipeline.storage.archive.index import (
    INDEX_NAME,
    MAX_INDEX_SIZE,
    ArchiveIndex,
    BlobEntry,
    MetadataFrame,
    Trailer,
    trailer_size,
)
from pipeline.storage.archive.volume_reader import VolumeSet


def open_archive(path: Path) -> ArchiveReader:
    """Open an archive file, or a set of volumes (by its name, with or without ``.partN``).

    Raises ArchiveError naming what is missing, truncated, out of place or damaged, as far as it can be known without reading
    everything; its subclass ForeignArchiveError for what this program did not write, which tar may still be able to unpack.
    """
    return ArchiveReader(volume_reader.find(path))


class ArchiveReader:
    """An archive file or a set of volumes. ``blobs`` is given by digest, everything else by its path below the root folder."""

    def __init__(self, volumes: VolumeSet) -> None:
        """Raises as ``open_archive``."""
        self.volumes = volumes
        self.trailer, self.framing = volume_reader.read_trailer(volumes)
        self.index = _read_index(volumes, self.trailer, self.framing)
        volume_reader.check_places(volumes, self.index.samples)
        self._frame_starts = [frame.start for frame in self.index.frames]
        self._last_frame: tuple[MetadataFrame, bytes] | None = None
        self.names = tuple(self.index.files)
        """The metadata files, e.g. ``index.json``."""
        self.blobs: Mapping[Digest, BlobEntry] = self.index.blobs

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.volumes.close()

    def has_blob(self, digest: Digest) -> bool:
        return digest in self.blobs

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

    def content(self, digest: Digest) -> Iterator[bytes]:
        """All bytes of a blob in pieces, checked against nothing: for who hashes them. Raises ArchiveError."""
        entry = self.blobs[digest]
        return self._content(digest, entry, 0, entry.size) if entry.size else iter(())

    def frames(self, digest: Digest) -> Iterator[tuple[bytes, bytes]] | None:
        """The packed frames of a blob with what is in them; None where it is stored. Raises ArchiveError."""
        entry = self.blobs[digest]
        return None if entry.encoding == self.framing.stored_name else self._frames(digest, entry)

    def _frames(self, digest: Digest, entry: BlobEntry) -> Iterator[tuple[bytes, bytes]]:
        position, offset = 0, entry.offset
        for length in entry.chunks or (entry.length,):
            size = min(self.index.chunk_size, entry.size - position)
            frame = self.volumes.read(offset, length)
            try:
                yield frame, self.framing.unpack(frame, size)
            except FrameError as error:
                raise self._damaged(digest, entry, str(error)) from error
            position, offset = position + size, offset + length

    def _verified(self, pieces: Iterator[bytes], digest: Digest, entry: BlobEntry) -> Iterator[bytes]:
        hasher, size, last = hashlib.new(digest.algorithm), 0, b""
        for piece in pieces:
            hasher.update(piece)
            size += len(piece)
            if last:
                yield last
            last = piece
        if size != entry.size or hasher.hexdigest() != digest.hex:
            raise self._damaged(digest, entry, "it does not match its digest")
        if last:
            yield last

    def _damaged(self, digest: Digest, entry: BlobEntry, reason: str) -> ArchiveError:
        return ArchiveError(f"{digest} is damaged in {self._place(entry)}: {reason}", tip="copy the archive again")

    def read_metadata(self, path: str) -> bytes:
        """A whole metadata file, verified. Raises ArchiveError."""
        file = self.index.files.get(path)
        if file is None:
            raise ArchiveError(f"{self._place()} does not hold {path}")
        data = b""
        first = bisect.bisect_right(self._frame_starts, file.start) - 1
        for frame in self.index.frames[max(first, 0) :] if file.size else ():
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
            data = self.framing.unpack(self.volumes.read(frame.offset, frame.length), frame.size)
        except FrameError as error:
            where = self.volumes.names(frame.offset, frame.length)
            raise ArchiveError(f"{path} is damaged in {where}: {error}", tip="copy the archive again") from error
        self._last_frame = frame, data
        return data

    def _content(self, digest: Digest, entry: BlobEntry, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` to ``stop`` (> start), not verified."""
        read = self._stored if entry.encoding == self.framing.stored_name else self._packed
        try:
            yield from read(entry, start, stop)
        except FrameError as error:
            raise self._damaged(digest, entry, str(error)) from error

    def _stored(self, entry: BlobEntry, start: int, stop: int) -> Iterator[bytes]:
        framing, checksum = self.framing, 0
        step = CHUNK // framing.block_size * framing.block_size
        for position in range(start - start % framing.block_size, stop, step):
            end = min(position + step, stop)
            first_byte, last_byte = framing.block_range(entry.size, position, end)
            data = self.volumes.read(entry.offset + first_byte, last_byte - first_byte)
            content = b"".join(framing.blocks(data, entry.size, position))
            checksum = zlib.crc32(content, checksum)
            yield content[max(start - position, 0) : end - position]
        if start == 0 and stop == entry.size:
            self._check_frame(entry, 0, framing.stored_start(entry.size))
            frame_end = framing.stored_end(checksum, entry.size)
            self._check_frame(entry, entry.length - len(frame_end), frame_end)

    def _check_frame(self, entry: BlobEntry, position: int, expected: bytes) -> None:
        """For other programs' sake: they read what we could do without."""
        if self.volumes.read(entry.offset + position, len(expected)) != expected:
            raise FrameError(f"its frame is not as it must be at byte {position}")

    def _packed(self, entry: BlobEntry, start: int, stop: int) -> Iterator[bytes]:
        chunk_size, offset = self.index.chunk_size, entry.offset
        for number, length in enumerate(entry.chunks or (entry.length,)):
            position = number * chunk_size
            if position < stop and position + chunk_size > start:
                size = min(chunk_size, entry.size - position)
                content = self.framing.unpack(self.volumes.read(offset, length), size)
                yield content[max(start - position, 0) : stop - position]
            offset += length

    def _place(self, entry: BlobEntry | None = None) -> str:
        """The file or files that all, or one blob, is in."""
        return self.volumes.names(entry.offset, entry.length) if entry else self.volumes.names(0, self.volumes.size)


def _read_index(volumes: VolumeSet, trailer: Trailer, framing: Framing) -> ArchiveIndex:
    try:
        if trailer.size > MAX_INDEX_SIZE or trailer.length > framing.max_packed_length(trailer.size):
            raise FrameError(f"it cannot have {trailer.size} bytes, {trailer.length} of them compressed")
        if trailer.offset + trailer.length > volumes.size - trailer_size(framing):
            raise FrameError(f"it cannot lie at byte {trailer.offset}")
        data = framing.unpack(volumes.read(trailer.offset, trailer.length), trailer.size)
        if hashlib.sha256(data).digest() != trailer.sha256:
            raise FrameError("it does not match its digest")
        return ArchiveIndex.from_bytes(data, framing, trailer.offset)
    except FrameError as error:
        where = volumes.names(trailer.offset, trailer.length)
        raise ArchiveError(f"the {INDEX_NAME} in {where} is damaged: {error}", tip="copy the archive again") from error
