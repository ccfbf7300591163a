"""Files that stay the same while they are read, whatever becomes of their names.

A file is opened once and read by position, so any thread may read, and one that is replaced under its name is read on. Of more
files than a process may have open, those used last are; one that has changed when it is opened again is an error.
"""

from __future__ import annotations

import os
import resource
import stat
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.errors import ArchiveError

MAX_OPEN = 1024


class OpenedFiles:
    """``sizes`` are those of the files in bytes, when they were opened first."""

    def __init__(self, paths: Sequence[Path], limit: int | None = None) -> None:
        """At most ``limit`` are open at once: by default, what the system lets us. Raises ArchiveError."""
        self._paths = tuple(paths)
        self._limit = _open_files() if limit is None else limit
        self._lock = threading.Lock()
        self._open: OrderedDict[int, _OpenFile] = OrderedDict()
        self._seen: list[tuple[int, int]] = []
        for number, path in enumerate(self._paths):
            file = _OpenFile(path)
            self._seen.append(file.identity)
            self._keep(number, file)
        self.sizes = tuple(size for size, _ in self._seen)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes of a file. Raises ArchiveError where it ends before, has changed, or cannot be read."""
        path = self._paths[number]
        try:
            data = self._file(number).read(offset, length)
        except OSError as error:
            raise ArchiveError(f"cannot read {path}: {error.strerror}") from error
        if len(data) < length:
            raise ArchiveError(f"{path} became shorter while it was read")
        return data

    def has_changed(self) -> bool:
        """Whether the names lead to other files now, or to none."""
        try:
            return any(_identity(path.stat()) != seen for path, seen in zip(self._paths, self._seen, strict=True))
        except OSError:
            return True

    def close(self) -> None:
        """Nothing stays open, but what another thread is reading."""
        with self._lock:
            self._open.clear()

    def _file(self, number: int) -> _OpenFile:
        with self._lock:
            file = self._open.get(number)
            if file is not None:
                self._open.move_to_end(number)
                return file
        file = _OpenFile(self._paths[number])
        if file.identity != self._seen[number]:
            raise ArchiveError(f"{self._paths[number]} was replaced while it was read", tip="run the same command again")
        self._keep(number, file)
        return file

    def _keep(self, number: int, file: _OpenFile) -> None:
        with self._lock:
            self._open[number] = file
            if len(self._open) > self._limit:
                self._open.popitem(last=False)


class _OpenFile:
    """A file that is closed when the last thread that reads it lets it go."""

    _fd = -1

    def __init__(self, path: Path) -> None:
        try:
            # Opening a pipe must not block; it is refused below.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._fd)
        except OSError as error:
            raise ArchiveError(f"cannot read {path}: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise ArchiveError(f"{path} is not a file")
        self.identity = _identity(status)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        while len(data) < length and (more := os.pread(self._fd, length - len(data), offset + len(data))):
            data += more
        return data


def _identity(status: os.stat_result) -> tuple[int, int]:
    """Size, and time of the last change. (Not the inode's number: some file systems give another one each time.)"""
    return status.st_size, status.st_mtime_ns


def _open_files() -> int:
    """A quarter of what the process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN if soft == resource.RLIM_INFINITY else max(8, min(soft // 4, MAX_OPEN))
