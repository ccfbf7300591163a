"""The report in a real browser: ``tests/browser``. With SCREENSHOTS=FOLDER, pictures of all that is looked at go there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.ui.report.model import Report
from pipeline.ui.report.page import html
from tests.support.images import image, index, layer
from tests.support.push import push
from tests.support.registry import Registry
from tests.system.report.webdriver import Browser
from tests.system.save.saving import saved
from tests.unit.ui import made

Show = Callable[[Report], Browser]

ROWS = "return [...document.querySelectorAll('#images tbody tr')].filter(r => r.offsetParent !== null)"
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def browser(clean_environment: Path) -> Iterator[Browser]:
    with Browser() as started:
        started.size(1280, 900)
        yield started


@pytest.fixture
def show(browser: Browser) -> Show:
    def show(report: Report) -> Browser:
        Path("report.html").write_text(html(report))
        browser.open(Path("report.html"))
        return browser

    return show


def keep(browser: Browser, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder, f"{name}.png").write_bytes(browser.screenshot())


def check(browser: Browser) -> None:
    """Whatever is shown: no error, no breach of the policy, nothing from elsewhere, nothing wider than the screen."""
    assert browser.complaints() == []
    assert {url for url in browser.requested() if not url.startswith("file:")} == set()
    assert browser.run(OVERFLOW) <= 0


def names(browser: Browser) -> list[str]:
    found: list[str] = browser.run(f"{ROWS}.map(r => r.querySelector('b').textContent)")
    return found


@pytest.mark.parametrize("width, height", [(1280, 900), (390, 740)], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screens(show: Show, width: int, height: int, scheme: str) -> None:
    browser = show(made.report(12))
    browser.size(width, height)
    browser.media(prefers_color_scheme=scheme)
    check(browser)
    background = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    shape = "wide" if width > 700 else "narrow"
    for part, place in enumerate(("header", f"svg.map.{shape}", "#images", f"svg.time.{shape}")):
        assert browser.run(f"return document.querySelector('{place}').getBoundingClientRect().width") > 300
        browser.run(f"document.querySelector('{place}').scrollIntoView()")
        keep(browser, f"{width}-{scheme}-{part}")


def test_sorting(show: Show) -> None:
    browser = show(made.report(30, failed=2))
    by_number = names(browser)
    press = "document.querySelectorAll('#images th button')[{}].click()"
    browser.run(press.format(1))
    assert names(browser) == sorted(by_number, key=lambda name: [int(p) if p.isdigit() else p for p in _parts(name)])
    browser.run(press.format(4))
    sizes = f"{ROWS}.map(r => Number(r.cells[4].dataset.key))"
    assert browser.run(sizes) == sorted(browser.run(sizes))
    browser.run(press.format(4))
    assert browser.run(sizes) == sorted(browser.run(sizes), reverse=True)
    assert browser.run("return document.querySelectorAll('#images th')[4].getAttribute('aria-sort')") == "descending"
    browser.run(press.format(0))
    assert names(browser) == by_number
    check(browser)


def _parts(name: str) -> list[str]:
    import re

    return re.findall(r"\d+|\D+", name)


def test_filtering(show: Show) -> None:
    browser = show(made.report(30, failed=2))
    set_value = "const e = document.getElementById('{}'); e.value = {!r}; e.dispatchEvent(new Event('input'))"
    browser.run(set_value.format("words", "team-1 component-8:"))
    assert names(browser) == ["r.io/team-1/component-8:v1.8"]
    assert browser.run("return document.getElementById('shown').textContent") == "1 of 32 images"
    browser.run(set_value.format("words", ""))
    browser.run(set_value.format("status", "failed"))
    assert names(browser) == ["r.io/gone/0:1", "r.io/gone/1:1"]
    browser.run(set_value.format("status", ""))
    browser.run(set_value.format("platform", "linux/arm64"))
    assert len(names(browser)) == 15
    check(browser)


def test_hostile_texts_do_nothing(show: Show) -> None:
    browser = show(made.hostile())
    check(browser)
    assert browser.run("return document.querySelectorAll('script').length") == 1
    assert made.HOSTILE in browser.run("return document.querySelector('h1').textContent")


def test_it_prints(show: Show) -> None:
    """Sixty images, with both pictures, on five pages."""
    browser = show(made.report(57, failed=3, workers=10))
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type */Page\b", pdf))
    assert 3 <= pages <= 5
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder, "print.pdf").write_bytes(pdf)
    browser.media("print")
    assert browser.run("return getComputedStyle(document.getElementById('controls')).display") == "none"


def test_two_thousand_images(show: Show) -> None:
    browser = show(made.report(2000, failed=5, workers=20))
    check(browser)
    taken = browser.run(
        "const start = performance.now(); document.querySelectorAll('#images th button')[3].click();"
        "document.body.offsetHeight; return performance.now() - start"
    )
    assert taken < 5000, "a person waits for it"
    keep(browser, "2000-header")
    browser.run("document.querySelector('svg.time.wide').scrollIntoView()")
    keep(browser, "2000-time")


def test_the_report_of_a_save_of_200_images(registry: Registry, browser: Browser) -> None:
    base = layer("browser/base", 50_000)
    pushed = [
        push(registry, f"browser/{number}", "v1", index(image("linux/amd64", [base, layer(f"browser/{number}", 500 * number)])))
        for number in range(200)
    ]
    saved(pushed, "-j", "4", "-report", "report.html")
    browser.open(Path("report.html"))
    check(browser)
    assert len(names(browser)) == 200
    assert len(browser.run("return [...document.querySelectorAll('svg.time rect')].map(r => r.className.baseVal)")) > 100
    keep(browser, "200-saved")
