"""What goes in comes out: whatever the sizes, wherever the borders are, the same bytes each time."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.errors import ArchiveError, UsageError
from pipeline.core.oci import Digest
from pipeline.storage.archive import ArchiveLayout, Codec, Member, open_archive, write_archive
from pipeline.storage.archive.encoding import STORED_PIECE
from pipeline.storage.archive.index import CHUNK_SIZE
from pipeline.storage.archive.writer import METADATA_FRAME, SMALL_BLOB
from tests.unit.storage.archive.cases import GZIPPED, PLAIN, Case, contents, noise, text, typical
from tests.unit.storage.archive.conftest import Sample

BORDERS = sorted(
    {
        max(border * factor + delta, 0)
        for border in (0, 512, 65535, 65536, 131069, 131072)
        for factor in (1, 2)
        for delta in (-1, 0, 1)
    }
)
LARGE_BORDERS = sorted(
    border + delta for border in (METADATA_FRAME, 16 * 65535, STORED_PIECE, CHUNK_SIZE) for delta in (-1, 0, 1)
)
SIZES = st.sampled_from(BORDERS) | st.integers(0, 200_000)
BLOBS = st.tuples(SIZES, st.booleans(), st.sampled_from((GZIPPED, PLAIN, "")))
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(case: Case, path: Path) -> None:
    """The archive at ``path`` gives everything that is in ``case``, and nothing else."""
    with open_archive(path) as archive:
        blobs = set(case.blobs)
        assert set(archive.blobs) == blobs
        for member in case.members:
            if member.digest is None:
                continue
            data = case.content[member.digest]
            if member.is_blob:
                assert contents(archive.open_blob(member.digest)) == data
                assert archive.blobs[member.digest].size == len(data)
            else:
                assert archive.read_metadata(member.path.partition("/")[2]) == data


@pytest.mark.parametrize("codec", Codec)
@given(blobs=st.lists(BLOBS, max_size=5), files=st.lists(SIZES, max_size=3), part_size=st.none() | st.integers(3_000, 300_000))
@FEW
def test_round_trip(codec: Codec, blobs: list[tuple[int, bool, str]], files: list[int], part_size: int | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        case = Case(Path(name))
        for number, size in enumerate(files):
            case.add(f"images/{number}/index.json", text(size, number))
        for number, (size, is_noise, media_type) in enumerate(blobs):
            data = noise(size, number) if is_noise else text(size, number)
            if Digest.of(data) not in case.content:
                case.add_blob(data, media_type or "x")
        case.write(Path(name, "a.tar"), codec, part_size=part_size)
        check(case, Path(name, "a.tar"))


@pytest.mark.parametrize("codec", Codec)
def test_sizes_around_every_border(codec: Codec, tmp_path: Path) -> None:
    case = Case(tmp_path)
    for seed, (size, make) in enumerate(itertools.product((*BORDERS, SMALL_BLOB + 2, *LARGE_BORDERS), (noise, text))):
        if size:
            case.add_blob(make(size, seed), GZIPPED if make is noise else PLAIN)
    case.write(tmp_path / "a.tar", codec)
    check(case, tmp_path / "a.tar")


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("delta", [-1, 0, 1])
@pytest.mark.parametrize("parts", [1, 2])
def test_an_archive_that_ends_at_a_part_border(codec: Codec, delta: int, parts: int, tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.add_blob(noise(70_000), GZIPPED)
    [path] = case.write(tmp_path / "whole", codec)
    size = path.stat().st_size
    part_size = -(-size // parts) + delta
    volumes = case.write(tmp_path / "cut", codec, part_size=part_size)
    assert [v.stat().st_size for v in volumes[:-1]] == [part_size] * (len(volumes) - 1)
    assert len(volumes) == -(-size // part_size)
    check(case, tmp_path / "cut")


@given(data=st.data())
@FEW
def test_any_range_of_a_blob(sample: Sample, data: st.DataObject) -> None:
    digest = data.draw(st.sampled_from(sample.case.blobs))
    content = sample.case.content[digest]
    start = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, len(content) - start))
    with open_archive(sample.path) as archive:
        assert contents(archive.open_blob(digest, start, length)) == content[start : start + length]
        assert contents(archive.open_blob(digest, start)) == content[start:]


def test_a_range_outside_a_blob_is_an_error(sample: Sample) -> None:
    digest = sample.case.blobs[0]
    size = len(sample.case.content[digest])
    with open_archive(sample.path) as archive:
        for offset, length in ((-1, 1), (0, size + 1), (size + 1, 0), (1, -1)):
            with pytest.raises(ArchiveError, match=str(digest)):
                archive.open_blob(digest, offset, length)


def test_what_is_not_there_is_an_error(sample: Sample) -> None:
    with open_archive(sample.path) as archive:
        absent = Digest.of(b"absent")
        assert not archive.has_blob(absent)
        with pytest.raises(ArchiveError, match=f"does not hold {absent}"):
            archive.open_blob(absent)
        for path in ("absent.json", "../etc/passwd", f"share/sha256/{sample.case.blobs[0].hex}"):
            with pytest.raises(ArchiveError, match="does not hold"):
                archive.read_metadata(path)


def test_names_are_the_metadata_files(sample: Sample) -> None:
    with open_archive(sample.path) as archive:
        assert archive.names == (
            "oci-layout",
            "index.json",
            "saved-images-list.json",
            f"images/{'long/' * 60}index.json",
            "images/empty",
        )


def test_other_digest_algorithms(tmp_path: Path) -> None:
    case = Case(tmp_path)
    for size in (10, 100_000):
        case.add_blob(noise(size), GZIPPED, "sha512")
    case.write(tmp_path / "a.tar")
    check(case, tmp_path / "a.tar")


@pytest.mark.parametrize("codec", Codec)
def test_an_archive_of_nothing(codec: Codec, tmp_path: Path) -> None:
    Case(tmp_path).write(tmp_path / "a.tar", codec)
    with open_archive(tmp_path / "a.tar") as archive:
        assert not archive.names
        assert not archive.blobs


@pytest.mark.parametrize("codec", Codec)
def test_the_same_content_gives_the_same_bytes(codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [first] = typical(tmp_path / "here").write(tmp_path / "one.tar", codec)
    monkeypatch.setattr("pipeline.storage.archive.conveyor.MAX_WORKERS", 1)
    monkeypatch.setattr("pipeline.storage.archive.conveyor.SLOTS", 2)
    volumes = typical(tmp_path / "elsewhere").write(tmp_path / "another.tar", codec, part_size=77_777)
    assert first.read_bytes() == b"".join(volume.read_bytes() for volume in volumes)


def test_compressed_blobs_are_stored_and_others_compressed(sample: Sample) -> None:
    with open_archive(sample.path) as archive:
        for digest, entry in archive.blobs.items():
            data = sample.case.content[digest]
            if data == noise(len(data)) or data == noise(len(data), 1):
                assert len(data) <= entry.length < len(data) * 1.001 + 40
            else:
                assert entry.length < len(data) * 0.7


def test_a_level_makes_a_difference_and_must_exist(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.add_blob(text(300_000))
    sizes = [case.write(tmp_path / f"{level}.tar", level=level)[0].stat().st_size for level in (1, 9)]
    assert sizes[1] < sizes[0]
    for codec, level in ((Codec.GZIP, 10), (Codec.GZIP, 0), (Codec.ZSTD, 20), (Codec.ZSTD, 0)):
        with pytest.raises(UsageError, match=f"{codec.value} has no compression level {level}"):
            case.write(tmp_path / "a.tar", codec, level=level)


def test_volumes_know_their_size_and_digest(tmp_path: Path) -> None:
    case = typical(tmp_path / "source")
    for volume in write_archive(case.layout, case.source, tmp_path / "a.tar", codec=Codec.GZIP, part_size=1_000_000):
        data = volume.path.read_bytes()
        assert (volume.size, volume.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_progress_counts_every_byte_once(tmp_path: Path) -> None:
    case = typical(tmp_path / "source")
    counts: list[int] = []
    case.write(tmp_path / "a.tar", progress=counts.append)
    assert sum(counts) == case.layout.content_size
    assert len(counts) > 3


def test_a_layout_survives_being_handed_over(tmp_path: Path) -> None:
    layout = typical(tmp_path / "source").layout
    assert ArchiveLayout.from_json(layout.to_json()) == layout
    assert layout.members[0].is_folder
    strangers: list[Any] = [{}, None, [], {"version": 2}, {"version": 1, "mtime": 0, "members": [{"path": "x"}]}]
    for foreign in strangers:
        with pytest.raises(ArchiveError, match="not an archive layout"):
            ArchiveLayout.from_json(foreign)


def test_a_member_of_any_size_gets_a_header() -> None:
    """A file of 8 GiB or more, which ustar cannot say, is told in a pax header; see test_tools for who reads them."""
    from pipeline.storage.archive import tar_header

    digest = Digest.of(b"")
    assert len(tar_header.header(Member("x", 8**11 - 1, digest), 0)) == 512
    assert b"19 size=8589934592\n" in tar_header.header(Member("x", 8**11, digest), 0)


def test_more_than_readers_would_take_is_not_written(tmp_path: Path) -> None:
    digest = Digest.of(b"")
    many = ArchiveLayout(0, tuple(Member(f"x/{number}", 1, digest, is_blob=True) for number in range(130_000)))
    large = ArchiveLayout(0, (Member("x/index.json", 17 * 1024 * 1024, digest),))
    for layout in (many, large):
        with pytest.raises(UsageError, match="files are too many for one archive"):
            write_archive(layout, lambda member: tmp_path, tmp_path / "a.tar", codec=Codec.GZIP)
