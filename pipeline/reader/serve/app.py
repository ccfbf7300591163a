"""The registry as a WSGI application: requests in, responses out; it knows no sockets."""

from __future__ import annotations

import hmac
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from pipeline.core import oci, reference
from pipeline.core.errors import ContentError, ImageToolsError
from pipeline.core.log import log
from pipeline.core.oci import MAX_MANIFEST_SIZE, OCI_INDEX, Descriptor, Digest, Index, Manifest, parse, walk
from pipeline.reader.serve.source import Source

SLICE = 64 * 1024
"""Bytes sent at once: after each partial send, the server copies what is left."""

LogRequest = Callable[[str, str, int], None]
"""Called after each request, from its thread, with method, path and status."""


@dataclass
class _Repository:
    images: list[Descriptor] = field(default_factory=list)
    tags: dict[str, Descriptor] = field(default_factory=dict)


class _Problem(Exception):
    """Ends a request with an error as the spec words it."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class RegistryApp:
    """The registry as a WSGI application."""

    _routes = Map(
        [
            Rule("/v2/", endpoint="_base"),
            Rule("/v2/_catalog", endpoint="_catalog"),
            Rule("/v2/<path:name>/tags/list", endpoint="_tags"),
            Rule("/v2/<path:name>/manifests/<target>", endpoint="_manifest"),
            Rule("/v2/<path:name>/blobs/<target>", endpoint="_blob"),
            Rule("/v2/<path:name>/referrers/<target>", endpoint="_referrers"),
        ],
        strict_slashes=False,
        merge_slashes=False,
    )

    def __init__(self, source: Source, on_request: LogRequest | None = None, login: tuple[str, str] | None = None) -> None:
        self._source = source
        self._login = login
        self._on_request = on_request
        self._repositories = _by_name(source.images)
        self._referrers_known: dict[str, dict[Digest, list[dict[str, Any]]]] = {}
        self._referrers_lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        try:
            response = self._answer(request)
        except _Problem as problem:
            response = _error_response(problem)
        except ImageToolsError as error:
            response = _error_response(_Problem(500, "UNKNOWN", str(error)))
        except Exception as error:
            log.error("%s %s: this should not happen: %r", request.method, request.path, error)
            log.debug("%s", error, exc_info=True)
            response = _error_response(_Problem(500, "UNKNOWN", f"internal error: {type(error).__name__}"))
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        if self._on_request is not None:
            self._on_request(request.method, request.path, response.status_code)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if self._login is not None and not _knows(request, self._login):
            # RFC 7617; skopeo, docker and containerd answer it with what they hold for this host.
            raise _Problem(401, "UNAUTHORIZED", "log in first", **{"WWW-Authenticate": 'Basic realm="image-tools"'})
        if request.method not in ("GET", "HEAD"):
            raise _Problem(405, "UNSUPPORTED", "this registry is read-only", Allow="GET, HEAD")
        try:
            endpoint, arguments = self._routes.bind_to_environ(request.environ).match()
        except HTTPException:
            raise _Problem(404, "UNSUPPORTED", f"nothing is at {request.path}") from None
        answer: Response = getattr(self, endpoint)(request, **arguments)
        return answer

    def _base(self, request: Request) -> Response:
        return _json_response({})

    def _catalog(self, request: Request) -> Response:
        # A registry with a port is in no name that a client could ask for.
        names, headers = _page(request, sorted(name for name in self._repositories if ":" not in name))
        return _json_response({"repositories": names}, headers)

    def _tags(self, request: Request, name: str) -> Response:
        tags, headers = _page(request, sorted(self._repository(request, name).tags))
        return _json_response({"name": name, "tags": tags}, headers)

    def _manifest(self, request: Request, name: str, target: str) -> Response:
        repository = self._repository(request, name)
        tagged = repository.tags.get(target)
        digest = _digest(target) if ":" in target else tagged.digest if tagged else None
        data = self._read_manifest(digest) if digest else None
        if digest is None or data is None:
            raise _Problem(404, "MANIFEST_UNKNOWN", f"{name} has no manifest {target}")
        try:
            media_type = parse(data).media_type
        except ContentError as error:
            raise _Problem(404, "MANIFEST_UNKNOWN", f"{target} is not a manifest: {error}") from None
        return self._content(request, digest, len(data), media_type)

    def _blob(self, request: Request, name: str, target: str) -> Response:
        self._repository(request, name)
        digest = _digest(target)
        size = self._source.size(digest)
        if size is None:
            why = self._source.why_not(digest)
            raise _Problem(404, "BLOB_UNKNOWN", f"{name} has no blob {digest}" + (f": {why}" if why else ""))
        return self._content(request, digest, size, "application/octet-stream")

    def _referrers(self, request: Request, name: str, target: str) -> Response:
        found = self._referrers_in(name, self._repository(request, name)).get(_digest(target), [])
        headers = {}
        if artifact_type := request.args.get("artifactType"):
            found = [descriptor for descriptor in found if descriptor.get("artifactType") == artifact_type]
            headers["OCI-Filters-Applied"] = "artifactType"
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        return _json_response(document, headers, OCI_INDEX)

    def _repository(self, request: Request, name: str) -> _Repository:
        # Who takes us for the mirror of a registry wants that registry's image, and no other of the same name.
        registry = request.args.get("ns", "")
        found = self._repositories.get(f"{registry}/{name}" if registry else name)
        if found is None:
            raise _Problem(404, "NAME_UNKNOWN", f"there is no repository {name}")
        return found

    def _read_manifest(self, digest: Digest) -> bytes | None:
        """None where it is not here, or is too large to be one. Its bytes were checked when this returns."""
        size = self._source.size(digest)
        if size is None or size > MAX_MANIFEST_SIZE:
            return None
        data = b"".join(self._source.open_blob(digest))
        if Digest.of(data, digest.algorithm) != digest:
            raise _Problem(500, "UNKNOWN", f"{digest} is damaged")
        return data

    def _content(self, request: Request, digest: Digest, size: int, media_type: str) -> Response:
        """The blob, the range of it that was asked for, or word that the client has it (RFC 9110, 13 and 14)."""
        response = Response(content_type=media_type)
        response.set_etag(str(digest))
        response.headers["Docker-Content-Digest"] = str(digest)
        response.headers["Accept-Ranges"] = "bytes"
        response.make_conditional(request)
        if response.status_code != 200:
            return response
        start, stop = 0, size
        if wanted := _range(request, digest, size):
            start, stop = wanted
            response.status_code = 206
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        response.content_length = stop - start
        if request.method == "GET":
            response.response = _sliced(self._source.open_blob(digest, start, stop - start), stop - start)
        return response

    def _referrers_in(self, name: str, repository: _Repository) -> dict[Digest, list[dict[str, Any]]]:
        # Found when first asked for: it means to read every manifest of the repository.
        with self._referrers_lock:
            if name not in self._referrers_known:
                self._referrers_known[name] = self._find_referrers(repository)
            return self._referrers_known[name]

    def _find_referrers(self, repository: _Repository) -> dict[Digest, list[dict[str, Any]]]:
        found: dict[Digest, list[dict[str, Any]]] = {}
        for digest, (data, manifest) in self._manifests(repository).items():
            if manifest.subject is not None:
                found.setdefault(manifest.subject.digest, []).append(oci.referrer_entry(digest, data))
        return found

    def _manifests(self, repository: _Repository) -> dict[Digest, tuple[bytes, Manifest | Index]]:
        """Every manifest and index that the repository's images lead to and that is here, with its bytes."""
        found: dict[Digest, tuple[bytes, Manifest | Index]] = {}

        def read(descriptor: Descriptor) -> Manifest | Index | None:
            """None for what is not here, is something else, or was followed from another image."""
            data = None if descriptor.digest in found else self._read_manifest(descriptor.digest)
            with suppress(ContentError):
                document = parse(data) if data is not None else None
                if data is not None and isinstance(document, Index | Manifest):
                    found[descriptor.digest] = data, document
                    return document
            return None

        for image in repository.images:
            with suppress(ContentError):  # what is nested too deep is served all the same
                for _ in walk.walk(image, read):
                    pass
        return found


