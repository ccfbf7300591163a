"""Blobs of a registry: streamed, proved to be there, mounted, pushed.

Guarantees: ``open`` asks the registry anew and makes one attempt; who calls repeats it, through ``Attempts``; nothing is
decoded; memory does not grow with the size of a blob.

Source: distribution-spec 1.1, "Pulling blobs", "Pushing blobs"; RFC 9110, section 14 (ranges).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlencode

from pipeline.core.errors import Cause, RegistryError
from pipeline.core.files import CHUNK
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.registry.http.client import UPLOAD_TIME, Response
from pipeline.registry.http.message import Answer, Upload
from pipeline.registry.registries_conf import Endpoint
from pipeline.registry.retry import WrongBytes
from pipeline.registry.routes import Routes, scope, site
from pipeline.registry.session import Session

_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/(?:([0-9]{1,18})|\*)")


class WrongRange(RegistryError):
    """A registry gives other bytes of a blob than those asked for."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Cause.NETWORK)


class BlobStream:
    """One answer to a blob GET."""

    def __init__(self, response: Response, offset: int, total: int | None) -> None:
        self._response = response
        self.offset = offset
        """Where the body begins in the blob: what was asked for, or 0 where the registry ignores ranges."""
        self.length = response.length
        """Bytes of the body, None where that is not stated. 0 where the blob ends at or before what was asked for (416)."""
        self.total = total
        """The blob's size, as the registry states it, or None."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer``, or what comes within a moment; 0 at the end. Raises RegistryError where the body breaks off."""
        return 0 if self.length == 0 else self._response.readinto(buffer)


class Blobs:
    """Of all registries in one run. Thread-safe."""

    def __init__(self, session: Session, routes: Routes) -> None:
        self._session = session
        self._routes = routes

    @contextmanager
    def open(self, repository: Reference, digest: Digest, offset: int = 0) -> Iterator[BlobStream]:
        """The blob from ``offset`` on. Raises RegistryError: NOT_FOUND, UNAUTHORIZED, ...; WrongRange."""
        reference = repository.by_digest(digest)
        response = self._routes.first(reference, lambda endpoint: self._get(endpoint, reference, digest, offset))
        assert response is not None, "the last endpoint gives it or raises"
        with response:
            yield _stream(response, reference, offset)

    def small(self, repository: Reference, digest: Digest) -> bytes:
        """A blob no larger than a manifest may be, a config say, whole and checked. Raises RegistryError, ContentError."""
        reference = repository.by_digest(digest)

        def attempt() -> bytes:
            response = self._routes.first(reference, lambda endpoint: self._get(endpoint, reference, digest, 0))
            assert response is not None, "the last endpoint gives it or raises"
            with response:
                data = response.read().data
            if Digest.of(data, digest.algorithm) != digest:
                raise WrongBytes(f"{reference}: the bytes that came do not match")
            return data

        return self._session.attempts.until_it_works(repository.registry, reference, attempt)

    def has(self, repository: Reference, digest: Digest, size: int) -> bool:
        """Whether the registry can give the blob: proved by its last byte, as some claim to have what they lost."""
        reference = repository.by_digest(digest)
        endpoint = self._routes.home(reference)
        last = max(0, size - 1)

        def attempt() -> bool:
            try:
                with self._get(endpoint, reference, digest, last, last) as response:
                    stream = _stream(response, reference, last)
                    return stream.total in (None, size) and _gives_a_byte(stream) == (size > 0)
            except WrongRange:
                return False
            except RegistryError as error:
                if error.cause is Cause.NOT_FOUND:
                    return False
                raise

        return self._session.attempts.until_it_works(endpoint.host, reference, attempt)

    def mount(self, repository: Reference, digest: Digest, source: Reference) -> bool:
        """Take the blob over from another repository of the registry. False where the registry does not do that."""
        endpoint = self._routes.home(repository)
        query = urlencode({"mount": str(digest), "from": self._routes.home(source).repository})
        wanted = f"{scope(endpoint, 'pull,push')} {scope(self._routes.home(source))}"
        what = f"{repository.by_digest(digest)} cannot be mounted"
        path = f"/v2/{endpoint.repository}/blobs/uploads/?{query}"
        answer = self._session.ask("POST", site(endpoint), path, what, scope=wanted, body=b"")
        if answer.status == 202 and (place := answer.headers.get("location")):
            self._session.ask("DELETE", site(endpoint), place, what, scope=scope(endpoint, "pull,push"))
        return answer.status == 201

    def copy(self, repository: Reference, digest: Digest, size: int, source: Reference) -> None:
        """Bring a blob over from another repository of the registry: mounted or, where that is refused, streamed through here
        into the upload that the registry opened instead. Raises RegistryError.
        """
        endpoint = self._routes.home(repository)
        query = urlencode({"mount": str(digest), "from": self._routes.home(source).repository})
        wanted = f"{scope(endpoint, 'pull,push')} {scope(self._routes.home(source))}"
        what = f"{repository.by_digest(digest)} cannot be written"
        path = f"/v2/{endpoint.repository}/blobs/uploads/?{query}"

        def pieces() -> Iterator[bytes]:
            with self.open(source, digest) as stream:
                yield from _verified(stream, digest)

        def attempt() -> None:
            answer = self._session.ask_once("POST", site(endpoint), path, what, scope=wanted, body=b"")
            if answer.status == 202:
                self._fill(endpoint, answer, digest, what, Upload(size, pieces))
            elif answer.status != 201:  # it knows no mounts
                self.push(repository, digest, size, pieces)

        self._session.attempts.until_it_works(endpoint.host, repository.by_digest(digest), attempt)

    def push(self, repository: Reference, digest: Digest, size: int, pieces: Callable[[], Iterator[bytes]]) -> None:
        """Upload a blob in one piece, streamed."""
        endpoint = self._routes.home(repository)
        reference = repository.by_digest(digest)
        what = f"{reference} cannot be written"
        wanted = scope(endpoint, "pull,push")

        def attempt() -> None:
            path = f"/v2/{endpoint.repository}/blobs/uploads/"
            begun = self._session.ask_once("POST", site(endpoint), path, what, scope=wanted, body=b"")
            self._fill(endpoint, begun, digest, what, Upload(size, pieces))

        self._session.attempts.until_it_works(endpoint.host, reference, attempt)

    def _fill(self, endpoint: Endpoint, begun: Answer, digest: Digest, what: str, upload: Upload) -> None:
        """Send a blob to the upload that the answer ``begun`` opened."""
        place = begun.headers.get("location", "")
        if begun.status != 202 or not place:
            raise _refused(what, begun.words, begun.status)
        place += f"{'&' if '?' in place else '?'}{urlencode({'digest': str(digest)})}"
        headers = {"Content-Type": "application/octet-stream"}
        wanted = scope(endpoint, "pull,push")
        try:
            with self._session.open(
                *("PUT", site(endpoint), place, what), scope=wanted, headers=headers, body=upload, first_byte=UPLOAD_TIME
            ) as response:
                answer = response.read()
        except (RegistryError, WrongBytes):
            with suppress(RegistryError):  # no upload stays open
                self._session.ask_once("DELETE", site(endpoint), begun.headers["location"], what, scope=wanted)
            raise
        if answer.status != 201:
            raise _refused(what, answer.words, answer.status)

    def _get(self, endpoint: Endpoint, reference: Reference, digest: Digest, offset: int, last: int | None = None) -> Response:
        what = f"{reference} cannot be fetched"
        headers = {"Range": f"bytes={offset}-{'' if last is None else last}"} if offset or last is not None else {}
        path = f"/v2/{endpoint.repository}/blobs/{digest}"
        response = self._session.open("GET", site(endpoint), path, what, scope=scope(endpoint), headers=headers)
        if response.status in (200, 206, 416):
            return response
        with response:
            answer = response.read()
        if answer.status in (404, 410):
            raise RegistryError(f"{what}: {Cause.NOT_FOUND.value} ({answer.words or answer.status})", Cause.NOT_FOUND)
        raise _refused(what, answer.words, answer.status)


