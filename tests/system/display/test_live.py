"""The rows at the bottom of a terminal: there while it runs, and gone without a trace."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.images import image, index, layer
from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Stall
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import run
from tests.system.display.screen import Terminal
from tests.system.save.conftest import work  # noqa: F401
from tests.system.save.saving import ARCHIVE, PLAIN, write_list

COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])[0-9;]*m")


@pytest.fixture(scope="session")
def slow(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-index", "display/slow")


@pytest.fixture
def listed(proxy: FaultProxy, slow: PushedImage) -> str:
    """A list whose image's first layer does not come before ``proxy.release``."""
    proxy.fault(slow.platforms[0].layers[0], Stall(20, after=100))
    return str(write_list([slow.via(proxy.host)]))


@pytest.mark.parametrize("columns", [45, 80, 200])
def test_rows_come_and_go(proxy: FaultProxy, listed: str, columns: int) -> None:
    with Terminal("save", "-f", listed, PLAIN, "-j", "2", columns=columns) as terminal:
        terminal.wait_for(" / ")
        row = next(line for line in terminal.lines if re.search(r" / \d", line))
        assert len(row) == columns - 3, "room for the echo of ^C"
        assert "━" in row or "─" in row, "a bar at any width"
        assert re.search(r"━|─", terminal.lines[terminal.lines.index(row) + 1]), "and one for all of it"
        assert "1 image (2 platforms)" in "".join(terminal.lines)
        assert terminal.wait(proxy.release) == 0
        assert COLOUR.search(terminal.raw)
        rest = terminal.lines
    assert not any(re.search(r" / \d| of \d+ [kM]?B|━|─", line) for line in rest)
    assert "saved 1 of 1 images" in "\n".join(rest)
    assert terminal.raw.rfind("\x1b[?25h") > terminal.raw.rfind("\x1b[?25l")
    # On 80 columns the checksum has a line of its own.
    assert any(re.fullmatch(rf"  {ARCHIVE}  [0-9.]+ kB( *sha256:[0-9a-f]{{64}})?", line) for line in rest)
    assert all(len(line) <= 80 for line in rest if "sha256:" in line) or columns == 200


def test_ctrl_c_leaves_nothing_behind(listed: str) -> None:
    with Terminal("save", "-f", listed, PLAIN) as terminal:
        terminal.wait_for("copying 0/2")
        terminal.type("\x03")
        assert terminal.wait() == 130
        rest = [line for line in terminal.lines if line]
    assert not any("━" in line or "─" in line or "^C" in line or " waiting" in line for line in rest)
    assert rest[-2:] == [
        "image-tools: interrupted; what was fetched is kept.",
        "Run the same command again to go on: it repeats nothing that is done.",
    ]
    assert terminal.raw.rfind("\x1b[?25h") > terminal.raw.rfind("\x1b[?25l")


