"""The archive, the volumes or the folder under their temporary names: right, or not there."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pipeline.core.bundle import Compression
from pipeline.core.errors import DamagedBlobsError, Interrupted
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.steps import compress
from pipeline.storage.records.packed import Packed, read_packed
from tests.unit.steps.packing import ROOT, TIME, Packing, noise, packing


def packed(made: Packing) -> Packed:
    found = read_packed(made.state.packed)
    assert found is not None
    return found


def beside(made: Packing) -> list[str]:
    return sorted(path.name for path in made.output.destination.parent.iterdir())


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
@pytest.mark.parametrize("part_size", [None, 10_000, 1_000_000])
def test_an_archive(tmp_path: Path, compression: Compression, part_size: int | None) -> None:
    made = packing(tmp_path, compression, part_size)
    made.compress()
    written = packed(made).files
    data = [Path(file.temporary).read_bytes() for file in written]
    assert [(file.size, file.sha256) for file in written] == [(len(d), hashlib.sha256(d).hexdigest()) for d in data]
    if part_size is not None:
        assert {len(each) for each in data[:-1]} <= {part_size}
        assert 0 < len(data[-1]) <= part_size
    else:
        assert len(data) == 1
    whole = b"".join(data)
    if compression is Compression.GZIP:
        unpacked = gzip.decompress(whole)
    else:
        unpacked = zstandard.ZstdDecompressor().stream_reader(whole, read_across_frames=True).read()
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        found = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
        contents = {name: file.read() for name, file in found.items() if file is not None}
        assert {member.mtime for member in tar} == {TIME}
    for name, blob in made.blobs.items():
        assert contents[f"{ROOT}/share/sha256/{name}"] == blob
    assert contents[f"{ROOT}/index.json"] == made.state.index.read_bytes()


def test_the_destination_is_not_touched(tmp_path: Path) -> None:
    """Its names are for ``split`` to give; until then they are temporary, of this process, and no glob for the volumes."""
    made = packing(tmp_path, part_size=30_000)
    made.output.destination.with_name("saved.tar.part0").write_text("earlier")
    made.compress()
    assert beside(made) == [f".tmp-{os.getpid()}-saved.tar.{number}" for number in range(3)] + ["saved.tar.part0"]
    assert [Path(file.name).name for file in packed(made).files] == [f"saved.tar.part{number}" for number in range(3)]


@pytest.mark.parametrize("compression", list(Compression))
def test_damaged_blobs_are_all_named_and_they_alone_are_removed(tmp_path: Path, compression: Compression) -> None:
    made = packing(tmp_path, compression)
    digests = [Digest("sha256", name) for name in made.blobs]
    made.lay_out()
    flipped = bytearray(made.blobs[digests[0].hex])
    flipped[777] ^= 1
    made.cache.blob(digests[0]).write_bytes(flipped)
    made.cache.blob(digests[2]).unlink()
    with pytest.raises(DamagedBlobsError) as caught:
        made.compress()
    assert caught.value.digests == (str(digests[0]), str(digests[2]))
    assert [made.cache.blob(digest).exists() for digest in digests] == [False, True, False]
    assert beside(made) == []
    assert not made.state.packed.exists()


@pytest.mark.parametrize("compression", list(Compression))
def test_a_stop_leaves_nothing(tmp_path: Path, compression: Compression) -> None:
    made = packing(tmp_path, compression)
    interruption = Interruption()
    interruption.request(15)
    with pytest.raises(Interrupted):
        made.compress(interruption)
    assert beside(made) == []
    assert not made.state.packed.exists()


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None) -> None:
    """Hard links, or copies where there can be none."""
    made = packing(tmp_path, Compression.DIR)

    def refused(self: Path, target: Path) -> None:
        assert number is not None
        raise OSError(number, os.strerror(number))

    if number is not None:
        monkeypatch.setattr(Path, "hardlink_to", refused)
    made.compress()
    [folder] = packed(made).files
    for name, blob in made.blobs.items():
        file = Path(folder.temporary) / "share" / "sha256" / name
        assert file.read_bytes() == blob
        assert file.samefile(made.cache.blob(Digest("sha256", name))) == (number is None)
    assert (Path(folder.temporary) / "index.json").read_bytes() == made.state.index.read_bytes()
    assert {path: digest for path, (_, _, digest) in packed(made).contents.items()} == {
        "index.json": str(Digest.of(made.state.index.read_bytes())),
        **{f"share/sha256/{name}": f"sha256:{name}" for name in made.blobs},
    }


def test_an_error_that_means_something_else_is_not_hidden_by_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = packing(tmp_path, Compression.DIR)

    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", full)
    with pytest.raises(OSError, match="No space"):
        made.compress()
    assert beside(made) == []


def test_an_error_of_one_copy_ends_the_other_of_the_two_that_work_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = packing(tmp_path, Compression.DIR)
    for number in range(100):
        made.add(noise(10, 100 + number))
    asked: list[Path] = []
    copy = compress._copy

    def no_link(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def full(source: Path, target: Path, algorithm: str, check: Callable[[], None]) -> tuple[str, int]:
        asked.append(target)
        if len(asked) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        time.sleep(0.01)
        return copy(source, target, algorithm, check)

    monkeypatch.setattr(Path, "hardlink_to", no_link)
    monkeypatch.setattr(compress, "_copy", full)
    with pytest.raises(OSError, match="No space"):
        made.compress()
    assert len(asked) < 20
    assert beside(made) == []


@pytest.mark.parametrize("compression", list(Compression))
def test_what_was_made_is_known_while_it_waits_and_in_its_place(tmp_path: Path, compression: Compression) -> None:
    made = packing(tmp_path, compression)
    assert not compress.is_current(made.state, made.bundle)
    made.compress()
    [file] = packed(made).files
    assert compress.is_current(made.state, made.bundle)
    assert compress.is_waiting(made.state, Path(file.temporary))
    assert not compress.is_waiting(made.state, Path(file.name))
    made.split()
    assert compress.is_current(made.state, made.bundle)
    assert not compress.is_waiting(made.state, Path(file.temporary))
    changed = Path(file.name)
    if compression is Compression.DIR:
        changed = changed / "share" / "sha256" / next(iter(made.blobs))
    os.utime(changed, ns=(1, 1))
    assert not compress.is_current(made.state, made.bundle)


def test_leftovers_go_and_what_waits_stays(tmp_path: Path) -> None:
    made = packing(tmp_path, part_size=30_000)
    made.compress()
    waiting = beside(made)
    dead, alive = 2**22 + 7, os.getppid()
    for name in (f".tmp-{dead}-saved.tar.0", f".tmp-{alive}-saved.tar.0", ".tmp-saved.tar.9", f".tmp-{dead}-other.tar.0"):
        made.output.destination.with_name(name).write_text("")
    compress.remove_leftovers(made.state, made.bundle)
    assert beside(made) == sorted([*waiting, f".tmp-{alive}-saved.tar.0", f".tmp-{dead}-other.tar.0"])
