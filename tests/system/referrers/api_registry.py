"""A small registry with what neither ``docker-registry`` 2.8 nor ``serve`` has: pages of referrers, tokens, and odd answers.

Plain HTTP on 127.0.0.1, read-only for its clients; ``put`` and ``put_index`` fill it. It takes whatever it is given.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import HttpHandler, HttpServer
from tests.support.images import OCI_INDEX, Content, Image, Index
from tests.support.registry import PASSWORD, USER

IDENTITY_TOKEN = "identity-token-of-the-tests"
TOKEN = "token-of-the-tests"
REPOSITORY = "app"
"""The only one."""

Answer = tuple[int, Mapping[str, str], bytes]


class ApiRegistry:
    """``page`` is the number of referrers in one answer, 0 for all; with ``tokens``, everything needs a bearer token.

    ``answers`` replaces what is answered at a path, ``subjects`` what is listed for a subject. ``log`` holds method, path with
    query, and ``Authorization`` of each request.
    """

    def __init__(self, page: int = 0, tokens: bool = False) -> None:
        self.page, self.tokens = page, tokens
        self.answers: dict[str, Answer] = {}
        self.subjects: dict[str, list[dict[str, object]]] = {}
        self.log: list[tuple[str, str, str]] = []
        self._manifests: dict[str, Content] = {}
        self._blobs: dict[str, bytes] = {}
        self._server = _Server(_Handler)
        self._server.registry = self
        self._server.start()

    def __enter__(self) -> ApiRegistry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()

    @property
    def host(self) -> str:
        return self._server.host

    def name(self, tag: str) -> str:
        return f"{self.host}/{REPOSITORY}:{tag}"

    def put(self, image: Image, tag: str = "") -> str:
        """Serve an image; what has a ``subject`` is listed for it. Its digest."""
        for blob in (image.config, *image.layers):
            self._blobs[blob.digest] = blob.data
        return self.manifest(image.manifest, tag)

    def put_index(self, index: Index, tag: str = "") -> str:
        for each in index.images():
            self.put(each)
        return self.manifest(index.content, tag)

    def manifest(self, content: Content, tag: str = "") -> str:
        """Serve a manifest of any kind."""
        for name in filter(None, (content.digest, tag)):
            self._manifests[name] = content
        document = json.loads(content.data)
        if "subject" in document:
            entry = content.descriptor(artifactType=document.get("artifactType", ""))
            self.subjects.setdefault(document["subject"]["digest"], []).append(entry)
        return content.digest

    def asked(self, part: str) -> list[str]:
        """Paths of the requests in which ``part`` (a regex) stands."""
        return [f"{method} {path}" for method, path, _ in self.log if re.search(part, path)]

    # For the handler

    def answer(self, method: str, target: str, authorization: str, body: bytes) -> Answer:
        self.log.append((method, target, authorization))
        url = urlsplit(target)
        if url.path == "/token":
            return self._token(method, authorization, body)
        if self.tokens and authorization != f"Bearer {TOKEN}":
            realm = f'Bearer realm="http://{self.host}/token",service="tests",scope="repository:{REPOSITORY}:pull"'
            return 401, {"WWW-Authenticate": realm}, b"{}"
        if url.path in self.answers:
            return self.answers[url.path]
        kind, _, reference = url.path.removeprefix(f"/v2/{REPOSITORY}/").partition("/")
        if kind == "manifests" and (found := self._manifests.get(reference)):
            headers = {"Content-Type": found.media_type, "Docker-Content-Digest": found.digest}
            return 200, headers, found.data
        if kind == "blobs" and reference in self._blobs:
            return 200, {"Content-Type": "application/octet-stream"}, self._blobs[reference]
        if kind == "referrers":
            return self._referrers(reference, int(parse_qs(url.query).get("from", ["0"])[0]))
        return (200 if url.path == "/v2/" else 404), {}, b"{}"

    def _referrers(self, subject: str, start: int) -> Answer:
        found = self.subjects.get(subject, [])
        stop = start + self.page if self.page else len(found)
        headers = {"Content-Type": OCI_INDEX}
        if stop < len(found):
            headers["Link"] = f'</v2/{REPOSITORY}/referrers/{subject}?from={stop}>; rel="next"'
        return 200, headers, json.dumps({"schemaVersion": 2, "manifests": found[start:stop]}).encode()

    def _token(self, method: str, authorization: str, body: bytes) -> Answer:
        """The Docker token specification: with a password by GET, with an identity token by POST."""
        given = parse_qs(body.decode())
        password = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if method == "POST" and given.get("refresh_token") == [IDENTITY_TOKEN] and given["grant_type"] == ["refresh_token"]:
            return 200, {}, json.dumps({"access_token": TOKEN}).encode()
        if method == "GET" and authorization == f"Basic {password}":
            return 200, {}, json.dumps({"token": TOKEN}).encode()
        return 401, {}, json.dumps({"errors": [{"message": "who are you?"}]}).encode()


class _Server(HttpServer):
    registry: ApiRegistry


class _Handler(HttpHandler):
    server: _Server

    def _serve(self) -> None:
        body = self._body()
        authorization = self.headers.get("Authorization", "")
        status, headers, data = self.server.registry.answer(self.command, self.path, authorization, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_HEAD = do_POST = _serve


def odd(media_type: str, **fields: object) -> Content:
    """A manifest of any shape."""
    return Content(media_type, json.dumps({"schemaVersion": 2, "mediaType": media_type, **fields}).encode())
