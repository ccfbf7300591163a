"""The HTML of a report: complete, self-contained, harmless. (What a browser makes of it: ``tests/browser``.)"""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ui.report.charts import MAX_TILES, tiles
from pipeline.ui.report.page import html
from pipeline.ui.report.treemap import squarified
from tests.unit.ui.made import HOSTILE, hostile, report

VOID = {"meta", "br", "input", "rect", "line"}


class Reader(HTMLParser):
    """Tags in order, their attributes, and the text outside style and script; complains of what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.raw:
            self.raw[self._open[-1]].append(data)
        else:
            self.texts.append(data)


@pytest.mark.parametrize("count", [1, 5, 200])
def test_it_says_all_that_is_in_the_report(count: int) -> None:
    made = report(count)
    page = Reader(html(made))
    text = "".join(page.texts)
    for image in made.images:
        assert image.reference in text
        assert image.digest in text
        for platform in image.platforms:
            assert platform.digest in text
    for file in made.files:
        assert file.sha256 in text
    assert "not found: gone" in text
    rows = [attributes for tag, attributes in page.tags if tag == "tr" and "data-status" in attributes]
    assert len(rows) == count + 1


def test_it_needs_nothing_from_elsewhere() -> None:
    page = Reader(html(report()))
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "base", "object")
        assert not {"src", "href", "srcset", "style", "onclick", "onload"} & set(attributes)
    assert not re.search(r"url\(|@import", "".join(page.raw["style"]))
    assert not re.search(r"fetch\(|XMLHttp|import\(|https?:", "".join(page.raw["script"]))


def test_the_policy_allows_its_own_style_and_script_only() -> None:
    page = Reader(html(report()))
    [policy] = [a["content"] or "" for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        [text] = page.raw[kind]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_texts_from_outside_are_escaped() -> None:
    page = Reader(html(hostile()))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 1
    assert tags.count("style") == 1
    assert "".join(page.texts).count(HOSTILE) >= 8


def test_a_report_of_nothing() -> None:
    made = report(0, failed=2)
    page = Reader(html(made))
    assert "Where the bytes are" not in "".join(page.texts)
    assert Reader(html(report(0, failed=0))).tags


def test_two_thousand_images_stay_readable() -> None:
    made = report(2000, failed=0, workers=20)
    text = html(made)
    assert len(text) < 4_000_000
    assert len(tiles(made)) == MAX_TILES + 1
    assert sum(tile.size for tile in tiles(made)) == sum(blob.size for blob in made.blobs)


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=60))
def test_areas_are_as_the_sizes(sizes: list[int]) -> None:
    sizes.sort(reverse=True)
    boxes = squarified(sizes, 1000, 400)
    assert len(boxes) == len(sizes)
    for size, (left, top, width, height) in zip(sizes, boxes, strict=True):
        assert width * height == pytest.approx(size / sum(sizes) * 400_000, rel=1e-3, abs=1e-3)
        assert left >= 0 and top >= 0
        assert left + width <= 1000.01 and top + height <= 400.01
