"""The writing end of an archive: one stream of bytes in, files of the right size out, hashed as they are written.

The files have temporary names beside the destination: they are complete and synced once ``close`` has returned, and it is
the caller who renames them, all or none. ``temporary_files`` finds what a killed run left.

Writing back to the disk is started early and waited for last, in a thread of its own: so the disk is at work while the
next bytes are hashed, and little is left to wait for at the end.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import EnvironmentProblem
from pipeline.core.files import TEMPORARY, is_running
from pipeline.core.reference import shorten
from pipeline.storage.archive.framing import Buffer
from pipeline.storage.archive.index import SAMPLE_LENGTH, Samples, sample_hash

MAX_VOLUMES = 10_000
"""Nobody can carry more."""
WRITEBACK_STEP = 8 * 1024 * 1024
_SYNC_FILE_RANGE_WRITE = 2
_TIPS = {
    errno.ENOSPC: "free some space, or name a destination on another disk with -d",
    errno.EDQUOT: "free some space, or name a destination on another disk with -d",
    errno.EFBIG: "this file system cannot hold a file that large: use -part",
}


@dataclass(frozen=True)
class Volume:
    """A finished file of the archive, still under its temporary name."""

    path: Path
    size: int
    sha256: str


def volume_names(destination: Path, count: int | None) -> list[Path]:
    """The final names of ``count`` volumes, padded so that a shell sorts them; of an archive that is not cut (None) its own."""
    if count is None:
        return [destination]
    width = len(str(count - 1))
    return [destination.with_name(f"{destination.name}.part{number:0{width}}") for number in range(count)]


def volumes_beside(destination: Path) -> list[Path]:
    """Everything that has the name of a volume of ``destination``, padded or not, by number: a reader takes it for one."""
    pattern = re.compile(re.escape(destination.name) + r"\.part([0-9]+)", re.DOTALL)
    folder = destination.absolute().parent
    found = [(pattern.fullmatch(path.name), path) for path in folder.iterdir()] if folder.is_dir() else []
    return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


def temporary_files(destination: Path) -> list[Path]:
    """What killed processes left of an archive for ``destination``, and what this one has written."""
    # Without a process: as earlier versions named them.
    pattern = re.compile(re.escape(TEMPORARY) + "(?:([0-9]+)-)?" + re.escape(shorten(destination.name)) + r"\.[0-9]+")
    folder = destination.absolute().parent
    found = [(pattern.fullmatch(path.name), path) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(path for match, path in found if match and not (match[1] and is_running(int(match[1]))))


def _temporary(destination: Path, number: int) -> Path:
    return destination.with_name(f"{TEMPORARY}{os.getpid()}-{shorten(destination.name)}.{number}")


class VolumeWriter:
    """Takes the bytes of the stream in order. One thread writes; ``position`` is how far it is.

    Raises EnvironmentProblem when the disk does not take them.
    """

    def __init__(self, destination: Path, part_size: int | None, sample_step: int) -> None:
        self.position = 0
        self._destination = destination
        self._part_size = part_size
        self._files: list[_File] = []
        self._finished: list[Future[Volume]] = []
        self._syncer = ThreadPoolExecutor(1, "sync")
        self._file: _File | None = None
        self._sample_step = sample_step
        self._sample = bytearray()
        self._samples = bytearray()
        for leftover in temporary_files(destination):
            leftover.unlink()

    def write(self, data: Buffer) -> None:
        view = memoryview(data)
        self._take_samples(view)
        while view:
            if self._file is None:
                self._file = _File(_temporary(self._destination, len(self._finished)))
                self._files.append(self._file)
            room = len(view) if self._part_size is None else self._part_size - self._file.size
            part, view = view[:room], view[room:]
            self._file.write(part)
            self.position += len(part)
            if self._file.size == self._part_size:
                self._finish_file()

    def samples(self) -> Samples:
        """Of all that was written up to now."""
        return Samples(self._sample_step, bytes(self._samples))

    def close(self, wait: Callable[[Future[Volume]], None]) -> tuple[Volume, ...]:
        """End the last volume and sync them all. ``wait`` is called with each that is not known to be on the disk yet."""
        self._finish_file()
        for future in self._finished:
            wait(future)
        self._syncer.shutdown()
        return tuple(future.result() for future in self._finished)

    def discard(self) -> None:
        """Remove all that was written."""
        self._syncer.shutdown(cancel_futures=True)
        for file in self._files:
            file.close()
        for leftover in temporary_files(self._destination):
            leftover.unlink(missing_ok=True)

    def _finish_file(self) -> None:
        if self._file is not None:
            self._finished.append(self._syncer.submit(self._file.finish))
            self._file = None

    def _take_samples(self, view: memoryview) -> None:
        # A sample that the last write cut short comes first; then all that begin in this one.
        begin = -len(self._sample) if self._sample else -self.position % self._sample_step
        while begin < len(view):
            self._sample += view[max(begin, 0) : begin + SAMPLE_LENGTH]
            if len(self._sample) < SAMPLE_LENGTH:
                return
            self._samples += sample_hash(bytes(self._sample))
            self._sample.clear()
            begin += self._sample_step


class _File:
    """One file on its way to the disk."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        self._path = path
        self._hash = hashlib.sha256()
        self._written_back = 0
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _problem(path, error) from error

    def write(self, view: memoryview) -> None:
        self._hash.update(view)
        try:
            while view:
                written = os.write(self._fd, view)
                self.size += written
                view = view[written:]
        except OSError as error:
            raise _problem(self._path, error) from error
        if self.size - self._written_back >= WRITEBACK_STEP:
            _start_writeback(self._fd, self._written_back, self.size - self._written_back)
            self._written_back = self.size

    def finish(self) -> Volume:
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise _problem(self._path, error) from error
        finally:
            self.close()
        return Volume(self._path, self.size, self._hash.hexdigest())

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _problem(path: Path, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(f"cannot write {path}: {error.strerror}", tip=_TIPS.get(error.errno or 0, ""))


_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def _start_writeback(fd: int, offset: int, length: int) -> None:
    """Ask Linux to begin writing a range to the disk, without waiting. Only a hint: fsync is what counts."""
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE)