def test_no_color(proxy: FaultProxy, listed: str) -> None:
    with Terminal("save", "-f", listed, PLAIN, env={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("copying 0/2")
        assert terminal.wait(proxy.release) == 0
    assert not COLOUR.search(terminal.raw)


def test_a_narrower_terminal(proxy: FaultProxy, listed: str) -> None:
    """It has wrapped the rows, so more lines are taken away."""
    with Terminal("save", "-f", listed, PLAIN) as terminal:
        terminal.wait_for(" / ")
        before = len(terminal.raw)
        terminal.resize(50)
        # Two rows stood there, on four lines now.
        terminal.wait_for_raw("\r\x1b[2K" + "\x1b[A\x1b[2K" * 3 + "\x1b[?25l", before)
        assert terminal.wait(proxy.release) == 0


@pytest.mark.parametrize("mode", ["plain", "none"])
def test_no_rows_where_none_are_wanted(mode: str, proxy: FaultProxy, listed: str) -> None:
    with Terminal("save", "-f", listed, PLAIN, "-progress", mode) as terminal:
        terminal.wait_for("copying")
        assert terminal.wait(proxy.release) == 0
    assert "\x1b[2K" not in terminal.raw
    assert "\x1b[?25l" not in terminal.raw


@pytest.fixture
def several(registry: Registry) -> str:
    """A list of twelve images, and one that nobody has."""
    names = []
    for number in range(12):
        both = (image(f"linux/{arch}", [layer(f"display/{number}/{arch}")]) for arch in ("amd64", "arm64"))
        push(registry, f"display/app{number}", "v1", index(*both))
        names.append(f"{registry.host}/display/app{number}:v1")
    names.insert(1, f"{registry.host}/display/gone:v1")
    Path("several.txt").write_text("".join(f"{name}\n" for name in names))
    return "several.txt"


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_each_image_is_one_line_above_the_rows(several: str, registry: Registry, columns: int) -> None:
    with Terminal("save", "-f", several, PLAIN, "-j", "4", "-log-file", "all.log", columns=columns) as terminal:
        assert terminal.wait() == 1
    screen = "".join(terminal.lines)
    done = re.findall(rf"✓ \[M_ID:(\d+)\] {registry.host}/display/app\d+:v1  amd64 arm64  \d+\.\d kB", screen)
    assert sorted(map(int, done)) == [1, *range(3, 14)]
    assert " INFO  copying " not in screen and " INFO  copied " not in screen
    assert f"ERROR [M_ID:2] {registry.host}/display/gone:v1: not found" in screen
    whole = Path("all.log").read_text()
    assert whole.count(" INFO  [M_ID:") >= 48 and "✓" not in whole and "ERROR [M_ID:2]" in whole


def test_quiet_says_what_failed_and_nothing_else(several: str) -> None:
    failed = run("save", "-f", several, PLAIN, "-quiet")
    assert "INFO" not in failed.stderr and "ERROR [M_ID:2]" in failed.stderr and "failed 1" in failed.stdout
    Path(several).write_text(Path(several).read_text().replace("gone", "app0"))
    fine = run("save", "-f", several, PLAIN, "-quiet", "-force")
    assert (fine.code, fine.stdout, fine.stderr) == (0, "", "")


def test_debug_shows_the_whole_log(several: str) -> None:
    with Terminal("save", "-f", several, PLAIN, "-debug", columns=200) as terminal:
        assert terminal.wait() == 1
    assert " INFO  [M_ID:1] [IMG_ID:1] copied " in "".join(terminal.lines)


def test_the_manual_opens_in_a_pager_on_a_terminal(tmp_path: Path) -> None:
    viewer = tmp_path / "man"
    viewer.write_text('#!/bin/sh\necho "man $*"\nread -r first && echo "$first"\ncat > /dev/null\n')
    viewer.chmod(0o755)
    with Terminal("man", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as terminal:
        assert terminal.wait() == 0
    assert terminal.lines[0] == "man -l -" and terminal.lines[1].startswith(".TH IMAGE")
    assert run("man", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}).stdout.startswith(".TH IMAGE")


def test_what_is_typed_while_it_copies_is_kept_for_the_prompt(proxy: FaultProxy, slow: PushedImage) -> None:
    proxy.fault(slow.platforms[0].layers[0], Stall(20, after=100))
    name = f"{proxy.host}/{slow.repository}:v1"
    with Terminal("save", PLAIN, columns=120) as terminal:
        terminal.wait_for(">>>")
        terminal.type(f"{name}\r")
        terminal.wait_for("copying 0/2")
        terminal.type(f"{proxy.host}/display/nobody:v1\r{proxy.host}/display/no")
        terminal.wait_for("display/nobody:v1: not found", meanwhile=proxy.release)
        terminal.type("ne:v1\r")
        terminal.wait_for(f"{proxy.host}/display/none:v1\n>>>")
        terminal.type("\x04")
        assert terminal.wait() == 1
        rest = terminal.lines
    assert [line for line in rest if re.search(r" / \d|━|─", line)] == [], "no row is left among what was typed"
    assert "saved 1 of 3 images" in "\n".join(rest)
