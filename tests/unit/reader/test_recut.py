"""Archives cut and joined: the same stream, and never half of one."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.core import disk
from pipeline.core.errors import ArchiveError, EnvironmentProblem, ImageToolsError, Interrupted, UsageError
from pipeline.core.interruption import Interruption
from pipeline.reader.recut import recut
from pipeline.storage import checksums
from pipeline.storage.archive import open_archive, volume_names
from tests.unit.storage.archive.cases import typical


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With its checksums, as a save leaves it."""
    folder = tmp_path_factory.mktemp("bundle")
    path = folder / "b.tar.gz"
    typical(folder / "files").write(path)
    sums = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest())]
    path.with_name("b.tar.gz.sha256").write_bytes(checksums.dump(sums))
    return path


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def sha256sum(folder: Path) -> None:
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "b.tar.gz.sha256"], cwd=folder, check=True)


@pytest.mark.parametrize("part_size", [1_000_000, 300_001, 50_000, 1 << 40])
def test_cut_and_joined(archive: Path, tmp_path: Path, part_size: int) -> None:
    data = archive.read_bytes()
    cut = recut(archive, tmp_path / "cut", part_size, Interruption())
    assert cut.checked
    assert [each.path for each in cut.files] == volume_names(tmp_path / "cut/b.tar.gz", -(-len(data) // part_size))
    assert b"".join(each.path.read_bytes() for each in cut.files) == data
    assert {each.size for each in cut.files[:-1]} <= {part_size}
    sha256sum(tmp_path / "cut")
    for number, name in enumerate([cut.files[0].path, cut.files[-1].path, tmp_path / "cut/b.tar.gz"]):
        joined = recut(name, tmp_path / f"joined{number}", None, Interruption())
        assert [each.path.name for each in joined.files] == ["b.tar.gz"]
        assert joined.files[0].path.read_bytes() == data
        assert listed(tmp_path / f"joined{number}") == ["b.tar.gz", "b.tar.gz.sha256"]
        with open_archive(joined.files[0].path) as opened:
            assert "index.json" in opened.names
    again = recut(cut.files[0].path, tmp_path / "again", 77_777, Interruption())
    assert b"".join(each.path.read_bytes() for each in again.files) == data
    sha256sum(tmp_path / "again")


def test_without_checksums(archive: Path, tmp_path: Path) -> None:
    shutil.copy(archive, tmp_path / "b.tar.gz")
    assert not recut(tmp_path / "b.tar.gz", tmp_path / "cut", 100_000, Interruption()).checked


def test_a_damaged_volume_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    cut = recut(archive, tmp_path / "cut", 250_000, Interruption())
    data = bytearray(cut.files[1].path.read_bytes())
    data[123_456] ^= 1
    cut.files[1].path.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"part01 does not have the checksum that .*cut has for it: it is damaged"):
        recut(cut.files[0].path, tmp_path / "joined", None, Interruption())
    assert listed(tmp_path / "joined") == []


def test_what_is_there_stays(archive: Path, tmp_path: Path) -> None:
    """Also beside the archive itself, where one name would have two meanings."""
    cut = recut(archive, tmp_path / "cut", 500_000, Interruption())
    before = {path: path.read_bytes() for path in (tmp_path / "cut").iterdir()}
    for source, part_size, why in (
        (archive, 600_000, "is there already"),
        (archive, None, "is there already"),
        (cut.files[0].path, None, "is what is to be read"),
    ):
        with pytest.raises(UsageError, match=why) as caught:
            recut(source, tmp_path / "cut", part_size, Interruption())
        assert caught.value.tip == "name another folder with -d"
    assert {path: path.read_bytes() for path in (tmp_path / "cut").iterdir()} == before


def test_a_volume_that_is_missing(archive: Path, tmp_path: Path) -> None:
    cut = recut(archive, tmp_path / "cut", 500_000, Interruption())
    cut.files[1].path.unlink()
    with pytest.raises(ArchiveError, match="missing: "):
        recut(cut.files[0].path, tmp_path / "joined", None, Interruption())
    assert not (tmp_path / "joined").exists()


def test_sizes_that_cannot_be(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(part_size: int | None) -> ImageToolsError:
        with pytest.raises((UsageError, EnvironmentProblem)) as caught:
            recut(archive, tmp_path / "cut", part_size, Interruption())
        assert not (tmp_path / "cut").exists()
        return caught.value

    assert "more than 10,000 volumes" in refused(10).message
    monkeypatch.setattr(disk, "largest_file", lambda path: 1_000_000)
    assert "1,000,000 bytes is its largest" in refused(None).message
    assert recut(archive, tmp_path / "small", 1_000_000, Interruption()).files
    monkeypatch.setattr(disk, "free_space", lambda path: 1000)
    assert "1.0 kB are free" in refused(500_000).message


def test_a_stop_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    interruption = Interruption()
    interruption.request(2)
    with pytest.raises(Interrupted):
        recut(archive, tmp_path / "cut", 500_000, interruption)
    assert listed(tmp_path / "cut") == []


def test_what_a_killed_run_left_is_gone(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / ".tmp-999999999-b.tar.gz.0").write_bytes(b"half")
    made = recut(archive, folder, 2_000_000, Interruption())
    assert listed(folder) == sorted([*(each.path.name for each in made.files), "b.tar.gz.sha256"])
