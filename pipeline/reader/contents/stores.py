"""Where blobs and metadata files come from: an archive of ours, read in place, or a folder.

Any thread may read; nothing stays open between two reads. A blob that is read whole is checked against its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipeline.core.errors import ArchiveError, ContentError
from pipeline.core.files import CHUNK
from pipeline.core.oci import Digest
from pipeline.storage.archive import ArchiveReader, ForeignArchiveError, open_archive
from pipeline.storage.archive.index import MAX_METADATA
from pipeline.storage.bundle_state import IMAGES_LIST
from pipeline.storage.cache import SHARE
from pipeline.storage.image_layout import BLOBS, LAYOUT_FILE


class Store(Protocol):
    """Where blobs and metadata files come from."""

    @property
    def place(self) -> str:
        """For messages."""

    @property
    def kind(self) -> str:
        """As ``-compress`` calls it: gzip, zstd or dir."""

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob; None where there is no such blob."""

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As ``ArchiveReader.open_blob``: raises ArchiveError, for damage at the latest before the last piece."""

    def metadata(self, path: str) -> bytes | None:
        """A metadata file, None where there is none. Raises ArchiveError where it is damaged."""

    def blobs(self) -> Iterable[Digest]:
        """All blobs, in the order in which they are read fastest."""


@dataclass(frozen=True)
class ArchiveStore:
    """An archive of ours, in place."""

    path: Path
    reader: ArchiveReader

    @property
    def place(self) -> str:
        return str(self.path)

    @property
    def kind(self) -> str:
        return self.reader.framing.codec.value

    def size(self, digest: Digest) -> int | None:
        entry = self.reader.blobs.get(digest)
        return entry.size if entry else None

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        return self.reader.open_blob(digest, offset, length)

    def metadata(self, path: str) -> bytes | None:
        return self.reader.read_metadata(path) if path in self.reader.names else None

    def blobs(self) -> Iterable[Digest]:
        return sorted(self.reader.blobs, key=lambda digest: self.reader.blobs[digest].offset)


class FolderStore:
    """An unpacked bundle: the folder itself, or the one that it is in."""

    kind = "dir"

    def __init__(self, path: Path) -> None:
        """Raises ArchiveError when it is no bundle."""
        self.root = _root_of(path)
        self.place = str(self.root)
        self._folders = [folder for name in (SHARE, BLOBS) if (folder := self.root / name).is_dir()]

    def size(self, digest: Digest) -> int | None:
        file = self._file(digest)
        return file.stat().st_size if file else None

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        file = self._file(digest)
        if file is None:
            raise ArchiveError(f"{self.place} does not hold {digest}")
        size = file.stat().st_size
        stop = size if length is None else offset + length
        if not 0 <= offset <= stop <= size:
            raise ArchiveError(f"{digest} has {size} bytes, none from {offset} to {stop}")
        pieces = _pieces(file, offset, stop)
        return _verified(pieces, digest, file) if (offset, stop) == (0, size) else pieces

    def metadata(self, path: str) -> bytes | None:
        parts = PurePosixPath(path).parts
        if not parts or ".." in parts or path.startswith("/"):
            return None
        try:
            with (self.root / path).open("rb") as file:
                data = file.read(MAX_METADATA + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise ArchiveError(f"cannot read {self.root / path}: {error.strerror}") from error
        if len(data) > MAX_METADATA:
            raise ArchiveError(f"{self.root / path} has more than {MAX_METADATA} bytes")
        return data

    def blobs(self) -> Iterable[Digest]:
        found: dict[Digest, None] = {}
        for folder in self._folders:
            for file in sorted(folder.glob("*/*")):
                try:
                    found[Digest.parse(f"{file.parent.name}:{file.name}")] = None
                except ContentError:  # what a copy that was killed left there
                    continue
        return found

    def _file(self, digest: Digest) -> Path | None:
        for folder in self._folders:
            file = folder / digest.algorithm / digest.hex
            if file.is_file():
                return file
        return None


def open_store(path: Path) -> Store:
    """Raises ArchiveError; its subclass ForeignArchiveError for what can only be unpacked."""
    if path.is_dir():
        return FolderStore(path)
    return ArchiveStore(path, open_archive(path))


def _root_of(path: Path) -> Path:
    def is_root(folder: Path) -> bool:
        return any((folder / name).is_file() for name in (LAYOUT_FILE, IMAGES_LIST))

    if is_root(path):
        return path
    inner = [child for child in path.iterdir() if child.is_dir() and is_root(child)]
    if len(inner) != 1:
        raise ForeignArchiveError(
            f"{path} holds no bundle: neither it nor the one folder in it has a file {LAYOUT_FILE} or {IMAGES_LIST}"
        )
    return inner[0]


def _pieces(file: Path, offset: int, stop: int) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            stream.seek(offset)
            while offset < stop and (piece := stream.read(min(CHUNK, stop - offset))):
                offset += len(piece)
                yield piece
    except OSError as error:
        raise ArchiveError(f"cannot read {file}: {error.strerror}") from error


def _verified(pieces: Iterator[bytes], digest: Digest, file: Path) -> Iterator[bytes]:
    """``pieces``, of which the last is given only when all of them have the digest."""
    hasher, held = hashlib.new(digest.algorithm), b""
    for piece in pieces:
        hasher.update(piece)
        if held:
            yield held
        held = piece
    if hasher.hexdigest() != digest.hex:
        raise ArchiveError(f"{file} is damaged: it does not match its digest")
    if held:
        yield held
