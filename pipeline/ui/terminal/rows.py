"""Rows at the bottom of a terminal; log lines scroll above them. The only importer of rich.

The rows are drawn anew a few times a second from one snapshot, so that their cost does not depend on the number of tasks.
What rich's ``Live`` lacks: it does not know that a terminal which became narrower has wrapped the rows that stand there, and
its tables take five times as long.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from functools import lru_cache

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from pipeline.acts.progress import Row, Snapshot
from pipeline.core.amounts import bytes_text
from pipeline.core.log import log
from pipeline.ui.terminal.log_lines import handler
from pipeline.ui.terminal.progress import SHOW_CURSOR, Look, Rate, amounts, counts, notice
from pipeline.ui.terminal.text import BETWEEN, harmless

REFRESH = 4
"""Times a second that the rows are drawn."""
ROOM_FOR_ECHO = 3
"""Columns left free: the terminal shows ``^C`` where the cursor is, and a line that it wraps would be left on the screen."""
FIGURES = 19
"""Columns for ``999.9 MB / 999.9 MB``."""
HIDE_CURSOR = "\x1b[?25l"
# Line by line: tmux keeps what a 'clear below' takes from a whole screen.
_CLEAR_LINE, _UP = "\x1b[2K", "\x1b[A"
_STYLES = {"WARN": "yellow", "ERROR": "red", "DEBUG": "dim"}


@contextlib.contextmanager
def rows(look: Look) -> Iterator[None]:
    """Show the rows during the block; nothing of them is left after it."""
    screen = _Screen(look)
    over = threading.Event()

    def refresh() -> None:
        while not over.wait(1 / REFRESH):
            screen.draw()

    thread = threading.Thread(target=refresh, daemon=True)
    before, handler.print_line = handler.print_line, screen.print_line
    notice.shown_by_rows = True
    handler.is_beside_rows = not log.isEnabledFor(logging.DEBUG)
    try:
        thread.start()
        yield
    finally:
        over.set()
        thread.join()
        handler.print_line = before
        handler.is_beside_rows = False
        notice.shown_by_rows = False
        screen.close()


class _Screen:
    """The bottom of the terminal. Thread-safe; what is erased and what takes its place are written at once."""

    def __init__(self, look: Look) -> None:
        self._console = Console(stderr=True)
        self._view = _View(self._console, look)
        self._drawn = ""
        self._lengths: list[int] = []
        self._lock = threading.Lock()
        self._wraps = _terminal_wraps_again()

    def draw(self) -> None:
        with self._lock:
            erased, lines = self._erased(), self._view.lines()
            self._lengths = [line.cell_len for line in lines]
            self._drawn = HIDE_CURSOR + self._ansi(Text("\n").join(lines)) if lines else ""
            self._write(erased + self._drawn)

    def print_line(self, line: str) -> None:
        """A log line, above the rows."""
        with self._lock:
            text = Text(line, style="green" if line.startswith("✓") else _STYLES.get(line[20:25].strip(), ""))
            self._write(self._erased() + self._ansi(text) + "\n" + self._drawn)

    def close(self) -> None:
        with self._lock:
            self._write(self._erased() + SHOW_CURSOR)
            self._drawn = ""

    def _erased(self) -> str:
        """From the end of the last row to where the first one begins."""
        if not self._drawn:
            return ""
        width = max(1, self._console.width)
        height = sum(max(1, -(-length // width)) if self._wraps else 1 for length in self._lengths)
        return "\r" + _CLEAR_LINE + f"{_UP}{_CLEAR_LINE}" * (height - 1)

    def _ansi(self, text: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(text, end="", soft_wrap=True)
        return capture.get()

    def _write(self, text: str) -> None:
        if text:
            self._console.file.write(text)
            self._console.file.flush()


class _View:
    def __init__(self, console: Console, look: Look) -> None:
        self._console = console
        self._look = look
        self._rate = Rate()
        # Two characters, as there may be no colours to tell them apart.
        self._full, self._rest = "━─" if (console.encoding or "").startswith("utf") else "#-"

    def lines(self) -> list[Text]:
        snapshot = self._look()
        if not snapshot.act:
            return []
        width = max(20, self._console.width - ROOM_FOR_ECHO)
        bar = max(6, min(30, width // 5))
        room = max(0, self._console.height - 4)
        shown = snapshot.rows if len(snapshot.rows) <= room else snapshot.rows[: max(0, room - 1)]
        lines = [self._row(row, width, bar) for row in shown]
        if len(shown) < len(snapshot.rows) and room:
            lines.append(Text(_cut(f"+{len(snapshot.rows) - len(shown)} more", width), "bright_black"))
        return [*lines, Text(_cut(notice.text, width), "bold") if notice.text else self._head(snapshot, width)]

    def _row(self, row: Row, width: int, bar: int) -> Text:
        figures = f"{bytes_text(row.done)} / {bytes_text(row.total)}".rjust(FIGURES)
        label = _label(row.label, max(1, width - FIGURES - bar - 2))
        return Text(f"{label} ").append_text(self._bar(row.done / max(1, row.total), bar)).append(f" {figures}")

    def _bar(self, share: float, size: int) -> Text:
        full = round(size * min(1.0, share))
        return Text(self._full * full, "cyan").append(self._rest * (size - full), "bright_black")

    def _head(self, snapshot: Snapshot, width: int) -> Text:
        """A bar for all of it, what is done of what, and how fast."""
        right = amounts(snapshot, self._rate.update(snapshot))
        left = counts(snapshot)
        done, total = snapshot.done, snapshot.total
        if not total:
            done, total = snapshot.finished + snapshot.up_to_date + snapshot.failed, snapshot.tasks
        bar = max(6, min(30, width // 5)) if total else 0
        start = self._bar(done / total, bar).append(" ") if total else Text()
        room = width - start.cell_len
        # Where there is no room for all, the bytes matter more than what is done of what.
        both = BETWEEN.join(filter(None, (left, right)))
        return start.append(_cut(both if cell_len(both) <= room else right or left, room), "bold")


@lru_cache(maxsize=100)
def _label(text: str, room: int) -> str:
    """The end of a reference, with its platform, says more than its beginning."""
    label = harmless(text)
    while cell_len(label) > room and len(label) > 1:
        label = "…" + label[2:]
    return set_cell_size(label, room)


def _cut(text: str, room: int) -> str:
    """Exactly ``room`` columns wide."""
    return set_cell_size(text, room) if cell_len(text) <= room else set_cell_size(text, max(0, room - 1)) + "…"


def _terminal_wraps_again() -> bool:
    """Whether lines that stand there are wrapped when the terminal becomes narrower: all do but a few old ones."""
    term = os.environ.get("TERM", "")
    old = "XTERM_VERSION" in os.environ or term == "linux" or term.startswith("rxvt")
    return not old and not (term.startswith("screen") and "TMUX" not in os.environ)
