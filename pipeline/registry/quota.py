"""How many manifests registries let us fetch: Docker Hub's quota, and whatever works like it.

``QuotaWatch`` is told every answer to a request for a manifest, and hands out tickets for such requests. Guarantees: once a
registry's quota is used up, nothing more is asked of it that counts, nothing is tried again and nobody waits for the next
window; an image gets tickets for all its manifests or, as long as others can be served, none, so that every window
yields whole images, however many work at once. A registry that names no quota has none.

Source: docs.docker.com, "Docker Hub usage and limits": GETs of manifests count (each platform's, too), HEADs and blobs do not;
``ratelimit-limit: 100;w=21600`` (100 in six hours), ``ratelimit-remaining: 76;w=21600``. The refusal itself may not carry them.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.core.errors import Cause, RegistryError
from pipeline.core.interruption import Interruption

POLL = 0.2
"""Seconds between two looks whether to stop."""
_VALUE = re.compile(r"\s*([0-9]{1,9})(?![0-9])(?:\s*;\s*w=([0-9]{1,9}))?")
_WORDS = "pull rate limit"
"""In Docker Hub's refusal, and in nobody's who only wants fewer requests a second."""


def duration(seconds: int) -> str:
    """A window's length for people: ``6 h``, ``90 s``."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds and seconds % unit == 0:
            return f"{seconds // unit:,} {name}"
    return f"{seconds:,} s"


@dataclass(frozen=True)
class Quota:
    """``limit`` GETs of manifests in ``window`` seconds; 0 where the registry does not say."""

    limit: int = 0
    window: int = 0

    def windows(self, gets: int) -> int:
        """How many windows so many GETs take; 0 where that is not known."""
        return math.ceil(gets / self.limit) if self.limit else 0

    def __str__(self) -> str:
        """``100 manifests in 6 h``."""
        return f"{self.limit:,} manifests in {duration(self.window)}" if self.window else f"{self.limit:,} manifests"


class QuotaReached(RegistryError):
    """The quota does not allow what an image needs. ``missing`` is how many GETs that is."""

    def __init__(self, registry: str, quota: Quota, missing: int = 1) -> None:
        of = f" of {quota}" if quota.limit else ""
        super().__init__(f"the quota{of} that {registry} grants is used up", Cause.QUOTA)
        self.registry = registry
        self.quota = quota
        self.missing = missing


