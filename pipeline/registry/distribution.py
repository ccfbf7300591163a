"""The API of registries, for what skopeo has no command for: what refers to a manifest, and putting a list of that right.

In come references, out go digests, manifests and descriptors, or None for what a registry says it does not have. Any other
failure is a ``RegistryError``, so that no registry that is busy or locked is ever taken for one that has nothing.

Source: distribution-spec 1.1, "Pulling manifests", "Listing Referrers", "Pushing Manifests with Subject".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from pipeline.core import oci
from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.log import log
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.registry.http import Answer, Site, Web
from pipeline.registry.registries_conf import Endpoint, Registries

ACCEPT = ", ".join((oci.OCI_INDEX, oci.OCI_MANIFEST, oci.DOCKER_LIST, oci.DOCKER_MANIFEST, oci.ORAS_MANIFEST, "*/*;q=0.1"))
MAX_PAGES = 100
"""Of one list of referrers."""
_NO_SUCH_API = (404, 405)
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')

_T = TypeVar("_T")


@dataclass(frozen=True)
class Listed:
    """What a registry says refers to a manifest: descriptors as JSON. ``by_api``, or else by the fallback tag."""

    entries: tuple[Mapping[str, Any], ...]
    by_api: bool
    is_foreign: bool = False
    """What has the fallback tag is no list: somebody's image, perhaps."""

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(str(entry.get("digest")) for entry in self.entries)


