"""Read the files that go into an archive, and notice those that cannot be what they should be.

A file that is missing, is not a file, is longer or shorter than its layout says, or cannot be read from a failing disk, raises
``DamagedFile``: for the archive all of these are the same as wrong bytes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from pipeline.storage.archive.framing import Framing


class DamagedFile(Exception):
    """A file is not there, or not whole."""


class Content(Protocol):
    """What goes into an archive, open for reading from its start to its end. What is wrong with it raises DamagedFile."""

    def __enter__(self) -> Content: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def read(self, size: int) -> bytes | bytearray:
        """The next ``size`` bytes."""

    def rewind(self) -> None:
        """Begin again."""

    def read_into(self, views: Sequence[memoryview]) -> None:
        """Fill all ``views`` with what comes next."""

    def frames(self, framing: Framing, level: int) -> Iterator[tuple[bytes, bytes]] | None:
        """Packed frames of ``CHUNK_SIZE`` bytes each, with their content, where they are as they would be made; else None."""


class SourceFile:
    """A file of exactly ``size`` bytes, open for reading from its start to its end."""

    def __init__(self, path: Path, size: int) -> None:
        try:
            # Opening a pipe must not block; it is refused below.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DamagedFile from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            os.close(self._fd)
            raise DamagedFile

    def __enter__(self) -> SourceFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._fd)

    def frames(self, framing: Framing, level: int) -> Iterator[tuple[bytes, bytes]] | None:
        return None

    def read(self, size: int) -> bytearray:
        """The next ``size`` bytes."""
        data = bytearray(size)
        self.read_into([memoryview(data)])
        return data

    def rewind(self) -> None:
        """Begin again."""
        os.lseek(self._fd, 0, os.SEEK_SET)

    def read_into(self, views: Sequence[memoryview]) -> None:
        """Fill all ``views`` with what comes next."""
        remaining = [view for view in views if view]
        while remaining:
            try:
                count = os.readv(self._fd, remaining)
            except OSError as error:
                if error.errno == errno.EIO:
                    raise DamagedFile from error
                raise
            if count == 0:
                raise DamagedFile
            while remaining and count >= len(remaining[0]):
                count -= len(remaining.pop(0))
            if count:
                remaining[0] = remaining[0][count:]