def _by_name(images: Iterable[tuple[str, Descriptor]]) -> dict[str, _Repository]:
    repositories: dict[str, _Repository] = {}
    for text, descriptor in images:
        name = reference.parse(text)
        for key in (name.name, name.repository):
            repository = repositories.setdefault(key, _Repository())
            repository.images.append(descriptor)
            if name.tag:
                repository.tags.setdefault(name.tag, descriptor)
    return repositories


def _knows(request: Request, login: tuple[str, str]) -> bool:
    given = request.authorization
    if given is None or given.type != "basic":
        return False
    # Both are compared, in the same time whatever is wrong with them.
    user, password = (
        hmac.compare_digest((mine or "").encode(), theirs.encode())
        for mine, theirs in zip((given.username, given.password), login, strict=True)
    )
    return user and password


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except ContentError as error:
        raise _Problem(400, "DIGEST_INVALID", str(error)) from None


def _range(request: Request, digest: Digest, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last, of a request for one range; None where the whole is to be sent."""
    wanted = request.range
    if request.method != "GET" or wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return None
    condition = request.if_range
    if (condition.etag or condition.date) and condition.etag != str(digest):
        return None
    found = wanted.range_for_length(size)
    if found is None:
        headers = {"Content-Range": f"bytes */{size}"}
        raise _Problem(416, "SIZE_INVALID", f"{digest} has {size} bytes", **headers)
    return found


def _sliced(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    for piece in pieces:
        length -= len(piece)
        for start in range(0, len(piece), SLICE):
            yield piece[start : start + SLICE]
    if length:
        # Nothing but a broken connection tells the client now.
        raise ContentError("a blob is not as long as it was")


def _page(request: Request, names: list[str]) -> tuple[list[str], dict[str, str]]:
    """What ``n`` and ``last`` ask for, and the link to the rest (spec, "Listing Tags")."""
    last = request.args.get("last")
    if last is not None:
        names = [name for name in names if name > last]
    number = request.args.get("n")
    if number is None:
        return names, {}
    if not re.fullmatch("[0-9]{1,9}", number):
        raise _Problem(400, "PAGINATION_NUMBER_INVALID", "n is not a number of at most nine digits")
    page = names[: int(number)]
    if not page or len(page) == len(names):
        return page, {}
    return page, {"Link": f'<{quote(request.path)}?n={number}&last={quote(page[-1])}>; rel="next"'}


def _json_response(document: Any, headers: dict[str, str] | None = None, media_type: str = "application/json") -> Response:
    return Response(json.dumps(document), headers=headers, content_type=media_type)


def _error_response(problem: _Problem) -> Response:
    response = _json_response({"errors": [{"code": problem.code, "message": str(problem)}]}, problem.headers)
    response.status_code = problem.status
    return response
