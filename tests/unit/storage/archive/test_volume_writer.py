"""A stream into files: cut at exactly the part size, hashed and synced, under names of this process."""

from __future__ import annotations

import hashlib
import os
import random
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import EnvironmentProblem
from pipeline.storage.archive import temporary_files, volume_names, volumes_beside
from pipeline.storage.archive.index import SAMPLE_LENGTH
from pipeline.storage.archive.volume_writer import Volume, VolumeWriter

STEP = 1 << 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def finish(writer: VolumeWriter) -> tuple[Volume, ...]:
    def wait(future: Future[Volume]) -> None:
        future.result()

    return writer.close(wait)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 700), max_size=12), part_size=st.integers(50, 900) | st.none())
def test_every_volume_but_the_last_has_the_part_size(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], part_size: int | None
) -> None:
    destination = tmp_path_factory.mktemp("volumes") / "a.tar"
    pieces = [random.Random(number).randbytes(size) for number, size in enumerate(sizes)]
    writer = VolumeWriter(destination, part_size, STEP)
    for piece in pieces:
        writer.write(piece)
    volumes, stream = finish(writer), b"".join(pieces)
    assert writer.position == len(stream)
    step = part_size or len(stream) or 1
    expected = [stream[start : start + step] for start in range(0, len(stream), step)]
    assert [volume.path.read_bytes() for volume in volumes] == expected
    assert [(volume.size, volume.sha256) for volume in volumes] == [
        (len(part), hashlib.sha256(part).hexdigest()) for part in expected
    ]
    assert [volume.path.name for volume in volumes] == [f".tmp-{os.getpid()}-a.tar.{n}" for n in range(len(expected))]


def test_samples_are_of_the_stream_wherever_it_is_cut(folder: Path) -> None:
    stream = random.Random(1).randbytes(3 * STEP + SAMPLE_LENGTH)
    found = []
    for part_size, piece in ((None, len(stream)), (1000, 777), (STEP + 1, STEP - 1)):
        writer = VolumeWriter(folder / "a.tar", part_size, STEP)
        for start in range(0, len(stream), piece):
            writer.write(stream[start : start + piece])
        found.append(writer.samples())
        writer.discard()
    assert found[0] == found[1] == found[2]
    for position in range(0, len(stream), STEP):
        assert found[0].matches(position, stream[position : position + SAMPLE_LENGTH])


def test_what_is_discarded_is_gone_and_what_others_write_is_not(folder: Path) -> None:
    other = folder / f".tmp-{os.getppid()}-a.tar.0"
    other.write_text("of a process that runs")
    writer = VolumeWriter(folder / "a.tar", 10, STEP)
    writer.write(b"x" * 35)
    assert len(list(folder.iterdir())) == 5
    writer.discard()
    assert list(folder.iterdir()) == [other]


def test_a_volume_that_cannot_be_made_names_itself(folder: Path) -> None:
    writer = VolumeWriter(folder / "a.tar", 10, STEP)
    (folder / f".tmp-{os.getpid()}-a.tar.1").mkdir()
    with pytest.raises(EnvironmentProblem, match=r"cannot write .*a\.tar\.1: "):
        writer.write(b"x" * 35)
    (folder / f".tmp-{os.getpid()}-a.tar.1").rmdir()
    writer.discard()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("count", "first", "last"), [(1, "0", "0"), (10, "0", "9"), (11, "00", "10"), (101, "000", "100")])
def test_names_are_in_order_for_a_shell(count: int, first: str, last: str) -> None:
    names = [path.name for path in volume_names(Path("/x/a.tar"), count)]
    assert (names[0], names[-1]) == (f"a.tar.part{first}", f"a.tar.part{last}")
    assert names == sorted(names)
    assert volume_names(Path("/x/a.tar"), None) == [Path("/x/a.tar")]


def test_volumes_are_found_by_their_names_alone(folder: Path) -> None:
    """In order of their numbers, padded or not; of this destination and no other."""
    volumes = ["a.tar.part0", "a.tar.part01", "a.tar.part2", "a.tar.part10"]
    for name in (
        *volumes,
        "a.tar",
        "a.tar.part",
        "a.tar.partx",
        "a.tar.part1.gz",
        "ba.tar.part1",
        "axtar.part1",
        "a.tar.sha256",
    ):
        (folder / name).touch()
    (folder / "a.tar.part3").mkdir()
    assert [path.name for path in volumes_beside(folder / "a.tar")] == [*volumes[:3], "a.tar.part3", volumes[3]]
    assert volumes_beside(folder / "none" / "a.tar") == []


@pytest.mark.parametrize("name", ["a" * 250, "é" * 125, "a\nb", "a.tar"])
def test_temporary_names_of_any_destination_are_found_again(folder: Path, name: str) -> None:
    writer = VolumeWriter(folder / name, 2, STEP)
    writer.write(b"12345")
    assert len(temporary_files(folder / name)) == 3
    writer.discard()
    assert temporary_files(folder / name) == []