def _verified(stream: BlobStream, digest: Digest) -> Iterator[bytes]:
    """The whole body, of which the last piece is given only when all of it has the digest. Raises WrongBytes."""
    hasher, buffer, last = hashlib.new(digest.algorithm), memoryview(bytearray(CHUNK)), b""
    while count := stream.readinto(buffer):
        if last:
            yield last
        last = bytes(buffer[:count])
        hasher.update(last)
    if hasher.hexdigest() != digest.hex:
        raise WrongBytes(f"{digest}: the bytes that came do not match")
    yield last


def _gives_a_byte(stream: BlobStream) -> bool:
    try:
        return stream.readinto(memoryview(bytearray(1))) > 0
    except RegistryError:  # what the head of the answer promised does not come
        return False


def _stream(response: Response, reference: Reference, offset: int) -> BlobStream:
    if response.status == 200:
        return BlobStream(response, 0, response.length)
    match = _RANGE.fullmatch(response.headers.get("content-range", ""))
    total = int(match[3]) if match and match[3] else None
    if response.status == 416:
        stream = BlobStream(response, offset, total)
        stream.length = 0
        return stream
    first, last = (int(match[1]), int(match[2])) if match and match[1] else (-1, -1)
    is_whole = response.length is None or response.length == last - first + 1
    if first != offset or not is_whole or (total is not None and last >= total):
        said = ascii(response.headers.get("content-range", "")[:80])
        raise WrongRange(f"{reference} cannot be fetched: bytes from {offset} on were asked for, {said} came")
    return BlobStream(response, offset, total)


def _refused(what: str, words: str, status: int) -> RegistryError:
    return RegistryError(f"{what}: {words or f'status {status}'}", Cause.UNSUPPORTED)
