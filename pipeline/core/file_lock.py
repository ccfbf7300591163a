"""Locks between processes, on files: flock(2), which the kernel frees however the holder ends.

``exclusive_lock`` is a file of its own, which names its holder: one run at a time on a cache or a destination. ``shared_lock``
is held by everyone who reads a folder, also on a read-only file system, as nothing is written; ``no_readers`` is held by who
removes from it. Where a file system has no locks, a warning says so and the work goes on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.core import disk, files
from pipeline.core.errors import EnvironmentProblem
from pipeline.core.log import log

LOCK_POLL = 0.1
"""Seconds between two tries to get a lock."""
LONGEST_COMMAND = 100
"""Characters that are shown of the command line of a process that reads."""
_CANNOT_LOCK = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF})

Sleep = Callable[[float], None]
"""Waits for some seconds; what it raises ends the waiting for a lock."""


@dataclass(frozen=True)
class LockHolder:
    """Who holds a lock: process id, and since when (RFC 3339)."""

    pid: int
    since: str


@contextlib.contextmanager
def exclusive_lock(
    path: Path, guards: str, *, tip: str, wait: bool = False, sleep: Sleep = time.sleep, is_temporary: bool = False
) -> Iterator[None]:
    """Hold ``path`` as a lock file, for one process at a time. ``guards`` says of what; ``is_temporary`` removes it at the end.

    Raises EnvironmentProblem, naming the holder and giving ``tip``, when another process has it and ``wait`` is false, and
    where the file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = _locked(path, guards)
            if file is None and wait:
                log.info("waiting: %s is in use by another run (%s)", guards, _who(path))
            while file is None and wait:
                sleep(LOCK_POLL)
                file = _locked(path, guards)
            if file is None:
                raise EnvironmentProblem(f"{guards} is in use by another run ({_who(path)})", tip=tip)
            stack.callback(file.close)
            if is_temporary:
                # Before the file is closed: whoever opened it in the meantime finds that it is not there any more.
                stack.callback(path.unlink, missing_ok=True)
            file.truncate(0)
            file.write(files.dump_json({"pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}))
            file.flush()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk.problem(error) from error
            raise EnvironmentProblem(f"cannot write to {guards}: {error.strerror}", tip=tip) from error
        yield


def lock_holder(path: Path) -> LockHolder | None:
    """Who holds an exclusive lock right now, if anybody does."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(path)
    except OSError:
        return None
    return None


@contextlib.contextmanager
def shared_lock(path: Path, guards: str, *, sleep: Sleep = time.sleep) -> Iterator[None]:
    """Hold an existing file or folder together with others. Waits while ``no_readers`` is held, which does not take long.

    What cannot be opened is not locked: who reads it finds out for himself.
    """
    with contextlib.ExitStack() as stack:
        fd = _opened(path, stack)
        if fd is not None and not _flock(fd, fcntl.LOCK_SH, guards):
            log.info("waiting: %s is being cleaned up", guards)
            while not _flock(fd, fcntl.LOCK_SH, guards):
                sleep(LOCK_POLL)
        yield


@contextlib.contextmanager
def no_readers(path: Path, guards: str, *, tip: str, wait: bool = False, sleep: Sleep = time.sleep) -> Iterator[None]:
    """Hold an existing file or folder while nobody has its ``shared_lock``.

    Raises EnvironmentProblem, naming those who have, unless they shall be waited for.
    """
    with contextlib.ExitStack() as stack:
        fd = _opened(path, stack)
        if fd is not None and not _flock(fd, fcntl.LOCK_EX, guards):
            who = ", ".join(_readers(fd)) or "another process"
            if not wait:
                raise EnvironmentProblem(f"{guards} is being read by {who}", tip=tip)
            log.info("waiting: %s is being read by %s", guards, who)
            while not _flock(fd, fcntl.LOCK_EX, guards):
                sleep(LOCK_POLL)
        yield


def _locked(path: Path, guards: str) -> IO[bytes] | None:
    """The locked file, or None while another process has it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("a+b")
        try:
            if not _flock(file.fileno(), fcntl.LOCK_EX, guards):
                file.close()
                return None
            # Whoever removed the file while we came here took the lock with it: it must be the one that others find.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()


def _flock(fd: int, operation: int, guards: str) -> bool:
    """Lock an open file without waiting. True also, with a warning, where its file system has no locks."""
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise
        log.warning("%s cannot be locked on this file system: see to it that only one run uses it", guards)
    return True


def _opened(path: Path, stack: contextlib.ExitStack) -> int | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    stack.callback(os.close, fd)
    return fd


def _readers(fd: int) -> Iterator[str]:
    """Who has a shared lock on an open file, by what Linux says in ``/proc/locks``; nobody where there is no such file."""
    inode = str(os.fstat(fd).st_ino)
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        # proc(5): "4: FLOCK  ADVISORY  READ 1568 00:1c:12345 0 EOF". Device numbers differ from those of stat on btrfs.
        _, kind, _, access, pid, file, *_ = [*line.split(), *[""] * 7]
        if (kind, access) == ("FLOCK", "READ") and file.rpartition(":")[2] == inode and int(pid) > 0:
            yield f"process {pid}{_command(pid)}"


def _command(pid: str) -> str:
    """The command line of a process, in brackets, after a space; empty where it is not to be seen."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    text = shlex.join(arguments[:-1])
    return f" ({text[:LONGEST_COMMAND]}{'…' if len(text) > LONGEST_COMMAND else ''})" if text else ""


def _who(path: Path) -> str:
    holder = _read_holder(path)
    return f"process {holder.pid}, since {holder.since}" if holder else "another process"


def _read_holder(path: Path) -> LockHolder | None:
    document = files.read_json(path)
    try:
        return LockHolder(int(document["pid"]), str(document["since"]))
    except (TypeError, KeyError, ValueError):
        return None
