"""The task ``prove`` of a load: whether the target has what a delta leaves out. Read-only, and before anything is pushed.

Proof is a byte that was read, never a HEAD: registries claim to have what a garbage collection removed. Each layer is looked
for where the base had it and in the repository that needs it; each once a run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from pipeline.core import reference
from pipeline.core.errors import Cause, InputError, RegistryError
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.registry.presence import Presence
from pipeline.storage import inventory
from pipeline.storage.delta import AbsentBlob

Rename = Callable[[Reference], Reference]
"""Where what has a name of the source goes in the registry."""


class Prover:
    """Of one load. Thread-safe."""

    def __init__(self, presence: Presence, registry: str, rename: Rename) -> None:
        """``registry`` is the host that is loaded into: no other is ever asked, whatever a delta says."""
        self._presence = presence
        self._host = registry.partition("/")[0]
        self._rename = rename
        self._lock = threading.Lock()
        self._known: dict[tuple[str, Digest], bool] = {}

    def is_there(self, digest: Digest, blob: AbsentBlob, target: Reference) -> bool:
        """Whether a byte of the blob could be read. Raises RegistryError where that cannot be proved: no answer, no access."""
        denied: RegistryError | None = None
        for place in self._places(blob, target):
            try:
                if self._is_at(place, digest, blob.size):
                    return True
            except RegistryError as error:
                if error.cause is not Cause.UNAUTHORIZED:
                    raise
                denied = error
        if denied is not None:
            raise RegistryError(f"{target}: it cannot be proved that {digest} is there: {denied.message}", denied.cause)
        return False

    def _is_at(self, place: Reference, digest: Digest, size: int) -> bool:
        key = place.repository, digest
        with self._lock:
            known = self._known.get(key)
        if known is None:
            known = self._presence.has(place, digest, size)
            with self._lock:
                self._known[key] = known
        return known

    def _places(self, blob: AbsentBlob, target: Reference) -> Iterator[Reference]:
        """Repositories that may have it, each once."""
        seen: set[str] = set()
        for place in (*self._of_base(blob), target):
            if place.repository not in seen:
                seen.add(place.repository)
                yield place

    def _of_base(self, blob: AbsentBlob) -> Iterator[Reference]:
        for name in blob.repositories:
            try:
                found = reference.parse(name)
            except InputError:
                continue
            if blob.base.names == inventory.SOURCE:
                yield self._rename(found)
            elif found.registry == self._host:
                yield found
