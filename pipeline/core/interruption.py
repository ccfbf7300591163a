"""One run's wish to stop, shared by all its threads.

A signal handler calls ``request``; whoever does long work calls ``check`` now and then, sleeps with ``sleep``, and registers
what must be stopped at once (child processes) with ``stopping``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from pipeline.core.errors import Interrupted


class Interruption:
    """Thread-safe. Once requested, a stop stays requested."""

    def __init__(self) -> None:
        self._event = threading.Event()
        # Re-entrant: the handler of a second signal runs on the main thread, in the middle of the first one's.
        self._lock = threading.RLock()
        self._stoppers: dict[object, Callable[[], None]] = {}
        self.signum = 0

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self, signum: int) -> None:
        """Ask the run to stop, and stop everything registered. Does not wait."""
        self.signum = self.signum or signum
        self._event.set()
        with self._lock:
            stoppers = list(self._stoppers.values())
        for stop in stoppers:
            stop()

    def check(self) -> None:
        """Raises Interrupted once a stop was requested."""
        if self._event.is_set():
            raise Interrupted(self.signum)

    def sleep(self, seconds: float) -> None:
        """Sleep, but raise Interrupted as soon as a stop is requested."""
        self._event.wait(seconds)
        self.check()

    def wait(self, seconds: float) -> None:
        """Sleep, but only until a stop is requested."""
        self._event.wait(seconds)

    @contextlib.contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop`` if a stop is requested inside the block (at once, if it was requested before)."""
        key = object()
        with self._lock:
            self._stoppers[key] = stop
        try:
            if self._event.is_set():
                stop()
            yield
        finally:
            with self._lock:
                del self._stoppers[key]