class _State:
    """Of one registry. ``free`` is what may still be promised; None where the registry names no quota."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.is_heard = False
        """Whether the registry has answered in this window."""
        self.is_named = False
        """Whether it has named its quota in this run."""
        self.remaining: int | None = None
        """As last seen."""
        self.base: int | None = None
        """What this run has in this window: the GETs that it sent, and those that it may still send."""
        self.sent = 0
        self.reserved = 0
        """Tickets that are handed out and not used."""

    @property
    def free(self) -> int | None:
        return None if self.base is None else max(0, self.base - self.sent - self.reserved)


class QuotaWatch:
    """All registries of one run. Thread-safe."""

    def __init__(self, interruption: Interruption, known: Mapping[str, Quota] | None = None) -> None:
        """``known`` is what an earlier run learned."""
        self.when_learned: Callable[[str, Quota], None] = lambda registry, quota: None
        """Called when a registry names its quota for the first time in this run, on the thread that asked it."""
        self._interruption = interruption
        self._states = {registry: _State(quota) for registry, quota in (known or {}).items()}
        self._changed = threading.Condition()

    @property
    def known(self) -> Mapping[str, Quota]:
        with self._changed:
            return {registry: state.quota for registry, state in sorted(self._states.items()) if state.quota.limit}

    def remaining(self, registry: str) -> int | None:
        """GETs left in this window; None where the registry has not said so in this run."""
        with self._changed:
            return self._state(registry).free

    def saw(self, registry: str, headers: Mapping[str, str], status: int, text: str) -> None:
        """Take in the answer to a request for a manifest; names of ``headers`` are lower case.

        Raises QuotaReached for a 429 that means that the quota is used up. Any other 429 only asks for a pause.
        """
        if self._took_in(registry, headers, status, text):
            self.when_learned(registry, self.known[registry])

    def _took_in(self, registry: str, headers: Mapping[str, str], status: int, text: str) -> bool:
        """Whether the registry has named its quota for the first time."""
        limit, remaining = (_VALUE.match(headers.get(f"ratelimit-{name}", "")) for name in ("limit", "remaining"))
        with self._changed:
            state = self._state(registry)
            is_first = limit is not None and not state.is_named
            state.is_heard = True
            state.is_named |= limit is not None
            if limit is not None:
                state.quota = Quota(int(limit[1]), int(limit[2] or 0))
            if remaining is not None:
                state.remaining = int(remaining[1])
                # Answers overtake each other, so more than expected is old news; less is what others on this address took.
                if state.base is None or state.remaining < state.base - state.sent:
                    state.base = state.remaining + state.sent
            if status == 429 and (state.remaining == 0 or _WORDS in text.lower()):
                state.base = state.sent
                self._changed.notify_all()
                raise QuotaReached(registry, state.quota)
            return is_first and state.quota.limit > 0

    def begin_window(self, registry: str) -> None:
        """Forget what is left: it is asked for anew. Call while nothing is asked of the registry."""
        with self._changed:
            before = self._state(registry)
            self._states[registry] = _State(before.quota)
            self._states[registry].is_named = before.is_named

    @contextlib.contextmanager
    def tickets(self, registry: str, gets: int, look: Callable[[], object]) -> Iterator[Tickets]:
        """The right to so many GETs, for the block; what is not used goes back.

        Waits while others may give back what is needed; with less than that, the last one takes what is left. ``look`` asks the
        registry something that does not count: it is called before the first GET, to learn what remains. Raises QuotaReached.
        """
        if gets and self._is_unknown(registry):
            look()
        tickets = Tickets(self, registry)
        with self._changed:
            self._wait_for(tickets, gets)
        try:
            yield tickets
        finally:
            with self._changed:
                self._state(registry).reserved -= tickets.left
                self._changed.notify_all()

    def _is_unknown(self, registry: str) -> bool:
        with self._changed:
            return not self._state(registry).is_heard

    def _wait_for(self, tickets: Tickets, gets: int) -> None:
        tickets.needed = gets
        while True:
            state = self._state(tickets.registry)
            if state.free is None or state.free >= gets:
                break
            if state.reserved == 0:
                if state.free == 0:
                    raise QuotaReached(tickets.registry, state.quota, gets)
                break
            self._changed.wait(POLL)
            self._interruption.check()
        self._reserve(state, tickets, gets)

    def _reserve(self, state: _State, tickets: Tickets, gets: int) -> None:
        """Change what is reserved to ``gets``, as far as that is free."""
        more = gets - tickets.left
        more = more if state.free is None else min(more, state.free)
        state.reserved += more
        tickets.left += more
        if more < 0:
            self._changed.notify_all()

    def expect(self, tickets: Tickets, gets: int) -> None:
        with self._changed:
            tickets.needed = gets
            self._reserve(self._state(tickets.registry), tickets, gets)

    def spend(self, tickets: Tickets) -> None:
        with self._changed:
            state = self._state(tickets.registry)
            if tickets.left <= 0:
                self._reserve(state, tickets, 1)
            if tickets.left <= 0 or (state.base is not None and state.sent >= state.base):
                raise QuotaReached(tickets.registry, state.quota, max(1, tickets.needed))
            tickets.left -= 1
            tickets.needed -= 1
            state.reserved -= 1
            state.sent += 1

    def _state(self, registry: str) -> _State:
        return self._states.setdefault(registry, _State(Quota()))


class Tickets:
    """Those of one image, at one registry."""

    def __init__(self, watch: QuotaWatch, registry: str) -> None:
        self._watch = watch
        self.registry = registry
        self.left = 0
        self.needed = 0
        """GETs that the image still takes, as far as is known."""

    def expect(self, gets: int) -> None:
        """Now it is known how many more it takes: what is too much goes back, what is lacking is taken if it is free."""
        self._watch.expect(self, gets)

    def spend(self) -> None:
        """Call before each GET. Raises QuotaReached."""
        self._watch.spend(self)
