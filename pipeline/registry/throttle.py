"""How much a registry can take right now: shared by all that ask it.

A registry that says "too many requests", or when to come again, is left alone by all workers for a while (``hold``, ``wait``);
other registries are not concerned. One that has answered nobody for ``PATIENCE`` seconds is given up for the rest of the run: a
list of 2,000 images must not wait 2,000 times for a registry that is down.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from pipeline.core.errors import Cause, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log

PATIENCE = 600.0
"""Seconds of nothing but failures, from one registry, after which it is asked no more."""
NOTABLE = 1.0
"""Seconds of a pause that are worth a log line."""


class RegistryPaused(Exception):
    """A request would have to wait for so long that there may be better things to do."""


class GivenUp(RegistryError):
    """Trying again is pointless in this run, whatever the cause."""


@dataclass
class _State:
    not_before: float = 0.0
    failing_since: float | None = None
    last_failure: float = 0.0
    reason: str = ""


class Throttle:
    """Thread-safe."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()

    def wait(self, registry: str, patient: bool = True) -> None:
        """Wait until the registry may be asked. Raises GivenUp, Interrupted; RegistryPaused if not ``patient``."""
        while True:
            with self._lock:
                state = self._state(registry)
                if _is_hopeless(state):
                    silence = f"{registry} has given nothing for {PATIENCE / 60:.0f} min"
                    raise GivenUp(f"not tried: {silence} ({state.reason})", Cause.STALLED)
                pause = state.not_before - time.monotonic()
            if pause <= 0:
                return
            if not patient and pause > NOTABLE:
                raise RegistryPaused
            # Not all at once when it is over.
            self._interruption.sleep(pause + random.uniform(0, min(1.0, pause / 4)))

    def hold(self, registry: str, seconds: float, why: Cause) -> None:
        """Nobody asks this registry for so long."""
        with self._lock:
            state = self._state(registry)
            end = time.monotonic() + seconds
            longer = end - max(state.not_before, time.monotonic())
            state.not_before = max(state.not_before, end)
        if longer > NOTABLE:
            log.warning("%s: %s; asking nothing more of it for %.0f s", registry, why.value, seconds)

    def is_paused(self, registry: str) -> bool:
        with self._lock:
            return self._state(registry).not_before > time.monotonic()

    def answered(self, registry: str) -> None:
        """The registry works: it gave something, or a clear no."""
        with self._lock:
            self._state(registry).failing_since = None

    def failed(self, registry: str, reason: str) -> None:
        """An attempt failed for a reason that can pass."""
        now = time.monotonic()
        with self._lock:
            state = self._state(registry)
            # At a prompt, hours may lie between two failures.
            if state.failing_since is None or now - state.last_failure > PATIENCE:
                state.failing_since = now
            state.last_failure, state.reason = now, reason

    def _state(self, registry: str) -> _State:
        return self._states.setdefault(registry, _State())


def _is_hopeless(state: _State) -> bool:
    now = time.monotonic()
    return state.failing_since is not None and now - state.failing_since > PATIENCE and now - state.last_failure <= PATIENCE
