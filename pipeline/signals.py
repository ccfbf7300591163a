"""SIGINT and SIGTERM: the first asks a run to stop, a second one ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from .errors import EXIT_SIGNAL
from .interruption import Interruption


@contextlib.contextmanager
def stopping(interruption: Interruption) -> Iterator[None]:
    """For the block, a signal is a request of ``interruption``. On the main thread only."""

    def stop(signum: int, frame: FrameType | None) -> None:
        if interruption.requested:
            from .display import restore_terminal

            restore_terminal()
            os._exit(EXIT_SIGNAL + signum)
        interruption.request(signum)
        # At once: what is being written may have to reach the disk before the run can end. Not through sys.stderr, in the
        # middle of whose own writing this may happen.
        with contextlib.suppress(OSError):
            os.write(2, b"\nimage-tools: stopping\n")

    with handling(stop):
        yield


@contextlib.contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """For the block, signals go to ``handler``."""
    before = {signum: signal.signal(signum, handler) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
