"""Everything that touches the disk with care: atomic writes, verified reads, locks, free space.

Promises: a file written here is complete or absent (written under a temporary name beside its place, then renamed) and,
unless the caller can do without, durable once the call returns. Temporary names start with ``TEMPORARY``, so that leftovers
of a killed run are known by name. Content is hashed while it is read, never in a second pass.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .errors import ContentError, EnvironmentProblem
from .oci import Digest

TEMPORARY = ".tmp-"
"""Prefix of every temporary file and folder."""
CHUNK = 1024 * 1024
"""Bytes read at once."""


def temporary_beside(path: Path) -> Path:
    """A temporary name in the folder of ``path``, of this process, that nobody's glob for ``path*`` matches."""
    return path.with_name(f"{TEMPORARY}{os.getpid()}-{_cut(path.name, 200)}")


def _cut(name: str, size: int) -> str:
    """The first ``size`` bytes of a file's name: file systems count bytes, not characters."""
    return os.fsencode(name)[:size].decode(errors="ignore")


def write_atomic(path: Path, data: bytes, durable: bool = True) -> None:
    """Write ``data`` to ``path``, complete and durable or not at all.

    Not ``durable`` is for what is made again when a power loss took it, and is checked when it is read: one of thousands of
    small files, each of which would have to wait for the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two threads may write the same object at once: each needs a name of its own.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{time.monotonic_ns()}-{_cut(path.name, 180)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_if_changed(path: Path, data: bytes, durable: bool = True) -> bool:
    """As ``write_atomic``, but leaves a file that holds ``data`` already (and its time) alone. True when written."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return False
    write_atomic(path, data, durable)
    return True


def dump_json(document: Any) -> bytes:
    """JSON as we write it everywhere: readable, stable, one newline at the end."""
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def read_json(path: Path) -> Any:
    """The JSON document in one of our own files, or None where it is missing or damaged: all of them can be made again."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def read_verified(path: Path, digest: Digest, limit: int) -> bytes:
    """The whole of a small file whose name is its digest.

    Raises ContentError when it is larger than ``limit`` bytes or its bytes are not those of ``digest``.
    """
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ContentError(f"{path} is larger than {limit} bytes")
    if Digest.of(data, digest.algorithm) != digest:
        raise ContentError(f"{path} does not match its digest")
    return data


def hash_file(file: IO[bytes], algorithm: str = "sha256") -> tuple[str, int]:
    """Hex digest and size in bytes of what is left in ``file``."""
    hasher = hashlib.new(algorithm)
    size = 0
    while chunk := file.read(CHUNK):
        hasher.update(chunk)
        size += len(chunk)
    return hasher.hexdigest(), size


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable. Some file systems cannot (and need not): that is no error."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there. Never follows a link."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def existing_ancestor(path: Path) -> Path:
    """``path`` or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def free_space(path: Path) -> int:
    """Bytes that an ordinary user may still write to the file system that ``path`` is or would be on."""
    status = os.statvfs(existing_ancestor(path))
    return status.f_bavail * status.f_frsize


def check_writable(folder: Path) -> None:
    """Raises EnvironmentProblem when ``folder`` cannot be written to, or cannot be made."""
    ancestor = existing_ancestor(folder)
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        raise EnvironmentProblem(f"cannot write to {folder}\nTIP: name another place, or see to its permissions")


def largest_file(path: Path) -> int | None:
    """Bytes that a file at ``path`` may have where the file system sets a limit that matters: FAT's. None elsewhere."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return None
    kind = file_system(mounts, existing_ancestor(path).stat().st_dev)
    return 4 * 1024**3 - 1 if kind in ("vfat", "msdos") else None


def file_system(mounts: str, device: int) -> str:
    """The type of the file system on ``device``, from what ``/proc/self/mountinfo`` says; empty where it says nothing."""
    for line in mounts.splitlines():
        # proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
        fields, _, kind = line.partition(" - ")
        if fields.split()[2:3] == [f"{os.major(device)}:{os.minor(device)}"] and kind:
            return kind.split()[0]
    return ""


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths name one file, existing or not."""
    try:
        return a.samefile(b)
    except OSError:
        return a.resolve() == b.resolve()


@dataclass(frozen=True)
class LockHolder:
    """Who holds a lock: process id, and since when (RFC 3339)."""

    pid: int
    since: str


@contextlib.contextmanager
def exclusive_lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold ``path`` as a lock file, for one process at a time; the kernel frees it however the process ends.

    Raises EnvironmentProblem, naming the holder, when another process has it and ``wait`` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = _read_holder(path)
            who = f"process {holder.pid}, since {holder.since}" if holder else "another process"
            raise EnvironmentProblem(
                f"the cache {path.parent.parent} is in use by another run ({who})\n"
                "TIP: wait until it ends, or name another folder with -cache"
            ) from None
        file.truncate(0)
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        file.write(dump_json({"pid": os.getpid(), "since": now}))
        file.flush()
        yield


def _read_holder(path: Path) -> LockHolder | None:
    document = read_json(path)
    try:
        return LockHolder(int(document["pid"]), str(document["since"]))
    except (TypeError, KeyError, ValueError):
        return None
