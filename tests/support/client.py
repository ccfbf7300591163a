"""A small client of the distribution API, for what tests do to a registry themselves: push, read back, delete.

It speaks under its own user agent (``AGENT``), so that its requests can be told from those of the program under test.
A client holds one connection; close it, or use it as a context manager.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

AGENT = "image-tools-tests"
"""User agent of every request that the tests make themselves."""
ACCEPT = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ]
)
TIMEOUT = 20.0
"""Seconds that any one request may take."""


@dataclass(frozen=True)
class Response:
    """A whole response; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RegistryClient:
    """One connection to ``host`` (``127.0.0.1:PORT``); over TLS with a context, with basic auth with a login."""

    def __init__(
        self, host: str, context: ssl.SSLContext | None = None, login: tuple[str, str] | None = None, agent: str = AGENT
    ) -> None:
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, timeout=TIMEOUT, context=context)
            if context
            else http.client.HTTPConnection(host, timeout=TIMEOUT)
        )
        self._headers = {"User-Agent": agent}
        if login:
            self._headers["Authorization"] = basic(*login)
        self._pushed: set[tuple[str, str]] = set()

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Response:
        """Send one request and read its response whole, whatever its status."""
        self._connection.request(method, path, body=body, headers={**self._headers, **(headers or {})})
        response = self._connection.getresponse()
        data = response.read()
        return Response(response.status, {k.lower(): v for k, v in response.getheaders()}, data)

    def put_blob(self, repository: str, data: bytes) -> str:
        """Upload a blob, once for each client and repository, and return its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if (repository, digest) not in self._pushed:
            opened = _expect(202, self.request("POST", f"/v2/{repository}/blobs/uploads/", b""))
            place = urlsplit(opened.headers["location"])
            query = f"{place.query}&digest={digest}" if place.query else f"digest={digest}"
            octets = {"Content-Type": "application/octet-stream"}
            _expect(201, self.request("PUT", f"{place.path}?{query}", data, octets))
            self._pushed.add((repository, digest))
        return digest

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> str:
        """Upload a manifest under a tag or its digest, and return the digest that the registry gave it."""
        answer = self.request("PUT", f"/v2/{repository}/manifests/{reference}", data, {"Content-Type": media_type})
        return _expect(201, answer).headers["docker-content-digest"]

    def manifest(self, repository: str, reference: str) -> Response:
        """Read a manifest of any kind; the caller looks at the status."""
        return self.request("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": ACCEPT})

    def blob(self, repository: str, digest: str) -> Response:
        """Read a blob; the caller looks at the status."""
        return self.request("GET", f"/v2/{repository}/blobs/{digest}")

    def delete(self, repository: str, kind: str, digest: str) -> None:
        """Delete a manifest (``kind`` "manifests") or a repository's link to a blob ("blobs"), by digest."""
        _expect(202, self.request("DELETE", f"/v2/{repository}/{kind}/{digest}"))


def basic(user: str, password: str) -> str:
    """The value of an ``Authorization`` header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _expect(status: int, response: Response) -> Response:
    if response.status != status:
        raise AssertionError(f"the registry answered {response.status}, not {status}: {response.body[:500]!r}")
    return response