class Distribution:
    """The API of all registries, with one ``Access``. Thread-safe."""

    def __init__(self, web: Web, mirrors: bool = True) -> None:
        """With ``mirrors``, those of ``registries.conf`` are asked first: to fetch, not to see what a registry has."""
        self._web = web
        self._mirrors = mirrors
        self._registries = Registries()
        self._without_api: set[tuple[str, str]] = set()

    @property
    def requests(self) -> int:
        """How many there were so far."""
        return self._web.count

    def digest_of(self, reference: Reference) -> Digest | None:
        """What a tag names. None where there is no such tag."""

        def ask(endpoint: Endpoint) -> Digest | None:
            answer = self._manifest("HEAD", endpoint, reference)
            if answer.status == 404:
                return None
            named = answer.headers.get("docker-content-digest", "")
            # The header is optional; the bytes always tell.
            return Digest.parse(named) if named else Digest.of(self._manifest("GET", endpoint, reference).data)

        return self._first(reference, ask)

    def manifest(self, reference: Reference) -> bytes | None:
        """The bytes of a manifest, checked where the reference has a digest. None where there is none."""

        def ask(endpoint: Endpoint) -> bytes | None:
            answer = self._manifest("GET", endpoint, reference)
            return None if answer.status == 404 else answer.data

        return self._first(reference, ask)

    def referrers(self, name: Reference, subject: Digest) -> Listed:
        """What refers to ``subject``: by the registry's API or, where it has none, by what clients keep under a tag."""
        entries = self._first(name, lambda endpoint: self._referrers(endpoint, name, subject))
        return Listed(tuple(entries), True) if entries is not None else self._fallback(name, subject)

    def ensure_listed(self, name: Reference, subject: Digest, entries: Sequence[Mapping[str, Any]]) -> None:
        """See to it that the registry lists manifests that are there as referrers of ``subject``.

        It does so itself where it has the API; otherwise the list is the client's to keep. Raises RegistryError.
        """
        listed = self.referrers(name, subject)
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
                there = [entry for entry in listed.entries if self._is_there(name, entry)]
                if len(there) == len(listed.entries):
                    raise
                # Some registries take no list that names what was deleted since.
                self._put_list(tag, [*there, *lacking])

    def _is_there(self, name: Reference, entry: Mapping[str, Any]) -> bool:
        try:
            return self.digest_of(name.by_digest(Digest.parse(entry.get("digest", "")))) is not None
        except ContentError:
            return False

    def _put_list(self, tag: Reference, entries: Sequence[Mapping[str, Any]]) -> None:
        document = {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": list(entries)}
        self._put(tag, json.dumps(document).encode(), oci.OCI_INDEX)

    def _put(self, reference: Reference, data: bytes, media_type: str) -> None:
        *_, endpoint = self._registries.endpoints(reference)
        path = f"/v2/{endpoint.repository}/manifests/{reference.tag}"
        scope = f"repository:{endpoint.repository}:pull,push"
        headers = {"Content-Type": media_type}
        what = f"{reference} cannot be written"
        answer = self._web.ask("PUT", _site(endpoint), path, what, scope=scope, headers=headers, body=data)
        if not answer.ok:
            raise RegistryError(f"{what}: {answer.words or f'status {answer.status}'}", Cause.UNSUPPORTED)

    def _fallback(self, name: Reference, subject: Digest) -> Listed:
        """Raises ContentError for what no registry keeps under a tag: something else has answered."""
        tag = name.by_tag(fallback_tag(subject))
        data = self.manifest(tag)
        try:
            entries = oci.load_json(data).get("manifests") if data is not None else []
        except ContentError as error:
            raise ContentError(f"{tag}: {error.message}") from error
        if not isinstance(entries, list):
            return Listed((), False, is_foreign=True)
        return Listed(tuple(entry for entry in entries if isinstance(entry, Mapping)), False)

    def _referrers(self, endpoint: Endpoint, name: Reference, subject: Digest) -> list[dict[str, Any]] | None:
        if (endpoint.host, endpoint.repository) in self._without_api:
            return None
        found: list[dict[str, Any]] = []
        path = f"/v2/{endpoint.repository}/referrers/{subject}"
        for page in range(1, MAX_PAGES + 1):
            answer = self._get(endpoint, path, f"what refers to {name.by_digest(subject)} cannot be asked", oci.OCI_INDEX)
            if answer.status in _NO_SUCH_API and page == 1:
                self._without_api.add((endpoint.host, endpoint.repository))
                return None
            try:
                entries = oci.load_json(answer.data).get("manifests") if answer.ok else None
            except ContentError:
                entries = None
            if not isinstance(entries, list) and page > 1:
                what = f"what refers to {name.by_digest(subject)} cannot be asked to the end"
                raise RegistryError(f"{what}: page {page} is no index (status {answer.status})", Cause.SERVER)
            if not isinstance(entries, list):
                # Some servers have a page for whatever is asked.
                log.debug("%s: its answer about referrers is no index (status %d)", endpoint.host, answer.status)
                return None
            found += [entry for entry in entries if isinstance(entry, dict)]
            following = _NEXT.search(answer.headers.get("link", ""))
            if following is None:
                return found
            rest = urlsplit(urljoin(path, following[1]))
            path = urlunsplit(("", "", rest.path or "/", rest.query, ""))
        raise ContentError(f"{name.by_digest(subject)}: the registry lists referrers on more than {MAX_PAGES} pages")

    def _manifest(self, method: str, endpoint: Endpoint, reference: Reference) -> Answer:
        target = reference.digest or reference.tag
        path = f"/v2/{endpoint.repository}/manifests/{quote(str(target), safe=':')}"
        digest = reference.digest if method == "GET" else None
        answer = self._get(endpoint, path, f"{reference} cannot be asked for", ACCEPT, method, digest)
        if not answer.ok and answer.status != 404:
            raise RegistryError(f"{reference} cannot be asked for: status {answer.status}", Cause.UNKNOWN)
        return answer

    def _get(
        self, endpoint: Endpoint, path: str, what: str, accept: str, method: str = "GET", digest: Digest | None = None
    ) -> Answer:
        scope = f"repository:{endpoint.repository}:pull"
        return self._web.ask(method, _site(endpoint), path, what, scope=scope, headers={"Accept": accept}, digest=digest)

    def _first(self, reference: Reference, ask: Callable[[Endpoint], _T | None]) -> _T | None:
        """What the first endpoint that has it says. Mirrors may lack or refuse it, or list nothing; the last one, the registry,
        decides."""
        *mirrors, last = self._registries.endpoints(reference)
        for endpoint in mirrors if self._mirrors else ():
            try:
                if found := ask(endpoint):
                    return found
            except (RegistryError, ContentError) as error:
                log.debug("the mirror %s: %s", endpoint.host, error)
        return ask(last)


def fallback_tag(subject: Digest) -> str:
    """Where clients of a registry without the API keep the list (distribution-spec, "Referrers Tag Schema")."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


def _site(endpoint: Endpoint) -> Site:
    return Site(endpoint.address, endpoint.host, endpoint.insecure)
