"""SIGINT and SIGTERM: the first asks a run to stop, a second one ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from pipeline.core.errors import EXIT_SIGNAL
from pipeline.core.interruption import Interruption


@contextlib.contextmanager
def stopping(interruption: Interruption) -> Iterator[None]:
    """For the block, a signal is a request of ``interruption``. On the main thread only."""

    # Here, not in the handler: a signal may come in the middle of an import.
    from pipeline.registry import environment_login
    from pipeline.ui.terminal import restore_terminal, say_at_once

    def stop(signum: int, frame: FrameType | None) -> None:
        if interruption.requested:
            restore_terminal()
            environment_login.remove_all()
            os._exit(EXIT_SIGNAL + signum)
        interruption.request(signum)
        # At once: what is being written may have to reach the disk before the run can end.
        say_at_once("image-tools: stopping")

    with handling(stop):
        try:
            yield
        finally:
            if interruption.requested:
                # The process is about to end by itself, with the exit code that says why.
                for signum in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(signum, signal.SIG_IGN)


@contextlib.contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """For the block, signals go to ``handler``."""
    before = {signum: signal.signal(signum, handler) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, old in before.items():
            if signal.getsignal(signum) is handler:
                signal.signal(signum, old)
