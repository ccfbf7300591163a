"""Which hosts a repository is asked at: its mirrors, then the registry itself (``registries_conf``)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from pipeline.core.errors import ContentError, RegistryError
from pipeline.core.log import log
from pipeline.core.reference import Reference
from pipeline.registry.auth import Site
from pipeline.registry.registries_conf import Endpoint, Registries

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

    def home(self, reference: Reference) -> Endpoint:
        """The registry itself, where things are pushed."""
        return self._registries.endpoints(reference)[-1]

    def first(self, reference: Reference, ask: Callable[[Endpoint], _T | None]) -> _T | None:
        """The answer of the first endpoint that has one. Mirrors may lack or refuse it, or list nothing; the last endpoint, the
        registry, decides."""
        *mirrors, last = self._registries.endpoints(reference)
        name = str(reference)
        answered = self._answered.get(name)
        for endpoint in sorted(mirrors if self._mirrors else (), key=lambda each: each != answered):
            try:
                if found := ask(endpoint):
                    if reference.tag:
                        with self._lock:
                            self._answered[name] = endpoint
                    return found
            except (RegistryError, ContentError) as error:
                log.debug("the mirror %s: %s", endpoint.host, error)
        return ask(last)


def site(endpoint: Endpoint) -> Site:
    return Site(endpoint.address, endpoint.host, endpoint.insecure, repository=endpoint.repository)


def scope(endpoint: Endpoint, actions: str = "pull") -> str:
    """What a token must be good for (docker.com, "Token Scope Documentation")."""
    return f"repository:{endpoint.repository}:{actions}"
