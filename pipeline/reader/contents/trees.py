"""Files below one root: those of a folder, or of a plain tar, which is read in place.

Any thread may read. Paths are relative, with ``/``; none leads out of the root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from pipeline.core.errors import ArchiveError
from pipeline.core.files import CHUNK
from pipeline.storage.archive import ForeignArchiveError
from pipeline.storage.archive.tar_reader import TarError, TarReader
from pipeline.storage.archive.volume_reader import VolumeSet

MAX_MEMBERS = 100_000
"""Of a tar that is read in place: each takes memory."""
MAX_NAMES = 32 * 1024 * 1024
"""Characters of all their names together."""
MAX_LINKS = 8
"""Links that lead to links."""


class Tree(Protocol):
    """Files below one root."""

    @property
    def place(self) -> str:
        """What the user named, for messages."""

    @property
    def kind(self) -> str:
        """``dir`` or ``tar``."""

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is no such file."""

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes of a file from ``start`` to ``stop``, in pieces of up to a MiB. Raises ArchiveError."""

    def paths(self, folder: str) -> Iterable[str]:
        """The files that lie two folders below the root and in ``folder``, in order: those of its algorithms, for blobs."""

    def folders(self) -> Iterable[str]:
        """The folders right below the root."""

    def leads_out(self, path: str) -> bool:
        """Whether a file is a link to one outside: what is not known by its digest must not be one."""

    def name(self, path: str) -> str:
        """A file, for messages."""

    def has_changed(self, path: str) -> bool:
        """Whether a file is another one than when it was first asked for."""


class FolderTree:
    """The files of a folder. ``place`` is another name for it in messages: that of the archive that it was unpacked from."""

    kind = "dir"

    def __init__(self, root: Path, place: str = "") -> None:
        self._root = root
        self._is_unpacked = bool(place)
        self.place = place or str(root)
        self._seen: dict[str, object] = {}

    def size(self, path: str) -> int | None:
        file = self._file(path)
        return file.stat().st_size if file is not None and file.is_file() else None

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        try:
            with (self._root / path).open("rb") as stream:
                stream.seek(start)
                while start < stop and (piece := stream.read(min(CHUNK, stop - start))):
                    start += len(piece)
                    yield piece
        except OSError as error:
            raise ArchiveError(f"cannot read {self.name(path)}: {error.strerror}") from error

    def paths(self, folder: str) -> Iterable[str]:
        return [str(file.relative_to(self._root)) for file in sorted((self._root / folder).glob("*/*"))]

    def folders(self) -> Iterable[str]:
        return [child.name for child in self._root.iterdir() if child.is_dir()]

    def leads_out(self, path: str) -> bool:
        return not (self._root / path).resolve().is_relative_to(self._root.resolve())

    def name(self, path: str) -> str:
        return f"{path} in {self.place}" if self._is_unpacked else str(self._root / path)

    def has_changed(self, path: str) -> bool:
        try:
            status = (self._root / path).stat()
        except OSError:
            return path in self._seen
        now = status.st_size, status.st_mtime_ns
        return self._seen.setdefault(path, now) != now

    def _file(self, path: str) -> Path | None:
        parts = PurePosixPath(path).parts
        return None if not parts or ".." in parts or parts[0] == "/" else self._root / path


class TarTree:
    """The files of a tar that is not compressed; links lead to other files of it."""

    kind = "tar"

    def __init__(self, path: Path, volumes: VolumeSet) -> None:
        """Raises ArchiveError for what is not a tar; ForeignArchiveError for one with too many files to read it in place."""
        self.place = str(path)
        self._volumes = volumes
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        try:
            self._read_members()
        except TarError as error:
            raise ArchiveError(f"{path} is not a tar, or damaged: {error}", tip="copy it again") from error

    def size(self, path: str) -> int | None:
        found = self._find(path)
        return found[1] if found else None

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        found = self._find(path)
        if found is None:
            raise ArchiveError(f"{self.place} does not hold {path}")
        for position in range(start, stop, CHUNK):
            yield self._volumes.read(found[0] + position, min(CHUNK, stop - position))

    def paths(self, folder: str) -> Iterable[str]:
        below = f"{folder}/"
        return sorted(
            path for path in {*self._files, *self._links} if path.startswith(below) and path.count("/", len(below)) == 1
        )

    def folders(self) -> Iterable[str]:
        return sorted({path.partition("/")[0] for path in self._files if "/" in path})

    def leads_out(self, path: str) -> bool:
        return False

    def name(self, path: str) -> str:
        return f"{path} in {self.place}"

    def has_changed(self, path: str) -> bool:
        return self._volumes.has_changed()

    def _find(self, path: str) -> tuple[int, int] | None:
        for _ in range(MAX_LINKS):
            if path not in self._links:
                break
            path = self._links[path]
        return self._files.get(path)

    def _read_members(self) -> None:
        reader = TarReader(_VolumeStream(self._volumes))
        names = 0
        while (member := reader.next_member()) is not None:
            names += len(member.name) + len(member.target)
            if names > MAX_NAMES or len(self._files) + len(self._links) >= MAX_MEMBERS:
                raise ForeignArchiveError(
                    f"{self.place} has more than {MAX_MEMBERS} members, too many to read it in place",
                    tip="unpack it with tar and name the folder",
                )
            path = str(PurePosixPath(member.name))
            self._files.pop(path, None)
            self._links.pop(path, None)
            if member.is_file:
                self._files[path] = member.start, member.size
            elif member.target:
                self._links[path] = str(PurePosixPath(member.target))


class _VolumeStream:
    """Volumes as a ``TarStream``."""

    def __init__(self, volumes: VolumeSet) -> None:
        self._volumes = volumes
        self.position = 0

    def read(self, size: int) -> bytes:
        size = min(size, self._volumes.size - self.position)
        data = self._volumes.read(self.position, size)
        self.position += size
        return data

    def skip(self, size: int) -> None:
        self.position = min(self.position + size, self._volumes.size)
