"""SIGINT and SIGTERM: the first asks a run to stop, a second one ends the process at once.

Python runs a handler on the main thread, once that runs again. One that waits for another thread without limit does not, where
the signal came just before it began to wait, or to another thread: so a thread of its own heeds the signals of a run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from pipeline.core.errors import EXIT_SIGNAL
from pipeline.core.interruption import Interruption


@contextlib.contextmanager
def stopping(interruption: Interruption) -> Iterator[None]:
    """For the block, a signal is a request of ``interruption``, wherever the main thread waits. On the main thread only."""

    # Here, not where a signal is heeded: it may come in the middle of an import.
    from pipeline.registry.login import environment_login
    from pipeline.ui.terminal import restore_terminal, say_at_once

    def stop(signum: int) -> None:
        if interruption.requested:
            restore_terminal()
            environment_login.remove_all()
            os._exit(EXIT_SIGNAL + signum)
        interruption.request(signum)
        # At once: what is being written may have to reach the disk before the run can end.
        say_at_once("image-tools: stopping")

    with handling(_leave_to_thread), _heeding(stop):
        try:
            yield
        finally:
            if interruption.requested:
                # The process is about to end by itself, with the exit code that says why.
                for signum in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(signum, signal.SIG_IGN)


@contextlib.contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """For the block, signals go to ``handler``, on the main thread, and to nobody else."""
    heeded = signal.set_wakeup_fd(-1)
    before = {signum: signal.signal(signum, handler) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, old in before.items():
            if signal.getsignal(signum) is handler:
                signal.signal(signum, old)
        signal.set_wakeup_fd(heeded)


def _leave_to_thread(signum: int, frame: FrameType | None) -> None:
    """Without a handler in Python, the thread would not be told."""


@contextlib.contextmanager
def _heeding(heed: Callable[[int], None]) -> Iterator[None]:
    """For the block, a thread calls ``heed`` with the number of each signal that has a handler."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        while number := os.read(reader, 1):
            if number[0] in (signal.SIGINT, signal.SIGTERM):
                heed(number[0])

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)
        thread.join()
        os.close(reader)
