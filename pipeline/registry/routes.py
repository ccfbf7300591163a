"""Which hosts a repository is asked at: its mirrors, then the registry itself (``registries_conf``)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.log import log
from pipeline.core.reference import Reference
from pipeline.registry.login.auth import Site
from pipeline.registry.registries_conf import Endpoint, Registries

LEFT_OUT_TIME = 300.0
"""Seconds for which a mirror that does not work is not asked."""

_T = TypeVar("_T")


class Routes:
    """The endpoints of each reference, in order. Thread-safe."""

    def __init__(self, mirrors: bool = True) -> None:
        """With ``mirrors``, those of ``registries.conf`` are asked first: to fetch, not to see what a registry has."""
        self._mirrors = mirrors
        self._registries = Registries()
        self._lock = threading.Lock()
        self._answered: dict[str, Endpoint] = {}
        """By tag: who answered last, so that one run sees one state of it."""
        self._broken: dict[str, float] = {}
        """Mirrors that did not work, and until when they are left out."""

    def home(self, reference: Reference) -> Endpoint:
        """The registry itself, where things are pushed."""
        return self._registries.endpoints(reference)[-1]

    def first(self, reference: Reference, ask: Callable[[Endpoint], _T | None]) -> _T | None:
        """The answer of the first endpoint that has one. Mirrors may lack or refuse it, or list nothing; the last endpoint, the
        registry, decides."""
        *mirrors, last = self._registries.endpoints(reference)
        if not self._mirrors or not mirrors:
            return ask(last)
        name = str(reference)
        answered = self._answered.get(name)
        for endpoint in sorted([*mirrors, last], key=lambda each: each != answered):
            if self._broken.get(endpoint.host, 0.0) > time.monotonic():
                continue
            try:
                found = ask(endpoint)
            except (RegistryError, ContentError) as error:
                if endpoint == last:
                    raise
                self._leave_out(endpoint, error)
                continue
            if found or endpoint == last:
                if reference.tag:
                    with self._lock:
                        self._answered[name] = endpoint
                return found
        return ask(last)

    def _leave_out(self, mirror: Endpoint, error: RegistryError | ContentError) -> None:
        """Go on without a mirror: for a while, where it did not work although it was asked again and again."""
        log.debug("the mirror %s: %s", mirror.host, error.message)
        if isinstance(error, RegistryError) and (error.cause.can_pass or error.cause is Cause.UNREACHABLE):
            with self._lock:
                is_new = self._broken.get(mirror.host, 0.0) < time.monotonic()
                self._broken[mirror.host] = time.monotonic() + LEFT_OUT_TIME
            if is_new:
                log.warning("the mirror %s is left out for %d min: %s", mirror.host, LEFT_OUT_TIME // 60, error.message)


def site(endpoint: Endpoint) -> Site:
    return Site(endpoint.address, endpoint.host, endpoint.insecure, repository=endpoint.repository)


def scope(endpoint: Endpoint, actions: str = "pull") -> str:
    """What a token must be good for (docker.com, "Token Scope Documentation")."""
    return f"repository:{endpoint.repository}:{actions}"
