"""What a registry lists as referring to a manifest, by its API or under the fallback tag, and putting that list right.

Guarantees: a registry that is busy or locked is never taken for one that lists nothing; nothing is written over a tag that is
not such a list. A registry that refuses its API to us (401, 403) but gives the image itself is asked for the fallback tag, as
regclient does, and said so once; a ``strict`` one fails.

Source: distribution-spec 1.1, "Listing Referrers", "Pushing Manifests with Subject", "Referrers Tag Schema".
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core import oci
from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.log import log
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.registry.manifests import Manifests
from pipeline.registry.pages import next_path
from pipeline.registry.registries_conf import Endpoint
from pipeline.registry.routes import Routes, scope, site
from pipeline.registry.session import Refused, Session

MAX_PAGES = 100
"""Of one list of referrers."""
_NO_SUCH_API = (404, 405, 501)


@dataclass(frozen=True)
class Listed:
    """What a registry says refers to a manifest: descriptors as JSON. ``by_api``, or else by the fallback tag."""

    entries: tuple[Mapping[str, Any], ...]
    by_api: bool
    is_foreign: bool = False
    """What has the fallback tag is not a list: somebody's image, perhaps."""

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(str(entry.get("digest")) for entry in self.entries)


class ReferrerLists:
    """Of all registries in one run. Thread-safe."""

    def __init__(self, session: Session, routes: Routes, manifests: Manifests) -> None:
        self.strict = False
        """Whether a registry that denies access to what may refer to an image is a failure."""
        self._session = session
        self._routes = routes
        self._manifests = manifests
        self._lock = threading.Lock()
        self._without_api: set[tuple[str, str]] = set()
        self._denied: set[str] = set()

    def of(self, name: Reference, subject: Digest) -> Listed:
        """What refers to ``subject``. Raises RegistryError, ContentError."""
        entries = self._routes.first(name, lambda endpoint: self._by_api(endpoint, name, subject))
        return Listed(tuple(entries), True) if entries is not None else self._fallback(name, subject)

    def ensure(self, name: Reference, subject: Digest, entries: Sequence[Mapping[str, Any]]) -> None:
        """See to it that the registry lists manifests that are there as referrers of ``subject``.

        It does so itself where it has the API; otherwise the list is the client's to keep. Raises RegistryError.
        """
        listed = self.of(name, subject)
        lacking = [entry for entry in entries if entry["digest"] not in listed.digests]
        if lacking and listed.by_api:
            raise RegistryError(
                f"{name.by_digest(subject)}: the registry does not list {lacking[0]['digest']}, which refers to it",
                Cause.UNSUPPORTED,
                tip="run the same command again; some registries need a moment",
            )
        tag = name.by_tag(fallback_tag(subject))
        if lacking and listed.is_foreign:
            raise RegistryError(
                f"{tag} is no list of what refers to {subject}, and is not replaced",
                Cause.UNSUPPORTED,
                tip="give it another tag, or remove it",
            )
        if lacking:
            try:
                self._put_list(tag, [*listed.entries, *lacking])
            except RegistryError as error:
                if error.cause is not Cause.UNSUPPORTED:
                    raise
                present = [entry for entry in listed.entries if self._is_present(name, entry)]
                if len(present) == len(listed.entries):
                    raise
                # Some registries take no list that names what was deleted since.
                self._put_list(tag, [*present, *lacking])

    def tagged(self, name: Reference, subject: Digest, tag: str) -> Digest | None:
        """What has a tag that is made from the subject's digest (cosign's). Some registries deny what they do not have."""
        try:
            head = self._manifests.head(name.by_tag(tag))
        except RegistryError as error:
            if not _is_forbidden(error) or self.strict or not self._is_allowed(name, subject):
                raise
            self._warn(name.registry, "a tag", error)
            return None
        return None if head is None else head.digest

    def _is_present(self, name: Reference, entry: Mapping[str, Any]) -> bool:
        try:
            return self._manifests.head(name.by_digest(Digest.parse(entry.get("digest", "")))) is not None
        except ContentError:
            return False

    def _put_list(self, tag: Reference, entries: Sequence[Mapping[str, Any]]) -> None:
        document = {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": list(entries)}
        self._manifests.put(tag, json.dumps(document).encode(), oci.OCI_INDEX)

    def _fallback(self, name: Reference, subject: Digest) -> Listed:
        """Raises ContentError for what no registry keeps under a tag: something else has answered."""
        tag = name.by_tag(fallback_tag(subject))
        try:
            data = self._manifests.get(tag)
        except RegistryError as error:
            if not _is_forbidden(error) or self.strict or not self._is_allowed(name, subject):
                raise
            self._warn(name.registry, "the fallback tag", error)
            data = None
        if data is None:
            return Listed((), False)
        if Digest.of(data, subject.algorithm) == subject:
            # GitLab finds an image by any tag that looks like its digest.
            return Listed((), False, is_foreign=True)
        try:
            entries = oci.load_json(data).get("manifests")
        except ContentError as error:
            raise ContentError(f"{tag}: {error.message}") from error
        if not isinstance(entries, list):
            return Listed((), False, is_foreign=True)
        return Listed(tuple(entry for entry in entries if isinstance(entry, Mapping)), False)

    def _by_api(self, endpoint: Endpoint, name: Reference, subject: Digest) -> list[dict[str, Any]] | None:
        if (endpoint.host, endpoint.repository) in self._without_api:
            return None
        found: list[dict[str, Any]] = []
        path = f"/v2/{endpoint.repository}/referrers/{subject}"
        what = f"what refers to {name.by_digest(subject)} cannot be asked"
        for page in range(1, MAX_PAGES + 1):
            try:
                answer = self._session.ask(
                    *("GET", site(endpoint), path, what), scope=scope(endpoint), headers={"Accept": oci.OCI_INDEX}
                )
            except RegistryError as error:
                if error.cause is not Cause.UNAUTHORIZED or page > 1 or self.strict or not self._is_allowed(name, subject):
                    raise
                self._warn(endpoint.host, "the list of referrers", error)
                self._without_api.add((endpoint.host, endpoint.repository))
                return None
            if answer.status in _NO_SUCH_API and page == 1:
                self._without_api.add((endpoint.host, endpoint.repository))
                return None
            try:
                entries = oci.load_json(answer.data).get("manifests") if answer.ok else None
            except ContentError:
                entries = None
            if not isinstance(entries, list) and page > 1:
                raise RegistryError(f"{what} to the end: page {page} is no index (status {answer.status})", Cause.SERVER)
            if not isinstance(entries, list):
                # Some servers have a page for whatever is asked.
                log.debug("%s: its answer about referrers is not an index (status %d)", endpoint.host, answer.status)
                return None
            found += [entry for entry in entries if isinstance(entry, dict)]
            following = next_path(path, answer.headers.get("link", ""), what)
            if following is None:
                return found
            path = following
        raise ContentError(f"{name.by_digest(subject)}: the registry lists referrers on more than {MAX_PAGES} pages")

    def _is_allowed(self, name: Reference, subject: Digest) -> bool:
        """Whether the same login may read the image itself: then what is denied is more likely not there."""
        try:
            return self._manifests.head(name.by_digest(subject)) is not None
        except RegistryError:
            return False

    def _warn(self, registry: str, what: str, error: RegistryError) -> None:
        with self._lock:
            is_new = registry not in self._denied
            self._denied.add(registry)
        if is_new:
            log.warning(
                "%s denies access to %s of an image that it gives; that is taken for 'there are none' (%s)",
                *(registry, what, error.message),
            )


def _is_forbidden(error: RegistryError) -> bool:
    """403: we are known, and may not see it, or it is not there (Artifactory). A 401 says nothing of it."""
    return isinstance(error, Refused) and error.status == 403


def fallback_tag(subject: Digest) -> str:
    """Where clients of a registry without the API keep the list (distribution-spec, "Referrers Tag Schema")."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"
