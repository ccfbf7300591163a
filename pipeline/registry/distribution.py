"""The distribution API of all registries, in one run: what the rest of the program asks registries by.

Every call takes references and returns values, or None for what a registry says it does not have. Any other failure is a
``RegistryError`` with a cause and the registry's own words, so that no registry that is busy or locked is ever taken for one
that has nothing. One ``Distribution`` serves all workers; connections, tokens and pauses are shared by them. After an
interruption every call raises Interrupted within a second.

Source: distribution-spec 1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from pipeline.core.bundle import Access
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.registry.blobs import Blobs, BlobStream
from pipeline.registry.catalogue import Catalogue
from pipeline.registry.manifests import ManifestHead, Manifests
from pipeline.registry.referrer_lists import Listed, ReferrerLists
from pipeline.registry.registries_conf import Endpoint
from pipeline.registry.retry import Attempts
from pipeline.registry.routes import Routes, scope, site
from pipeline.registry.session import QuotaWatch, Session
from pipeline.registry.tags import Tags


class Distribution:
    """Thread-safe."""

    def __init__(
        self,
        access: Access,
        interruption: Interruption,
        *,
        connections: int,
        mirrors: bool = True,
        attempts: Attempts | None = None,
        quota: QuotaWatch | None = None,
        strict: bool = False,
    ) -> None:
        """At most so many ``connections`` to one host. With ``mirrors``, those of ``registries.conf`` are asked first: to
        fetch, not to see what a registry has. ``attempts`` are shared with skopeo, where it is used beside this.
        With ``strict``, a registry that denies access to what may refer to an image is a failure.
        """
        self.attempts = attempts or Attempts(access.retries, interruption)
        self.session = Session(access, self.attempts, interruption, connections)
        self.session.quota = quota
        self._routes = Routes(mirrors)
        self._manifests = Manifests(self.session, self._routes)
        self._blobs = Blobs(self.session, self._routes)
        self._lists = ReferrerLists(self.session, self._routes, self._manifests)
        self._lists.strict = strict
        self._tags = Tags(self.session, self._routes)
        self._catalogue = Catalogue(self.session, self._routes, self._tags)

    @property
    def requests(self) -> int:
        """How many there were so far, tokens included."""
        return self.session.http.count

    @property
    def heads_lie(self) -> set[str]:
        """Registries (``host`` or ``host:port``) that are asked by GET, as their HEAD is not true. To be filled and kept."""
        return self._manifests.heads_lie

    def probe(self, reference: Reference) -> None:
        """Find out whether the registry of ``reference`` answers and lets us in.

        Raises RegistryError; a name, a connection, a certificate or a login that does not work is not tried again. Where
        there are mirrors, one that works is enough.
        """

        def ask(endpoint: Endpoint) -> bool:
            self.session.probe(site(endpoint), scope(endpoint))
            return True

        self._routes.first(reference, ask)

    def head(self, reference: Reference) -> ManifestHead | None:
        """What a tag names; None where there is no such tag. Asks by GET where HEAD is not answered or not true."""
        return self._manifests.head(reference)

    def digest_of(self, reference: Reference) -> Digest | None:
        """The digest that a tag names. None where there is no such tag."""
        head = self._manifests.head(reference)
        return None if head is None else head.digest

    def manifest(self, reference: Reference) -> bytes | None:
        """The bytes of a manifest, checked where the reference has a digest. None where there is none."""
        return self._manifests.get(reference)

    def tags(self, name: Reference) -> list[str] | None:
        """All tags of a repository; None where there is no such repository."""
        return self._tags.of(name)

    def catalogue(self, registry: str, repositories: Iterable[str] | None = None) -> list[Reference]:
        """Every tag that a registry (host or host/path) has, of ``repositories`` where these are known. Raises InputError where
        it lists none to us.
        """
        return self._catalogue.of(registry, repositories)

    def put_manifest(self, reference: Reference, data: bytes, media_type: str) -> None:
        """Put a manifest under its tag, or its digest. Raises RegistryError, also where the registry stores other bytes."""
        self._manifests.put(reference, data, media_type)

    def open_blob(self, repository: Reference, digest: Digest, *, offset: int = 0) -> AbstractContextManager[BlobStream]:
        """The blob from ``offset`` on, in one attempt: the caller repeats it, through ``attempts``.

        Raises RegistryError (NOT_FOUND, UNAUTHORIZED, ...), WrongRange for a range that was not asked for.
        """
        return self._blobs.open(repository, digest, offset)

    def blob(self, repository: Reference, digest: Digest) -> bytes:
        """A small blob (4 MiB at the most), a config say, whole and checked. Raises RegistryError, ContentError."""
        return self._blobs.small(repository, digest)

    def has_blob(self, repository: Reference, digest: Digest, size: int) -> bool:
        """Whether the registry can give a blob of ``size`` bytes: proved by its last byte."""
        return self._blobs.has(repository, digest, size)

    def mount_blob(self, repository: Reference, digest: Digest, source: Reference) -> bool:
        """Take a blob over from another repository of the registry. False where the registry does not do that."""
        return self._blobs.mount(repository, digest, source)

    def copy_blob(self, repository: Reference, digest: Digest, size: int, source: Reference) -> None:
        """Bring a blob over from another repository of the registry: mounted, or streamed where that is refused."""
        self._blobs.copy(repository, digest, size, source)

    def push_blob(self, repository: Reference, digest: Digest, size: int, pieces: Callable[[], Iterator[bytes]]) -> None:
        """Upload a blob in one piece, streamed. ``pieces`` is called for each attempt."""
        self._blobs.push(repository, digest, size, pieces)

    def referrers(self, name: Reference, subject: Digest) -> Listed:
        """What refers to ``subject``: by the registry's API or, where it has none, by what clients keep under a tag."""
        return self._lists.of(name, subject)

    def tagged(self, name: Reference, subject: Digest, tag: str) -> Digest | None:
        """What has a tag that stands for a referrer of ``subject`` (cosign's ``sha256-….sig``); None where there is none."""
        return self._lists.tagged(name, subject, tag)

    def ensure_listed(self, name: Reference, subject: Digest, entries: Sequence[Mapping[str, Any]]) -> None:
        """See to it that the registry lists manifests that are there as referrers of ``subject``."""
        self._lists.ensure(name, subject, entries)
