"""Progress while a run goes on: rows at the bottom of a terminal, or a line now and then elsewhere.

Takes a function that returns how far the run is, and calls it a few times a second. Writes to standard error alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline.core.amounts import bytes_text, duration_text
from pipeline.core.log import log
from pipeline.ui.terminal.log_lines import handler
from pipeline.ui.terminal.text import BETWEEN

if TYPE_CHECKING:  # which brings doit, and help needs none
    from pipeline.acts.progress import Snapshot

MODES = ("auto", "rich", "plain", "none")
PLAIN_INTERVAL = 15.0
"""Seconds between two plain lines."""
WINDOW = 20.0
"""Seconds over which the rate is an average."""
SHOW_CURSOR = "\x1b[?25h"

Look = Callable[[], "Snapshot"]


@contextlib.contextmanager
def show_progress(mode: str, look: Look) -> Iterator[None]:
    """Show progress during the block. ``auto`` draws rows on a terminal that can, and writes lines elsewhere."""
    if handler.is_quiet:
        mode = "none"
    if mode == "auto":
        mode = "rich" if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb" else "plain"
    if mode == "rich":
        from pipeline.ui.terminal.rows import rows

        with rows(look):
            yield
    elif mode == "plain":
        with _lines(look):
            yield
    else:
        yield


class _Notice:
    """Where words from a signal handler go while rows are shown; the next drawing of the rows takes them."""

    def __init__(self) -> None:
        self.shown_by_rows = False
        self.text = ""


notice = _Notice()


def say_at_once(text: str) -> None:
    """A line on standard error, from a signal handler: in the middle of any other writing, so through none of its locks."""
    notice.text = text
    if not notice.shown_by_rows:
        with contextlib.suppress(OSError):
            os.write(2, f"\n{text}\n".encode())


def restore_terminal() -> None:
    """For an end without clean-up: the live rows hide the cursor."""
    if sys.stderr.isatty():
        sys.stderr.write(SHOW_CURSOR)
        sys.stderr.flush()


@contextlib.contextmanager
def _lines(look: Look) -> Iterator[None]:
    over = threading.Event()

    def report() -> None:
        rate = Rate()
        while not over.wait(PLAIN_INTERVAL):
            snapshot = look()
            if snapshot.act:
                log.info("%s", BETWEEN.join(filter(None, (counts(snapshot), amounts(snapshot, rate.update(snapshot))))))

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Rate:
    """Bytes a second, over the last ``WINDOW`` seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._act = ""

    def update(self, snapshot: Snapshot) -> float:
        now = time.monotonic()
        if snapshot.act != self._act:
            self._seen.clear()
            self._act = snapshot.act
        self._seen.append((now, snapshot.done))
        while now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        seconds = now - self._seen[0][0]
        return max(0.0, snapshot.done - self._seen[0][1]) / seconds if seconds > 0.5 else 0.0


def counts(snapshot: Snapshot) -> str:
    """``copying 36/120 · 6 active · 3 failed``."""
    done = snapshot.finished + snapshot.up_to_date
    parts = [f"{snapshot.act} {done}/{snapshot.tasks}" if snapshot.tasks else snapshot.act]
    figures = {"active": len(snapshot.rows), "reused": snapshot.up_to_date, "failed": snapshot.failed}
    return BETWEEN.join([*parts, *(f"{number} {what}" for what, number in figures.items() if number)])


def amounts(snapshot: Snapshot, rate: float) -> str:
    if not snapshot.total:
        return ""
    """``59.0 of 223.0 MB · 1.8 MB/s · 1 min 29 s left``."""
    done, total = bytes_text(snapshot.done), bytes_text(snapshot.total)
    number, _, unit = done.partition(" ")
    parts = [f"{number if total.endswith(f' {unit}') else done} of {total}"]
    if rate:
        parts += [f"{bytes_text(rate)}/s", f"{duration_text((snapshot.total - snapshot.done) / rate)} left"]
    return BETWEEN.join(parts)
