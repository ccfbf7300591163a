"""Which images a selection of doit tasks needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.acts.engine import selected
from pipeline.acts.save.selection import needed, runs_tasks
from pipeline.core import image_list
from pipeline.core.bundle import Bundle, Compression, Output, PlatformFilter, images


def bundle(name: str, *names: str) -> Bundle:
    lines = image_list.parse("\n".join(names).encode(), "list")
    output = Output(compression=Compression.GZIP, destination=Path(f"/{name}.tar.gz"))
    return Bundle(
        name=name,
        images=images(lines, "", PlatformFilter()),
        cache=Path("/cache"),
        output=output,
        failed_list=Path(f"/{name}-failed.txt"),
    )


BUNDLES = (bundle("one", "r.io/a:1", "r.io/b:1"), bundle("two", "r.io/b:1", "r.io/c:1"))
ALL = {"one": ["r.io/a:1", "r.io/b:1"], "two": ["r.io/b:1", "r.io/c:1"]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ALL),
        (["pack"], ALL),
        (["pack:one"], {"one": ALL["one"]}),
        (["split:t*"], {"two": ALL["two"]}),
        (["pack:*"], ALL),
        (["pack:one", "tar:two"], ALL),
        (["resolve:r.io/b:1"], {"one": ["r.io/b:1"], "two": ["r.io/b:1"]}),
        (["resolve:r.io/a:*"], {"one": ["r.io/a:1"]}),
        (["index:two:r.io/c:1"], {"two": ["r.io/c:1"]}),
        (["index:two:r.io/c:1", "pack:one"], {"one": ALL["one"], "two": ["r.io/c:1"]}),
        (["copy:r.io/b:1:linux-amd64"], {"one": ["r.io/b:1"]}),
        (["copy:r.io/*"], ALL),
        (["pack:one", "lint"], ALL),
        (["pack:none"], ALL),
        (["one.tar.gz"], ALL),
        (["*"], ALL),
    ],
    ids=str,
)
def test_what_is_needed(names: list[str], expected: dict[str, list[str]]) -> None:
    found = needed(BUNDLES, names)
    assert {name: [str(image.reference) for image in images] for name, images in found.items()} == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ()),
        ("pack:a", ("pack:a",)),
        ("run pack:a split:b", ("pack:a", "split:b")),
        ("-n 4 -P thread pack:a split:b", ("pack:a", "split:b")),
        ("-f ../dodo.py --dir . -k pack", ("pack",)),
        ("run -n4 pack:a variable=1", ("pack:a",)),
        ("--no-such-option pack:a", ()),
    ],
)
def test_what_a_command_line_names(line: str, expected: tuple[str, ...]) -> None:
    assert selected(line.split()) == expected


@pytest.mark.parametrize("line", ["", "pack:a", "run pack", "-n 4 -P thread pack"])
def test_which_command_lines_run_tasks(line: str) -> None:
    assert runs_tasks(line.split())


@pytest.mark.parametrize("line", ["list --all", "info x", "clean", "help run"])
def test_which_command_lines_run_none(line: str) -> None:
    assert not runs_tasks(line.split())
