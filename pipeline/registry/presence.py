"""What a registry can really give: proved by the last byte of each blob.

A registry that answers HEAD from a cache in memory claims to have what a garbage collection removed, and takes manifests that
need it. So nothing counts as present before a byte of it was read. Each blob of a repository is proved once a run.
"""

from __future__ import annotations

import threading

from pipeline.core.errors import Cause, RegistryError
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.registry.distribution import Distribution


class Presence:
    """Of the registries in one run. Thread-safe. ``repository`` is any reference in the repository that is meant."""

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution
        self._lock = threading.Lock()
        self._places: dict[tuple[str, Digest], dict[str, Reference]] = {}
        """Where a blob was proved to be: references by repository, by registry and digest."""

    def has(self, repository: Reference, digest: Digest, size: int) -> bool:
        """Whether the repository can give the blob of ``size`` bytes. Raises RegistryError where that cannot be asked."""
        key = repository.registry, digest
        if self.is_proved(repository, digest):
            return True
        if not self._distribution.has_blob(repository, digest, size):
            return False
        with self._lock:
            self._places.setdefault(key, {})[repository.repository] = repository
        return True

    def mount(self, repository: Reference, digest: Digest, size: int) -> bool:
        """Take the blob over from a repository where it was proved to be. Whether it is there then, which is proved again."""
        place = self._place(repository, digest)
        if place is None or not self._distribution.mount_blob(repository, digest, place):
            return False
        return self.has(repository, digest, size)

    def bring(self, repository: Reference, digest: Digest, size: int) -> None:
        """Bring the blob over from where it was proved to be, and prove that it is there then. Raises RegistryError."""
        place = self._place(repository, digest)
        if place is None:
            raise RegistryError(f"{repository.by_digest(digest)} is nowhere in the registry", Cause.NOT_FOUND)
        self._distribution.copy_blob(repository, digest, size, place)
        if not self.has(repository, digest, size):
            raise RegistryError(
                f"{repository.by_digest(digest)}: the registry took it over, and cannot give it",
                Cause.SERVER,
                tip="it may answer from memory for what a garbage collection removed: restart it, and load again",
            )

    def is_proved(self, repository: Reference, digest: Digest) -> bool:
        """Whether a byte of the blob was read in this repository in this run."""
        with self._lock:
            return repository.repository in self._places.get((repository.registry, digest), ())

    def _place(self, repository: Reference, digest: Digest) -> Reference | None:
        """A repository of the registry where the blob was proved to be."""
        with self._lock:
            return next(iter(self._places.get((repository.registry, digest), {}).values()), None)


def is_denied(error: RegistryError) -> bool:
    """Whether an answer may mean that the registry has no such thing: many deny what they do not have."""
    return error.cause in (Cause.NOT_FOUND, Cause.UNAUTHORIZED)
