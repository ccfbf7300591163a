"""Free space, permissions and the limits of file systems."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pipeline.core import disk
from pipeline.core.errors import EXIT_COULD_NOT, EnvironmentProblem


@pytest.fixture
def work(clean_environment: Path) -> Path:
    return clean_environment


def test_the_nearest_folder_that_exists(work: Path) -> None:
    assert disk.existing_ancestor(work / "a/b/c") == work
    assert disk.existing_ancestor(Path("a")) == work
    assert disk.existing_ancestor(Path("/nowhere/at/all")) == Path("/")
    assert disk.free_space(work / "a/b") > 0


def test_what_cannot_be_a_folder_cannot_be_written_to(work: Path) -> None:
    (work / "file").touch()
    disk.check_writable(work / "new/folder")
    with pytest.raises(EnvironmentProblem, match=r"cannot write to .*file/below") as caught:
        disk.check_writable(work / "file/below")
    assert caught.value.exit_code == EXIT_COULD_NOT


def test_what_the_system_refuses_is_told_with_what_to_do() -> None:
    full = disk.problem(OSError(errno.ENOSPC, "No space left on device", "/media/x"))
    assert (
        str(full)
        == "/media/x: the disk is full; what was complete is kept\nTIP: free some space and run the same command again"
    )
    other = disk.problem(OSError(errno.EACCES, "Permission denied"))
    assert str(other) == "Permission denied\nTIP: see to it and run the same command again"
    assert full.exit_code == other.exit_code == EXIT_COULD_NOT


# The largest file

MOUNTS = """\
22 28 0:21 / /proc rw,nosuid - proc proc rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
36 28 8:17 / /media/usb\\040-\\040stick rw,relatime shared:2 master:3 - vfat /dev/sdb1 rw,fmask=0022
37 28 8:33 / /media/exfat rw - exfat /dev/sdc1 rw
38 28 259:1 /sub /mnt rw - btrfs /dev/nvme0n1 rw
odd line
39 28
40 28 8:49 / /mnt/cut
"""


def test_the_file_system_is_found_by_its_device() -> None:
    kinds = {(8, 1): "ext4", (8, 17): "vfat", (8, 33): "exfat", (259, 1): "btrfs", (0, 21): "proc", (8, 49): "", (7, 7): ""}
    assert {pair: disk.file_system(MOUNTS, os.makedev(*pair)) for pair in kinds} == kinds
    assert disk.file_system("", os.makedev(8, 1)) == ""


def test_this_machine_has_file_systems_that_are_known() -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    assert disk.file_system(mounts, Path("/proc").stat().st_dev) == "proc"
    assert disk.largest_file(Path("/proc/missing/file")) is None


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("vfat", 4_294_967_295), ("msdos", 4_294_967_295), ("exfat", None), ("ext4", None), ("fuseblk", None), ("", None)],
)
def test_the_largest_file(work: Path, monkeypatch: pytest.MonkeyPatch, kind: str, limit: int | None) -> None:
    """FAT has 32 bits for a file's size, exFAT 64. Neither the file nor its folder need be there."""
    devices: list[int] = []

    def found(mounts: str, device: int) -> str:
        devices.append(device)
        return kind

    monkeypatch.setattr(disk, "file_system", found)
    assert disk.largest_file(work / "none" / "saved.tar.gz") == limit
    assert devices == [work.stat().st_dev]
