"""Files stay the same while they are read, whatever becomes of their names."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.core.errors import ArchiveError
from pipeline.storage.archive.opened_files import OpenedFiles


def open_count(folder: Path) -> int:
    """Open files of this process in ``folder``."""
    names = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(name.startswith(f"{folder}/") for name in names)


def made(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"file{number}" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%04d" % number * 100)
    return paths


def replace(path: Path, content: bytes) -> None:
    (path.parent / "new").write_bytes(content)
    (path.parent / "new").replace(path)


def test_a_file_that_is_replaced_is_read_on(tmp_path: Path) -> None:
    paths = made(tmp_path, 3)
    files = OpenedFiles(paths)
    assert not files.has_changed()
    replace(paths[1], b"other")
    paths[2].unlink()
    assert files.has_changed()
    assert files.sizes == (400, 400, 400)
    assert [files.read(number, 4, 4) for number in range(3)] == [b"0000", b"0001", b"0002"]


def test_no_more_are_open_than_may_be(tmp_path: Path) -> None:
    files = OpenedFiles(made(tmp_path, 50), limit=8)
    assert open_count(tmp_path) == 8
    with ThreadPoolExecutor(6) as pool:
        numbers = [(turn * 7) % 50 for turn in range(2_000)]
        found = list(pool.map(lambda number: files.read(number, 0, 4), numbers))
    assert found == [b"%04d" % number for number in numbers]
    assert open_count(tmp_path) == 8
    files.close()
    assert open_count(tmp_path) == 0


def test_of_more_files_than_may_be_open_one_that_changed_is_an_error(tmp_path: Path) -> None:
    paths = made(tmp_path, 10)
    files = OpenedFiles(paths, limit=2)
    replace(paths[0], b"x" * 401)
    with pytest.raises(ArchiveError, match="file0 was replaced while it was read"):
        files.read(0, 0, 4)
    assert files.read(1, 0, 4) == b"0001"
    paths[2].unlink()
    with pytest.raises(ArchiveError, match=r"cannot read .*file2: No such file"):
        files.read(2, 0, 4)


def test_a_file_that_becomes_shorter(tmp_path: Path) -> None:
    [path] = made(tmp_path, 1)
    files = OpenedFiles([path])
    os.truncate(path, 10)
    with pytest.raises(ArchiveError, match="became shorter"):
        files.read(0, 0, 20)


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("pipe", "is not a file"), (".", "is not a file"), ("absent", "No such file")):
        with pytest.raises(ArchiveError, match=message):
            OpenedFiles([tmp_path / name])
