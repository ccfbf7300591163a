"""Small and read-only file systems: real ones, in memory. They need root, as CI has it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def disk(path: Path, size: int, *, inodes: int = 0) -> Iterator[Path]:
    """A file system of ``size`` bytes at ``path``."""
    path.mkdir()
    options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
    _mount("-t", "tmpfs", "-o", options, "image-tools-tests", path)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def resize(path: Path, size: int) -> None:
    _mount("-o", f"remount,size={size}", path)


def make_read_only(path: Path) -> None:
    _mount("-o", "remount,ro", path)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that cannot be written to. Permissions do not count for root, so it gets a read-only view of the folder."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    # Not in a mount namespace of its own: a chroot, which is not a mount point, cannot have one.
    _mount("--bind", folder, folder)
    try:
        _mount("-o", "remount,bind,ro", folder)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> Path:
    """Leave no byte free. Remove the file that is returned to set it free again."""
    filler = path / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return filler


def _mount(*arguments: str | Path) -> None:
    try:
        result = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        problem = result.stderr if result.returncode else ""
    except FileNotFoundError as error:
        problem = str(error)
    if problem:
        pytest.fail(
            f"a small disk is needed, and cannot be mounted: {problem.strip()}\n"
            "run the tests as root, in a container with --cap-add SYS_ADMIN",
            pytrace=False,
        )
