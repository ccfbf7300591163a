"""The finished files get their names: all of them or none, whatever stops it, and whatever lies there."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import file_lock
from pipeline.core.bundle import Compression, Output
from pipeline.core.errors import EnvironmentProblem
from pipeline.reader.contents import open_store
from pipeline.steps import split
from pipeline.storage.records.packed import read_finished
from tests.unit.steps.packing import Packing, noise, packing

SHAPES = [None, 30_000, 4_000]
"""One file, three volumes, and as many as need padded numbers."""


def contents(made: Packing) -> dict[str, bytes]:
    """What lies at the destination."""
    folder = made.output.destination.parent
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sums(made: Packing) -> bytes:
    """As sha256sum prints it."""
    found = {name: data for name, data in contents(made).items() if not name.endswith(".sha256")}
    return "".join(f"{hashlib.sha256(found[name]).hexdigest()}  {name}\n" for name in sorted(found)).encode()


def expected(folder: Path, part_size: int | None) -> dict[str, bytes]:
    """What a pack leaves where nothing was before."""
    made = packing(folder, part_size=part_size)
    made.pack()
    return contents(made)


@pytest.mark.parametrize("part_size", SHAPES)
def test_names_checksums_and_record(tmp_path: Path, part_size: int | None) -> None:
    made = packing(tmp_path, part_size=part_size)
    made.pack()
    count = len(contents(made)) - 1
    width = len(str(count - 1))
    names = [f"saved.tar.part{number:0{width}}" for number in range(count)] if part_size else ["saved.tar"]
    assert set(contents(made)) == {*names, "saved.tar.sha256"}
    assert contents(made)["saved.tar.sha256"] == sums(made)
    record = read_finished(made.state.output)
    assert record is not None
    assert [Path(file.name).name for file in record.files] == names
    assert record.references == ("a.example/app v1",)
    assert split.is_current(made.cache, made.state, made.bundle)
    assert not made.state.journal.exists()


@pytest.mark.parametrize(
    ("name", "line"), [("a\\b.tar", "\\%s  a\\\\b.tar"), ("a\nb.tar", "\\%s  a\\nb.tar"), ("a b", "%s  a b")]
)
def test_names_that_sha256sum_escapes(tmp_path: Path, name: str, line: str) -> None:
    made = packing(tmp_path)
    made.output = Output(compression=Compression.GZIP, destination=made.output.destination.with_name(name))
    made.pack()
    digest = hashlib.sha256(made.output.destination.read_bytes()).hexdigest()
    assert made.output.checksum_file.read_text() == line % digest + "\n"
    # The checksum file is understood again: what it names is the earlier bundle.
    made.cut(30_000)
    made.state.output.unlink()
    made.pack()
    assert not made.output.destination.exists()


@pytest.mark.parametrize("after", SHAPES)
@pytest.mark.parametrize("before", SHAPES)
@pytest.mark.parametrize("known_by", ["record", "checksums", "reading"])
def test_the_earlier_bundle_goes_as_one(tmp_path: Path, before: int | None, after: int | None, known_by: str) -> None:
    made = packing(tmp_path / "a", part_size=before)
    made.add(noise(50_000, 9))
    made.pack()
    if known_by != "record":
        made.state.output.unlink()
    if known_by != "checksums":
        made.output.checksum_file.unlink()
    made.blobs.popitem()
    made.cut(after)
    made.pack()
    assert contents(made) == expected(tmp_path / "b", after)
    assert open_store(made.output.destination).kind == "gzip"


def test_a_missing_volume_of_the_earlier_bundle_keeps_none_of_the_others(tmp_path: Path) -> None:
    """It was moved to a stick; the checksum file names the rest."""
    made = packing(tmp_path / "a", part_size=10_000)
    made.pack()
    made.state.output.unlink()
    made.output.destination.with_name("saved.tar.part0").unlink()
    made.cut(None)
    made.pack()
    assert contents(made) == expected(tmp_path / "b", None)


@pytest.mark.parametrize("part_size", SHAPES)
@pytest.mark.parametrize("name", ["saved.tar.part1", "saved.tar.part07", "saved.tar.part123"])
def test_a_stranger_is_named_and_nothing_is_touched(tmp_path: Path, part_size: int | None, name: str) -> None:
    made = packing(tmp_path, part_size=part_size)
    made.compress()
    stranger = made.output.destination.with_name(name)
    stranger.write_text("mine")
    before = contents(made)
    with pytest.raises(EnvironmentProblem, match="would be read as parts of the new bundle") as caught:
        made.split()
    assert str(stranger) in caught.value.message
    assert contents(made) == before
    stranger.unlink()
    made.split()
    assert contents(made)["saved.tar.sha256"] == sums(made)


class Stopped(Exception):
    """Stands in for a kill."""


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Whatever is renamed or removed for the ``number``-th time is not, and nothing is done after it."""
    count = itertools.count(1)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(count) >= number:
                raise Stopped
            return real(*arguments, **options)

        return call

    for name in ("rename", "replace", "unlink"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))


@pytest.mark.parametrize(("before", "after"), [(10_000, 30_000), (30_000, None), (None, 10_000), (30_000, 30_000)])
def test_wherever_it_is_stopped_the_next_run_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int | None, after: int | None
) -> None:
    wanted = expected(tmp_path / "wanted", after)
    for number in itertools.count(1):
        made = packing(tmp_path / str(number), part_size=before)
        made.add(noise(50_000, 9))
        made.pack()
        made.blobs.popitem()
        made.cut(after)
        made.compress()
        with monkeypatch.context() as patch:
            stop_at(patch, number)
            try:
                made.split()
            except Stopped:
                is_done = False
            else:
                is_done = True
        split.roll_forward(made.state)
        if not split.is_current(made.cache, made.state, made.bundle):
            # It was stopped before the journal was there: nothing has happened yet.
            made.split()
        assert {name: data for name, data in contents(made).items() if not name.startswith(".tmp-")} == wanted, number
        if is_done:
            break
    assert number > 5


def test_files_that_vanish_are_an_error_in_the_run_that_wrote_them(tmp_path: Path) -> None:
    made = packing(tmp_path, part_size=30_000)
    made.compress()
    for path in made.output.destination.parent.glob(".tmp-*.1"):
        path.unlink()
    before = contents(made)
    with pytest.raises(EnvironmentProblem, match="was removed or changed before it had its name"):
        made.split()
    assert contents(made) == before
    split.roll_forward(made.state)
    assert not made.state.journal.exists(), "of an earlier run, it is dropped"
    assert contents(made) == before


def test_a_folder_that_is_read_is_not_replaced(tmp_path: Path) -> None:
    made = packing(tmp_path, Compression.DIR)
    made.pack()
    before = contents(made)
    made.add(noise(100, 9))
    made.compress()
    place = made.output.destination
    with file_lock.shared_lock(place / "share", "x"):
        with pytest.raises(EnvironmentProblem, match="is being read by process"):
            made.split()
        assert {name: data for name, data in contents(made).items() if name.startswith("saved.tar/")} == before
    split.roll_forward(made.state)
    assert len(contents(made)) == len(before) + 1
    assert split.is_current(made.cache, made.state, made.bundle)
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_removing_takes_what_is_as_we_left_it(tmp_path: Path) -> None:
    made = packing(tmp_path, part_size=30_000)
    made.pack()
    changed = made.output.destination.with_name("saved.tar.part1")
    changed.write_text("somebody else's now")
    split.remove(made.state, made.bundle)
    assert set(contents(made)) == {"saved.tar.part1"}
    assert not split.is_current(made.cache, made.state, made.bundle)
