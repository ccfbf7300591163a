"""Finding processes that a test left behind, orphans included.

On Linux the test run makes itself the parent of orphans (``PR_SET_CHILD_SUBREAPER``), so that a skopeo whose parent was
killed shows up among our descendants instead of vanishing under init. Elsewhere nothing is found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

GRACE = 3.0
"""Seconds that processes get to end: a death signal or a closing pipe takes its moment."""
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")


class Leftovers:
    """Looks after the descendants of this process."""

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._works = Path(f"{_PROC}/self/task/{os.getpid()}/children").exists() and self._adopt_orphans()

    def snapshot(self) -> frozenset[int]:
        """The descendants that run now."""
        return frozenset(self._descendants()) if self._works else frozenset()

    def since(self, before: frozenset[int]) -> list[str]:
        """Command lines of the descendants that run now and did not then, after a grace; they are killed.

        Session-wide registries that a test was the first to ask for are no leftovers.
        """
        if not self._works:
            return []
        limit = time.monotonic() + self._grace
        while left := self._running(before):
            if time.monotonic() > limit:
                break
            time.sleep(0.01)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [f"{pid}: {command}" for pid, command in left.items()]

    def _running(self, before: frozenset[int]) -> dict[int, str]:
        commands = {pid: self._command(pid) for pid in self._descendants() - before}
        return {pid: command for pid, command in commands.items() if command and not command.startswith("docker-registry ")}

    @staticmethod
    def _adopt_orphans() -> bool:
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        return prctl is not None and prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

    @staticmethod
    def _descendants() -> set[int]:
        """Those that have not ended. Twice for each test: only the files that are needed are read, without pathlib."""
        found: set[int] = set()
        fresh = {os.getpid()}
        while fresh:
            children: set[int] = set()
            for pid in fresh:
                with contextlib.suppress(OSError):
                    for task in os.listdir(f"{_PROC}/{pid}/task"):  # noqa: PTH208
                        children.update(map(int, _read(f"{_PROC}/{pid}/task/{task}/children").split()))
            # The command's name stands in brackets and may hold anything: count from the last one.
            ended = {pid for pid in children if _read(f"{_PROC}/{pid}/stat").rpartition(b")")[2][1:2] in (b"Z", b"X", b"")}
            fresh = children - found - ended
            found |= fresh
        return found

    @staticmethod
    def _command(pid: int) -> str:
        with contextlib.suppress(OSError):
            return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""


def _read(name: str) -> bytes:
    """Empty for what has just ended."""
    with contextlib.suppress(OSError), open(name, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()
    return b""
