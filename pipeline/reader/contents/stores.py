"""Where blobs and metadata files come from: an archive of ours, a folder, or a plain tar, all read in place.

Any thread may read. A blob that is read whole is checked against its digest. Folders and tars are image layouts, ours or
others' (``skopeo copy … oci:`` and ``oci-archive:``, a hauler store), or what ``docker save`` wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.core.errors import ArchiveError, ContentError
from pipeline.core.oci import Digest
from pipeline.reader.contents.docker_save import DockerSave, present_children
from pipeline.reader.contents.trees import FolderTree, TarTree, Tree
from pipeline.storage.archive import ArchiveReader, ForeignArchiveError
from pipeline.storage.archive.decoding import compression
from pipeline.storage.archive.index import MAX_METADATA
from pipeline.storage.archive.volume_reader import VolumeSet, find
from pipeline.storage.bundle_state import IMAGES_LIST
from pipeline.storage.cache import SHARE
from pipeline.storage.image_layout import BLOBS, INDEX, LAYOUT_FILE

DOCKER_MANIFEST = "manifest.json"
"""What ``docker save`` lists its images in."""


class Store(Protocol):
    """Where blobs and metadata files come from."""

    @property
    def place(self) -> str:
        """What the user named, for messages."""

    @property
    def kind(self) -> str:
        """As ``-compress`` calls it: gzip, zstd or dir; or tar."""

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob; None where there is no such blob."""

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As ``ArchiveReader.open_blob``: raises ArchiveError, for damage at the latest before the last piece."""

    def metadata(self, path: str) -> bytes | None:
        """A metadata file, None where there is none. Raises ArchiveError where it is damaged."""

    def blobs(self) -> Iterable[Digest]:
        """All blobs, in the order in which they are read fastest."""

    def has_changed(self) -> bool:
        """Whether what lies there now is another bundle, or none. Cheap; what was opened is read on, but for a folder."""


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

    def has_changed(self) -> bool:
        return self.reader.volumes.has_changed()


class TreeStore:
    """Blobs and metadata files in a folder or a tar."""

    def __init__(self, tree: Tree) -> None:
        """Raises ArchiveError; its subclass ForeignArchiveError where no bundle can be made out."""
        self.place = tree.place
        self.kind = tree.kind
        self._tree = tree
        self._root, is_layout = _root_of(tree)
        self._made: dict[Digest, bytes] = {}
        self._paths: dict[Digest, str] = {}
        self._index: bytes | None = None
        self._index_path = self._root + (INDEX if is_layout else DOCKER_MANIFEST)
        tree.has_changed(self._index_path)  # as it is now
        if not is_layout:
            save = DockerSave(tree, _metadata(tree, self._index_path) or b"")
            self._made, self._paths, self._index = save.made, save.paths, save.index
        elif tree.size(self._root + DOCKER_MANIFEST) is not None and (index := self.metadata(INDEX)) is not None:
            self._index, self._made = present_children(self, index)

    def size(self, digest: Digest) -> int | None:
        if digest in self._made:
            return len(self._made[digest])
        path = self._path(digest)
        return None if path is None else self._tree.size(path)

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        size = self.size(digest)
        if size is None:
            raise ArchiveError(f"{self.place} does not hold {digest}")
        stop = size if length is None else offset + length
        if not 0 <= offset <= stop <= size:
            raise ArchiveError(f"{digest} has {size} bytes, none from {offset} to {stop}")
        if digest in self._made:
            return iter((self._made[digest][offset:stop],))
        path = self._path(digest)
        assert path is not None, "it has a size"
        pieces = self._tree.read(path, offset, stop)
        return _verified(pieces, digest, self._tree.name(path)) if (offset, stop) == (0, size) else pieces

    def metadata(self, path: str) -> bytes | None:
        if path == INDEX and self._index is not None:
            return self._index
        return _metadata(self._tree, self._root + path)

    def blobs(self) -> Iterable[Digest]:
        found: dict[Digest, None] = dict.fromkeys((*self._made, *self._paths))
        for folder in (SHARE, BLOBS):
            for path in self._tree.paths(self._root + folder):
                try:
                    found[Digest.parse(":".join(path.split("/")[-2:]))] = None
                except ContentError:  # what a copy that was killed left there
                    continue
        return found

    def has_changed(self) -> bool:
        return self._tree.has_changed(self._index_path)

    def _path(self, digest: Digest) -> str | None:
        if digest in self._paths:
            return self._paths[digest]
        for folder in (SHARE, BLOBS):
            path = f"{self._root}{folder}/{digest.algorithm}/{digest.hex}"
            if self._tree.size(path) is not None:
                return path
        return None


def open_store(path: Path, place: str = "", volumes: VolumeSet | None = None) -> Store:
    """What lies at ``path``; ``place`` is what messages call it, ``volumes`` what it was found to be.

    Raises ArchiveError; its subclass ForeignArchiveError for what can only be unpacked.
    """
    if path.is_dir():
        return TreeStore(FolderTree(path, place))
    volumes = find(path) if volumes is None else volumes
    try:
        return ArchiveStore(path, ArchiveReader(volumes))
    except ForeignArchiveError:
        if compression(volumes) != "tar":
            raise
    return TreeStore(TarTree(path, volumes))


def _root_of(tree: Tree) -> tuple[str, bool]:
    """The folder, with a slash at its end, that the bundle is in: the root, or the one below it; and whether it is a layout."""

    def is_layout(root: str) -> bool:
        if any(tree.size(root + name) is not None for name in (LAYOUT_FILE, IMAGES_LIST)):
            return True
        # A hauler store has no oci-layout file.
        return tree.size(root + INDEX) is not None and any(tree.paths(root + BLOBS))

    if is_layout(""):
        return "", True
    if tree.size(DOCKER_MANIFEST) is not None:
        return "", False
    inner = [f"{folder}/" for folder in tree.folders() if is_layout(f"{folder}/")]
    if len(inner) != 1:
        raise ForeignArchiveError(
            f"{tree.place} holds no bundle: neither it nor the one folder in it has a file {LAYOUT_FILE}, {IMAGES_LIST} or "
            f"{DOCKER_MANIFEST}"
        )
    return inner[0], True


def _metadata(tree: Tree, path: str) -> bytes | None:
    size = tree.size(path)
    if size is None:
        return None
    if size > MAX_METADATA:
        raise ArchiveError(f"{tree.name(path)} has more than {MAX_METADATA} bytes")
    return b"".join(tree.read(path, 0, size))


def _verified(pieces: Iterator[bytes], digest: Digest, name: str) -> Iterator[bytes]:
    """``pieces``, of which the last is given only when all of them have the digest."""
    hasher, last = hashlib.new(digest.algorithm), b""
    for piece in pieces:
        hasher.update(piece)
        if last:
            yield last
        last = piece
    if hasher.hexdigest() != digest.hex:
        raise ArchiveError(f"{name} is damaged: it does not match its digest")
    if last:
        yield last
