"""Rows at the bottom of a terminal; log lines scroll above them. The only importer of rich.

The rows are drawn anew a few times a second from one snapshot, so that their cost does not depend on the number of tasks.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .loglines import handler
from .progress import Look, Rate, amounts, counts
from .text import bytes_text, harmless

REFRESH = 4
"""Times a second that the rows are drawn."""
ROOM_FOR_ECHO = 3
"""Columns left free: the terminal shows ``^C`` where the cursor is, and a line that it wraps would be left on the screen."""
_STYLES = {"WARN": "yellow", "ERROR": "red", "DEBUG": "dim"}


@contextlib.contextmanager
def rows(look: Look) -> Iterator[None]:
    """Show the rows during the block; nothing of them is left after it."""
    console = Console(stderr=True)
    live = Live(
        get_renderable=_View(console, look).render,
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    # rich locks its bookkeeping, not its writing: two threads at once, and rows of a moment ago stay on the screen.
    lock = threading.Lock()
    over = threading.Event()

    def print_line(line: str) -> None:
        level = line[20:25].strip()
        with lock:
            console.print(Text(line, style=_STYLES.get(level, "")), soft_wrap=True)

    def refresh() -> None:
        while not over.wait(1 / REFRESH):
            with lock:
                live.refresh()

    thread = threading.Thread(target=refresh, daemon=True)
    before, handler.print_line = handler.print_line, print_line
    with live:
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            handler.print_line = before


class _View:
    def __init__(self, console: Console, look: Look) -> None:
        self._console = console
        self._look = look
        self._rate = Rate()

    def render(self) -> RenderableType:
        snapshot = self._look()
        if not snapshot.act:
            return Text("")
        width = self._console.width - ROOM_FOR_ECHO
        table = Table.grid(padding=(0, 1))
        table.width = width
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(width=max(8, min(30, width // 5)))
        table.add_column(justify="right", no_wrap=True, width=19)
        for row in snapshot.rows[: max(0, self._console.height - 4)]:
            bar = ProgressBar(total=max(1, row.total), completed=row.done)
            table.add_row(Text(harmless(row.label)), bar, f"{bytes_text(row.done)} / {bytes_text(row.total)}")
        head = Table.grid(padding=(0, 1))
        head.width = width
        head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        head.add_column(justify="right", no_wrap=True)
        head.add_row(Text(counts(snapshot), style="bold"), amounts(snapshot, self._rate.update(snapshot)))
        return Group(table, head)
