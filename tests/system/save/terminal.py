"""A terminal with a person before it, for the ``>>>`` prompt."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.support.run import COMMAND, ROOT

PROMPT = ">>> "
CTRL_C, CTRL_D = b"\x03", b"\x04"
LIMIT = 20.0
"""Seconds to wait for what must appear."""


class Terminal:
    """``image-tools ARGUMENTS`` on a terminal of its own: what is typed goes in, what is shown is collected."""

    def __init__(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> None:
        self._main, other = pty.openpty()
        self._shown = b""
        self._read = 0
        self._process = subprocess.Popen(
            # Its own session, and this its controlling terminal: so Ctrl-C becomes a signal, as for a person.
            ["setsid", "--ctty", *COMMAND, *map(str, arguments)],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        )
        os.close(other)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._main)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def shown(self) -> str:
        """All that was on the screen up to now."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def expect(self, text: str) -> str:
        """Wait until ``text`` is shown after what was last waited for; what was shown up to it."""
        limit = time.monotonic() + LIMIT
        while (at := self.shown.find(text, self._read)) < 0:
            if not self._collect(limit):
                raise AssertionError(f"no {text!r} after:\n{self.shown[self._read :]}\n--- all:\n{self.shown}")
        before, self._read = self.shown[self._read : at], at + len(text)
        return before

    def type(self, text: str | bytes) -> None:
        # No faster than fingers: readline is deaf to a signal between writing its prompt and listening to the keyboard.
        time.sleep(0.05)
        os.write(self._main, text.encode() if isinstance(text, str) else text)

    def answer(self, line: str | bytes) -> str:
        """Type a line at the prompt; what is shown until the prompt is back."""
        self.type((line.encode() if isinstance(line, str) else line) + b"\n")
        return self.expect(PROMPT)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        limit = time.monotonic() + LIMIT
        while self._collect(limit):
            pass
        try:
            return self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs:\n{self.shown}") from None

    def _collect(self, limit: float) -> bool:
        """Read what is there; False when nothing more comes, or not in time."""
        ready, _, _ = select.select([self._main], [], [], max(0.0, limit - time.monotonic()))
        if not ready:
            return False
        with contextlib.suppress(OSError):  # Linux: the other end is closed
            data = os.read(self._main, 65536)
            self._shown += data
            return bool(data)
        return False
