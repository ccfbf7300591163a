"""A terminal for tests: runs the program on one, and knows what would be seen on it."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from tests.support.run import COMMAND, ROOT

_PIECE = re.compile(r"\x1b\[\??[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+")


class Terminal:
    """The program on a terminal. ``lines`` is what stands on it, oldest first, never scrolled away."""

    def __init__(self, *args: str | Path, columns: int = 80, rows: int = 24, env: Mapping[str, str] | None = None) -> None:
        self._controller, terminal = pty.openpty()
        self.columns = columns
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        settings = termios.tcgetattr(terminal)
        settings[3] |= termios.ECHO | termios.ISIG
        termios.tcsetattr(terminal, termios.TCSANOW, settings)
        self._process = subprocess.Popen(
            [*COMMAND, *map(str, args)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(env or {})},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end within a character

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._process.kill()
            self._process.wait()
        os.close(self._controller)

    def resize(self, columns: int, rows: int = 24) -> None:
        self.columns = columns
        fcntl.ioctl(self._controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._controller, text.encode())

    def wait_for(self, text: str, seconds: float = 20.0, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Until ``text`` stands on the screen. ``meanwhile`` is called again and again, as in ``wait``."""

        def seen() -> bool:
            meanwhile()
            return text in "\n".join(self.lines)

        self._until(seen, text, seconds)

    def wait_for_raw(self, text: str, start: int, seconds: float = 20.0) -> None:
        """Until ``text`` was written after the first ``start`` characters, with its control sequences."""
        self._until(lambda: text in self.raw[start:], text, seconds)

    def _until(self, seen: Callable[[], bool], text: str, seconds: float) -> None:
        limit = time.monotonic() + seconds
        while not seen():
            ended = not self._read(0.1) and self._process.poll() is not None
            assert seen() or not (ended or time.monotonic() > limit), f"no {text!r} in\n" + "\n".join(self.lines)

    def wait(self, meanwhile: Callable[[], object] = lambda: None) -> int:
        """The exit code. ``meanwhile`` is called again and again: what it does may come too early the first time."""
        limit = time.monotonic() + 60
        while self._read(0.1) or self._process.poll() is None:
            meanwhile()
            assert time.monotonic() < limit, "\n".join(self.lines)
        return self._process.returncode

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._controller], [], [], seconds)
        try:
            data = os.read(self._controller, 65536) if ready else b""
        except OSError:  # the other end is closed
            return False
        self.raw += self._decoder.decode(data)
        return bool(data)

    @property
    def lines(self) -> list[str]:
        """The sequences that we use, and no others: an unknown one shows up as text."""
        found = [""]
        row = column = 0
        for piece in _PIECE.findall(self.raw):
            if piece == "\r":
                column = 0
            elif piece == "\n":
                row += 1
                found += [""] * (row + 1 - len(found))
            elif piece == "\x1b[2K":
                found[row] = ""
            elif piece == "\x1b[A":
                row = max(0, row - 1)
            elif re.fullmatch(r"\x1b\[([0-9;]*m|\?25[lh])", piece):
                pass
            else:
                before = found[row].ljust(column)
                found[row] = before[:column] + piece + before[column + len(piece) :]
                column += len(piece)
        return [line.rstrip() for line in found]
