"""Files, handled with care: atomic writes, sealed records, verified reads, temporary names, syncs.

Promises: a file written here is complete or absent (written under a temporary name beside its place, then renamed) and,
unless the caller can do without, durable once the call returns. Temporary names start with ``TEMPORARY``, so that leftovers
of a killed run are known by name. Content is hashed while it is read, never in a second pass.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from pipeline.core.errors import ContentError
from pipeline.core.oci import Digest

_T = TypeVar("_T")

TEMPORARY = ".tmp-"
"""Prefix of every temporary file and folder."""
REMOVALS = 10
"""Attempts to remove a folder, a tenth of a second apart, while somebody still writes into it."""
CHUNK = 1024 * 1024
"""Bytes read at once."""


def temporary_beside(path: Path) -> Path:
    """A temporary name in the folder of ``path``, of this process, that nobody's glob for ``path*`` matches."""
    return path.with_name(f"{TEMPORARY}{os.getpid()}-{_cut(path.name, 200)}")


def lock_beside(path: Path) -> Path:
    """The lock file of ``path``, which nobody's glob for ``path*`` matches."""
    return path.with_name(f"{TEMPORARY}lock-{_cut(path.name, 200)}")


def temporary_leftovers(path: Path) -> list[Path]:
    """What killed processes left of ``temporary_beside`` and ``write_atomic`` for ``path``. Those of live ones do not count."""
    name = re.escape(TEMPORARY) + r"(\d+)-(?:\d+-)?(?:old-)?"
    pattern = re.compile(name + "(?:" + "|".join(re.escape(_cut(path.name, size)) for size in (180, 196, 200)) + ")")
    found = [(entry, pattern.fullmatch(entry.name)) for entry in (path.parent.iterdir() if path.parent.is_dir() else ())]
    return sorted(entry for entry, match in found if match is not None and not is_running(int(match[1])))


def is_running(pid: int) -> bool:
    """Whether another process of this number runs: on a shared disk it may be another machine's, which only keeps a file."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _cut(name: str, size: int) -> str:
    """The first ``size`` bytes of a file's name: file systems count bytes, not characters."""
    return os.fsencode(name)[:size].decode(errors="ignore")


def in_folder(path: Path, make: Callable[[], _T]) -> _T:
    """What ``make`` returns, which makes ``path``: tried again with the folder of it, where there was none."""
    try:
        return make()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return make()


def write_atomic(path: Path, data: bytes, durable: bool = True) -> None:
    """Write ``data`` to ``path``, complete and durable or not at all.

    Not ``durable`` is for what is made again when a power loss took it, and is checked when it is read: one of thousands of
    small files, each of which would have to wait for the disk.
    """
    # Two threads may write the same object at once: each needs a name of its own.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{time.monotonic_ns()}-{_cut(path.name, 180)}")
    try:
        in_folder(temporary, lambda: write_new(temporary, data, durable))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_new(path: Path, data: bytes, durable: bool = False) -> None:
    """Write a file that is not there yet. Raises OSError.

    Not through ``Path.open``, as for ``read_small``: it calls the kernel twice as often, and threads wait for each other at
    each call.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def write_if_changed(path: Path, data: bytes, durable: bool = True) -> bool:
    """As ``write_atomic``, but leaves a file that holds ``data`` already (and its time) alone. True when written."""
    with contextlib.suppress(OSError):
        if read_small(path) == data:
            return False
    write_atomic(path, data, durable)
    return True


def dump_json(document: Any) -> bytes:
    """JSON as we write it everywhere: readable, stable, one newline at the end."""
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def dump_sealed(document: dict[str, Any]) -> bytes:
    """As ``dump_json``, with a checksum: for records that the next run believes as they are.

    In one line: nobody reads them, there are thousands, and Python's fast encoder does not indent.
    """
    return json.dumps({**document, "checksum": _checksum(document)}, ensure_ascii=False).encode() + b"\n"


def read_sealed(path: Path) -> Any:
    """What ``dump_sealed`` wrote, or None where it is missing or not to the bit what was written."""
    document = read_json(path)
    if not isinstance(document, dict):
        return None
    checksum = document.pop("checksum", None)
    return document if checksum == _checksum(document) else None


def _checksum(document: dict[str, Any]) -> str:
    return str(Digest.of(json.dumps(document, sort_keys=True).encode()))


def read_json(path: Path) -> Any:
    """The JSON document in a file, or None where it is missing, damaged, or nested beyond reason."""
    try:
        return json.loads(read_small(path))
    except (OSError, ValueError, RecursionError):
        return None


def read_small(path: Path, limit: int = sys.maxsize - 1) -> bytes:
    """The whole of a file or a pipe, or of a larger one ``limit`` + 1 bytes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        # Not up to the limit: so much memory would be taken for each of thousands of small files.
        size = os.fstat(fd).st_size
        data = os.read(fd, min(size, limit) + 1)
        # A file ends where it says; a pipe says nothing.
        while len(data) not in (size, limit + 1) and (more := os.read(fd, min(CHUNK, limit + 1 - len(data)))):
            data += more
        return data
    finally:
        os.close(fd)


def read_bounded(path: Path, limit: int) -> bytes | None:
    """The whole of a file that somebody wrote; None where it has more than ``limit`` bytes. Raises OSError."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    return data if len(data) <= limit else None


def read_verified(path: Path, digest: Digest, limit: int) -> bytes:
    """The whole of a small file whose name is its digest.

    Raises ContentError when it is larger than ``limit`` bytes or its bytes are not those of ``digest``.
    """
    data = read_small(path, limit)
    if len(data) > limit:
        raise ContentError(f"{path} is larger than {limit} bytes")
    if Digest.of(data, digest.algorithm) != digest:
        raise ContentError(f"{path} does not match its digest")
    return data


def hash_file(
    file: IO[bytes],
    algorithm: str = "sha256",
    check: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda size: None,
) -> tuple[str, int]:
    """Hex digest and size in bytes of what is left in ``file``. What ``check`` raises, called all along, ends it.

    ``progress`` is told the bytes of each chunk.
    """
    hasher = hashlib.new(algorithm)
    size = 0
    while chunk := file.read(CHUNK):
        check()
        hasher.update(chunk)
        size += len(chunk)
        progress(len(chunk))
    return hasher.hexdigest(), size


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable. Some file systems cannot (and need not): that is not an error."""
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


def sync_file_system(folder: Path) -> None:
    """Make all that was written to the file system of ``folder`` durable: thousands of small files at once."""
    syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(fd) != 0:
            os.sync()
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there. Never follows a link."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for attempt in range(1, REMOVALS + 1):
        try:
            shutil.rmtree(path)
            return
        except OSError as error:
            # A program of a run that was killed may be writing there until it ends, too.
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or attempt == REMOVALS:
                raise
        if not path.exists():
            return
        time.sleep(0.1)


def size_below(path: Path) -> int:
    """Bytes of a file, or of all files in a folder. Zero for what is not there."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(size_below(entry) for entry in path.iterdir())
    except OSError:
        return 0


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths name one file, existing or not."""
    try:
        return a.samefile(b)
    except OSError:
        return a.resolve() == b.resolve()
