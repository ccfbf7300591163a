"""The rows at the bottom of a terminal: there while it runs, and gone without a trace."""

from __future__ import annotations

import re

import pytest

from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Stall
from tests.support.push import PushedImage
from tests.support.registry import Registry
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
        assert ("━" in row or "─" in row) == (columns >= 60)
        assert "plan: 1 image, 2 image/arches" in "".join(terminal.lines)
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
        terminal.wait_for("copying 0 of 2")
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
        terminal.wait_for("copying 0 of 2")
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
