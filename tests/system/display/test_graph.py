"""``image-tools graph``: the tasks that a save has, in the state that they are in."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pipeline.ui.graph.dot import dot
from pipeline.ui.graph.nodes import KINDS, MAX_IMAGES, Graph, Node, State
from pipeline.ui.graph.svg import svg
from tests.support.kinds import push_kind
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.system.save.conftest import work  # noqa: F401
from tests.system.save.saving import CACHE, LIST, command, save, saved, write_list

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="session")
def images(registry: Registry) -> list[PushedImage]:
    return [push_kind(registry, kind, f"graph/{kind}") for kind in ("oci-index", "docker-list")]


def drawn(*arguments: str) -> dict[str, str]:
    """States by the name of the task."""
    result = command("graph", "-f", LIST, "-o", "graph.svg", *arguments)
    assert result.code == 0, result
    root = ET.parse("graph.svg").getroot()
    titles = [title.text or "" for group in root.iter(f"{SVG}g") for title in group.iter(f"{SVG}title")]
    return {name: state for name, _, state in (title.rpartition(": ") for title in titles)}


def test_before_and_after_a_save(registry: Registry, images: list[PushedImage]) -> None:
    write_list(images)
    before = drawn()
    assert not CACHE.exists(), "nothing is written"
    assert set(before.values()) == {"to do"}
    assert {name.partition(":")[0] for name in before} == set(KINDS) - {"referrers"}
    saved(images)
    after = drawn()
    assert set(after.values()) == {"done"}
    assert sum(name.startswith("copy:") for name in after) == 4
    assert Path("graph.svg").read_text().count('class="edge"') == 4 + 4 + 2 + 2


def test_what_failed_is_shown(registry: Registry, images: list[PushedImage]) -> None:
    missing = f"{registry.host}/graph/none:1"
    assert save([*images, missing]).code == 1
    states = drawn()
    assert states[f"resolve:{missing}"] == "failed"
    assert states[f"copy:{images[0].reference}:linux-amd64"] == "done"
    [index] = [name for name in states if name.endswith(f":{missing}") and name.startswith("index:")]
    assert states[index] == "to do"


def test_dot(images: list[PushedImage]) -> None:
    write_list(images)
    result = command("graph", "-f", LIST)
    assert result.stdout.startswith("digraph image_tools {\n")
    assert result.stdout.count(" -> ") == 2 + 2 + 2 + 2
    nodes = set(re.findall(r'^    "([^"]+)" \[', result.stdout, re.MULTILINE))
    for before, after in re.findall(r'^  "([^"]+)" -> "([^"]+)";', result.stdout, re.MULTILINE):
        assert {before, after} <= nodes


def many(count: int) -> Graph:
    nodes = [
        Node(
            name=f"{kind}:r/i<&>{image}",
            kind=kind,
            label=f"r/i<&>{image}\x1b",
            state=State.FAILED if image % 9 == 0 else State.DONE,
            needs=(),
            image=image,
        )
        for image in range(count)
        for kind in KINDS[:3]
    ]
    return Graph(tuple(nodes), count, ("b<&>",))


@pytest.mark.parametrize("count", [1, MAX_IMAGES, MAX_IMAGES + 1, 2000])
def test_pictures_of_any_number(count: int) -> None:
    graph = many(count)
    text = svg(graph)
    root = ET.fromstring(text)
    assert float(root.attrib["height"]) < 2000
    assert len(text) < 60_000
    assert "\x1b" not in text + dot(graph)
    words = "".join(root.itertext())
    if count > MAX_IMAGES:
        assert f"{count - len(range(0, count, 9)):,} done" in words
        assert "failed: resolve:r/i<&>0" in words


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([], "no images given"),
        (["-f", "list.txt", "-o", "graph.png"], "must end in .svg or .dot"),
        (["-f", "none.txt"], "cannot read the image list"),
        (["-report", "x.html"], "not defined: -report"),
    ],
)
def test_wrong_arguments(arguments: list[str], complaint: str, images: list[PushedImage]) -> None:
    write_list(images)
    result = command("graph", *arguments)
    assert result.code == 2
    assert complaint in result.stderr
