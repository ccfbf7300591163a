"""Asking a registry again, in one way for whoever asks: skopeo or our own HTTP.

Takes an attempt, a function, and returns its result. Guarantees: what can pass is tried again with growing pauses, what cannot
is not; a registry that says "too many requests" is left alone by all workers together; bytes that are wrong twice are an
answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.registry.throttle import GivenUp, Throttle

LONGEST_WAIT = 120.0
"""Seconds that a registry may ask us to wait (``Retry-After``)."""
FIRST_PAUSE = 1.0
"""Seconds before the second attempt, at the most; each further pause is twice as long."""
MAX_PAUSE = 60.0
"""Seconds between two attempts at the most."""

_T = TypeVar("_T")


class WrongBytes(RegistryError):
    """What came does not match the digest that asked for it: a bad proxy or cable, perhaps."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Cause.NETWORK)


class TokenRefused(RegistryError):
    """A token that was fetched a moment ago is refused where others were accepted before: another one may be good."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Cause.UNAUTHORIZED)


class Attempts:
    """How often, and when, one run asks. Thread-safe."""

    def __init__(self, retries: int, interruption: Interruption, patient: bool = True) -> None:
        """One that is not ``patient`` raises ``RegistryPaused`` where a request would have to wait before it is first made."""
        self.throttle = Throttle(interruption)
        self._retries = retries
        self._interruption = interruption
        self._patient = patient

    def until_it_works(self, registry: str, what: object, attempt: Callable[[], _T]) -> _T:
        """The result of ``attempt``. ``what`` is asked for, in log lines. Raises RegistryError, ContentError, Interrupted."""
        wrong = 0
        for number in range(1, self._retries + 2):
            self.throttle.wait(registry, self._patient or number > 1)
            try:
                result = attempt()
            except RegistryError as error:
                if not error.cause.can_pass and not isinstance(error, TokenRefused):
                    self.throttle.answered(registry)
                    raise
                if isinstance(error, WrongBytes):
                    wrong += 1
                    if wrong == 2 or number > self._retries:
                        times = ", twice," if wrong == 2 else ""
                        said = f"the registry served{times} bytes that do not match their digest"
                        raise ContentError(f"{said}: {error.message}") from error
                self.throttle.failed(registry, error.message)
                pause = min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** (number - 1)) * random.uniform(0.5, 1.0)
                if error.cause is Cause.RATE_LIMITED:
                    self.throttle.hold(registry, pause * 4, error.cause)
                if number > self._retries or isinstance(error, GivenUp):
                    raise
                said = error.message if error.message.startswith(str(what)) else f"{what}: {error.message}"
                log.warning("%s; trying again in %.1f s (%d of %d)", said, pause, number, self._retries)
                self._interruption.sleep(pause)
            else:
                self.throttle.answered(registry)
                return result
        raise AssertionError("unreachable")
