"""Manifests of a registry: which one a tag names, its bytes, and putting one there.

Guarantees: HEAD and GET ask for the same media types, at the same mirror; bytes are checked against the digest that asked for
them; bytes are believed, headers are not: a registry whose HEAD says something else than its GET gives, or does not answer, is
asked by GET from then on (``heads_lie``).

Source: distribution-spec 1.1, "Pulling manifests", "Pushing Manifests".
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from pipeline.core import oci
from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.log import log
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.registry.http.message import Answer
from pipeline.registry.registries_conf import Endpoint
from pipeline.registry.retry import WrongBytes
from pipeline.registry.routes import Routes, scope, site
from pipeline.registry.session import Session

ACCEPT = ", ".join((oci.OCI_INDEX, oci.OCI_MANIFEST, oci.DOCKER_LIST, oci.DOCKER_MANIFEST, oci.ORAS_MANIFEST, "*/*;q=0.1"))
"""Of HEAD and GET alike: docker-registry gives one tag three digests, by what is accepted."""
_NOT_ANSWERED = (404, 405, 501)
"""What registries say to a HEAD that they do not know."""


@dataclass(frozen=True, kw_only=True)
class ManifestHead:
    """What a registry says of a manifest without giving it."""

    digest: Digest | None
    """None where the registry names none."""
    media_type: str
    size: int | None


class Manifests:
    """Of all registries in one run. Thread-safe."""

    def __init__(self, session: Session, routes: Routes) -> None:
        self.heads_lie: set[str] = set()
        """Registries (``host`` or ``host:port``) whose HEAD is not to be believed. The caller may fill and keep it."""
        self._session = session
        self._routes = routes
        self._lock = threading.Lock()
        self._heads_answered: set[str] = set()
        """Registries that answered a HEAD for something that is there."""
        self._present: dict[str, tuple[Endpoint, Reference]] = {}
        """By registry: what a GET gave."""
        self._headed: dict[tuple[str, Reference], Digest] = {}
        """What a HEAD named, to compare with the bytes."""
        self._fetched: dict[tuple[str, Reference], bytes] = {}
        """What ``head`` had to GET, for the next GET."""

    def head(self, reference: Reference) -> ManifestHead | None:
        """What a tag names; None where there is no such tag. Asks by GET where HEAD is not answered or not true."""
        return self._routes.first(reference, lambda endpoint: self._head(endpoint, reference))

    def get(self, reference: Reference) -> bytes | None:
        """The bytes of a manifest, checked where the reference has a digest. None where there is none."""
        return self._routes.first(reference, lambda endpoint: self._get(endpoint, reference))

    def put(self, reference: Reference, data: bytes, media_type: str) -> None:
        """Put a manifest under its tag, or its digest. Raises RegistryError, also where the registry stores other bytes."""
        endpoint = self._routes.home(reference)
        what = f"{reference} cannot be written"
        answer = self._session.ask(
            *("PUT", site(endpoint), _path(endpoint, reference), what),
            scope=scope(endpoint, "pull,push"),
            headers={"Content-Type": media_type},
            body=data,
        )
        if not answer.ok:
            cause = Cause.NOT_FOUND if answer.status == 404 else Cause.UNSUPPORTED
            raise RegistryError(f"{what}: {answer.words or f'status {answer.status}'}", cause)
        named = _named_digest(answer.headers)
        if named is not None and not _has(data, named):
            raise RegistryError(
                f"{what}: the registry stored {named} instead of {_digest(data, named.algorithm)}", Cause.UNSUPPORTED
            )

    def _head(self, endpoint: Endpoint, reference: Reference) -> ManifestHead | None:
        if endpoint.host in self.heads_lie:
            return self._head_by_get(endpoint, reference)
        answer = self._ask("HEAD", endpoint, reference)
        if answer.ok:
            digest = reference.digest or _named_digest(answer.headers)
            if digest is None:
                self._distrust(endpoint, "names no digest")
                return self._head_by_get(endpoint, reference)
            with self._lock:
                self._heads_answered.add(endpoint.host)
                self._headed[endpoint.host, reference] = digest
            return _described(digest, answer.headers)
        if answer.status not in _NOT_ANSWERED:
            raise _refused(reference, answer)
        if answer.status == 404 and self._answers_heads(endpoint):
            return None
        found = self._head_by_get(endpoint, reference)
        if found is not None:
            self._distrust(endpoint, f"is answered with {answer.status} for what is there")
        return found

    def _answers_heads(self, endpoint: Endpoint) -> bool:
        """Whether a 404 to a HEAD means that there is nothing: known once a HEAD found what is there."""
        known = self._present.get(endpoint.host)
        if endpoint.host not in self._heads_answered and known is not None:
            answer = self._ask("HEAD", *known)
            if answer.ok:
                self._heads_answered.add(endpoint.host)
            elif answer.status in _NOT_ANSWERED:
                self._distrust(endpoint, f"is answered with {answer.status} for what is there")
        return endpoint.host in self._heads_answered

    def _head_by_get(self, endpoint: Endpoint, reference: Reference) -> ManifestHead | None:
        answer = self._get_answer(endpoint, reference)
        if answer is None:
            return None
        with self._lock:
            self._fetched[endpoint.host, reference] = answer.data
        return _described(_digest(answer.data, reference.digest.algorithm if reference.digest else "sha256"), answer.headers)

    def _get(self, endpoint: Endpoint, reference: Reference) -> bytes | None:
        with self._lock:
            fetched = self._fetched.pop((endpoint.host, reference), None)
        if fetched is not None:
            return fetched
        answer = self._get_answer(endpoint, reference)
        return None if answer is None else answer.data

    def _get_answer(self, endpoint: Endpoint, reference: Reference) -> Answer | None:
        what = f"{reference} cannot be asked for"
        before: list[bytes] = []

        def attempt() -> Answer:
            answer = self._ask_once("GET", endpoint, reference, what)
            expected = reference.digest or _named_digest(answer.headers)
            if answer.ok and expected is not None and not _has(answer.data, expected):
                if reference.digest or answer.data not in before:
                    before.append(answer.data)
                    raise WrongBytes(f"{what}: the bytes that came are not those of {expected}")
                # The same bytes twice, and only a header that says something else.
                self._distrust(endpoint, "names another digest than the bytes have")
            return answer

        answer = self._session.attempts.until_it_works(endpoint.host, what, attempt)
        if answer.status == 404:
            return None
        if not answer.ok:
            raise _refused(reference, answer)
        with self._lock:
            self._present[endpoint.host] = (endpoint, reference)
            headed = self._headed.pop((endpoint.host, reference), None)
        if headed is not None and not reference.digest and not _has(answer.data, headed):
            self._ask_twice(endpoint, reference, answer)
        return answer

    def _ask_twice(self, endpoint: Endpoint, reference: Reference, got: Answer) -> None:
        """HEAD and GET disagree: the tag has moved between the two, or HEAD does not tell the truth."""
        named = _named_digest(self._ask("HEAD", endpoint, reference).headers)
        if named is None or not _has(got.data, named):
            self._distrust(endpoint, "names another digest than the bytes have")

    def _distrust(self, endpoint: Endpoint, why: str) -> None:
        with self._lock:
            is_new = endpoint.host not in self.heads_lie
            self.heads_lie.add(endpoint.host)
        if is_new:
            log.warning("%s: HEAD of a manifest %s; it is asked by GET from now on", endpoint.host, why)

    def _ask(self, method: str, endpoint: Endpoint, reference: Reference) -> Answer:
        what = f"{reference} cannot be asked for"
        attempts = self._session.attempts
        return attempts.until_it_works(endpoint.host, what, lambda: self._ask_once(method, endpoint, reference, what))

    def _ask_once(self, method: str, endpoint: Endpoint, reference: Reference, what: str) -> Answer:
        path, headers = _path(endpoint, reference), {"Accept": ACCEPT}
        answer = self._session.ask_once(method, site(endpoint), path, what, scope=scope(endpoint), headers=headers)
        if self._session.quota is not None:
            self._session.quota.saw(endpoint.host, answer.headers, answer.status, answer.words)
        return answer


def _path(endpoint: Endpoint, reference: Reference) -> str:
    target = reference.digest or reference.tag
    return f"/v2/{endpoint.repository}/manifests/{quote(str(target), safe=':')}"


def _refused(reference: Reference, answer: Answer) -> RegistryError:
    said = answer.words or f"status {answer.status}"
    return RegistryError(f"{reference} cannot be asked for: {said}", Cause.UNSUPPORTED)


def _described(digest: Digest, headers: Mapping[str, str]) -> ManifestHead:
    size = headers.get("content-length", "")
    is_size = size.isascii() and size.isdecimal() and len(size) < 19
    media_type = headers.get("content-type", "").partition(";")[0].strip()
    return ManifestHead(digest=digest, media_type=media_type, size=int(size) if is_size else None)


def _named_digest(headers: Mapping[str, str]) -> Digest | None:
    with suppress(ContentError):
        return Digest.parse(headers.get("docker-content-digest", ""))
    return None


def _has(data: bytes, digest: Digest) -> bool:
    """Whether a manifest has the digest; it is only parsed where its bytes have another."""
    return Digest.of(data, digest.algorithm) == digest or _digest(data, digest.algorithm) == digest


def _digest(data: bytes, algorithm: str) -> Digest:
    """Of a signed schema 1 manifest, that of its payload."""
    with suppress(ContentError):
        document = oci.parse(data)
        if isinstance(document, oci.Schema1):
            return document.digest
    return Digest.of(data, algorithm)
