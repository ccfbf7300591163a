"""Where act 1 gets manifests: from ``share/`` or, once in the life of a cache, from a registry.

One ``ManifestSource`` serves all images of a run. Guarantees: what is in ``share/`` is not fetched again; of several that
want one manifest at the same time, one fetches it; each GET has a ticket of the registry's quota; what comes has the digest
that asked for it. Our own HTTP asks, or skopeo where that was said or where the registry lets only skopeo in.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from pipeline.core import oci
from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, Schema1
from pipeline.core.reference import Reference
from pipeline.registry.distribution import Distribution
from pipeline.registry.quota import QuotaWatch, Tickets
from pipeline.registry.skopeo.client import Skopeo
from pipeline.storage.cache import Cache
from pipeline.storage.records.resolved import Resolved


class ManifestSource:
    """Thread-safe."""

    def __init__(
        self,
        cache: Cache,
        distribution: Distribution,
        quota: QuotaWatch,
        skopeo: Skopeo,
        via_skopeo: Callable[[str], bool],
    ) -> None:
        """``via_skopeo`` says of a registry that only skopeo can talk to it."""
        self.cache = cache
        self.distribution = distribution
        self.quota = quota
        self._skopeo = skopeo
        self._via_skopeo = via_skopeo
        self._lock = threading.Lock()
        self._in_flight: dict[object, threading.Lock] = {}

    def digest_of(self, tag: Reference) -> Digest | None:
        """What a tag names, by a request that counts for no quota; None where only its manifest tells.

        Raises RegistryError, also for a tag that there is not.
        """
        if self._via_skopeo(tag.registry):
            return None
        head = self.distribution.head(tag)
        if head is None:
            raise _not_found(tag)
        return head.digest

    @contextlib.contextmanager
    def gets(self, reference: Reference, count: int) -> Iterator[Gets]:
        """The right to fetch so many manifests of one registry. Raises QuotaReached."""

        def look() -> None:
            with contextlib.suppress(RegistryError):  # who asks next says why
                self.digest_of(reference)

        with self.quota.tickets(reference.registry, count, look) as tickets:
            yield Gets(self, tickets)

    def fetch(self, reference: Reference) -> bytes:
        if self._via_skopeo(reference.registry):
            return self._skopeo.manifest(reference)
        data = self.distribution.manifest(reference)
        if data is None:
            raise _not_found(reference)
        return data

    def fetch_config(self, manifest: Reference, config: Digest) -> bytes:
        """The config of an image, which is named by the digest of its ``manifest``. Blobs count for no quota."""
        if self._via_skopeo(manifest.registry):
            return self._skopeo.config(manifest)
        return self.distribution.blob(Reference(manifest.registry, manifest.repository), config)

    @contextlib.contextmanager
    def alone(self, what: Digest | Reference) -> Iterator[None]:
        """Nobody else fetches this during the block."""
        with self._lock:
            lock = self._in_flight.setdefault(what, threading.Lock())
        with lock:
            yield


class Gets:
    """What one image may fetch."""

    def __init__(self, source: ManifestSource, tickets: Tickets) -> None:
        self._source = source
        self._cache = source.cache
        self._tickets = tickets

    def expect(self, count: int) -> None:
        """Now it is known how many manifests are still to be fetched."""
        self._tickets.expect(count)

    def top(self, source: Reference, digest: Digest | None) -> Resolved:
        """What a tag or a digest names, fetched. ``digest`` is what it is expected to be; the bytes decide."""
        with self._source.alone(digest or source):
            if digest is not None and (known := in_cache(self._cache, digest)) is not None:
                return known
            data, document = self._fetch(source)
        if isinstance(document, Schema1):
            return Resolved(Descriptor(document.media_type, document.digest, len(data)), document.platform)
        named = source.digest or Digest.of(data)
        self._cache.put(data, named, document)
        return Resolved(Descriptor(document.media_type, named, len(data)))

    def manifest(self, repository: Reference, descriptor: Descriptor) -> Manifest | Index:
        """A manifest or index that is named by its digest: from the cache, or fetched. Raises RegistryError, ContentError."""
        source = repository.by_digest(descriptor.digest)
        with self._source.alone(descriptor.digest):
            if not self._is_here(descriptor.digest):
                data, document = self._fetch(source)
                if isinstance(document, Schema1):
                    raise ContentError(f"{source}: a schema 1 manifest in an index")
                self._cache.write(data, descriptor.digest, document)
        return self._cache.parse(descriptor.digest)

    def bytes_of(self, source: Reference) -> bytes:
        """A manifest of whatever kind, fetched and not kept. Raises RegistryError, ContentError."""
        self._tickets.spend()
        return self._source.fetch(source)

    def config(self, repository: Reference, manifest: Descriptor, config: Descriptor) -> None:
        """The config of an image, unless it is in the cache. Raises RegistryError, ContentError."""
        source = repository.by_digest(manifest.digest)
        with self._source.alone(config.digest):
            if self._is_here(config.digest):
                return
            data = self._source.fetch_config(source, config.digest)
            if Digest.of(data, config.digest.algorithm) != config.digest:
                raise ContentError(f"the config of {source}: the registry served bytes that do not match the digest")
            self._cache.write(data, config.digest)

    def _fetch(self, source: Reference) -> tuple[bytes, Manifest | Index | Schema1]:
        """A manifest whose bytes are right. Asks once more where they are not, as a bad proxy or cable may be the reason."""
        for number in range(2):
            data = self.bytes_of(source)
            try:
                document = oci.parse(data)
                if source.digest is not None and _digest(document, data, source.digest.algorithm) != source.digest:
                    raise ContentError(f"{source}: the registry served bytes that do not match the digest")
            except ContentError as error:
                if number:
                    raise
                log.warning("%s: the registry served what cannot be used: %s; asking once more", source, error)
            else:
                return data, document
        raise AssertionError("unreachable")

    def _is_here(self, digest: Digest) -> bool:
        try:
            self._cache.read(digest)
        except ContentError:
            if self._cache.blob(digest).exists():
                log.warning("%s in the cache is damaged; it is fetched again", digest)
            return False
        return True


def in_cache(cache: Cache, digest: Digest) -> Resolved | None:
    """A manifest or index as a record would name it; None where it is not in the cache."""
    try:
        media_type = cache.parse(digest).media_type
        return Resolved(Descriptor(media_type, digest, cache.blob(digest).stat().st_size))
    except (ContentError, OSError):
        return None


def _digest(document: Manifest | Index | Schema1, data: bytes, algorithm: str) -> Digest:
    return document.digest if isinstance(document, Schema1) else Digest.of(data, algorithm)


def _not_found(reference: Reference) -> RegistryError:
    return RegistryError(f"{Cause.NOT_FOUND.value}: the registry has no {reference}", Cause.NOT_FOUND)
