"""Disks: free space, limits of file systems, permissions, and what the operating system refuses, in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pipeline.core.amounts import bytes_text
from pipeline.core.errors import EnvironmentProblem


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


def capacity(path: Path) -> int:
    """Bytes that the file system has in all that ``path`` is or would be on."""
    status = os.statvfs(existing_ancestor(path))
    return status.f_blocks * status.f_frsize


def problem(error: OSError) -> EnvironmentProblem:
    """What the operating system refused, as a person wants to be told."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        tip = "free some space and run the same command again"
        return EnvironmentProblem(f"{where}the disk is full; what was complete is kept", tip=tip)
    return EnvironmentProblem(f"{where}{error.strerror or error}", tip="see to it and run the same command again")


def check_writable(folder: Path) -> None:
    """Raises EnvironmentProblem when ``folder`` cannot be written to, or cannot be made."""
    ancestor = existing_ancestor(folder)
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        raise EnvironmentProblem(f"cannot write to {folder}", tip="name another place, or see to its permissions")


def check_room(size: int, path: Path) -> None:
    """Raises EnvironmentProblem when ``size`` bytes do not fit where ``path`` is or would be."""
    free = free_space(path)
    if size > free:
        raise EnvironmentProblem(
            f"{bytes_text(size)} are to be written to {path.parent}, and {bytes_text(free)} are free", tip="free some space"
        )


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
