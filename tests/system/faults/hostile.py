"""A registry that serves whatever it is told, without looking at it: what no real one would take."""

from __future__ import annotations

import hashlib
import json
import time
from types import TracebackType
from typing import Any, NamedTuple

from tests.support.http_server import HttpHandler, HttpServer
from tests.support.images import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MOST = 48 << 20
"""Bytes after which even an endless body ends: a test must not fill the disk that it is about."""


class Endless(NamedTuple):
    """A body of nothing but zeros, until the client goes away. ``stated`` is what its head says, None for nothing."""

    stated: int | None


class HostileRegistry:
    """``put`` and ``tag`` say what is served; ``paths`` is what was asked for."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str, bytes | Endless]] = {}
        self.paths: list[str] = []
        self.sent = 0
        """Bytes of endless bodies."""
        self._server = _Server(_Handler)
        self._server.registry = self
        self._server.start()

    def __enter__(self) -> HostileRegistry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()

    @property
    def host(self) -> str:
        return self._server.host

    def blob(self, data: bytes, media_type: str = OCI_LAYER, **more: Any) -> dict[str, Any]:
        """Serve a blob; its descriptor."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.answers[f"/v2/app/blobs/{digest}"] = (200, "application/octet-stream", data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def manifest(self, document: Any, media_type: str = OCI_MANIFEST, name: str = "", **more: Any) -> dict[str, Any]:
        """Serve a manifest by its digest, and as the tag ``name``; its descriptor."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        for reference in filter(None, (digest, name)):
            self.answers[f"/v2/app/manifests/{reference}"] = (200, media_type, data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def image(self, *layers: dict[str, Any], config: Any = None, name: str = "", **more: Any) -> dict[str, Any]:
        """An image, right in all that is not given; its descriptor."""
        content = config if config is not None else {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers"}}
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.blob(data, OCI_CONFIG),
            "layers": list(layers),
        }
        return self.manifest(document, OCI_MANIFEST, name, **more)

    def index(self, *entries: dict[str, Any], name: str = "", **more: Any) -> dict[str, Any]:
        return self.manifest({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries), **more}, OCI_INDEX, name)

    def refuse(self, path: str, status: int, body: bytes) -> None:
        self.answers[path] = (status, "application/json", body)


class _Server(HttpServer):
    registry: HostileRegistry


class _Handler(HttpHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.registry.paths.append(self.path)
        nothing = (200 if self.path == "/v2/" else 404, "text/plain", b"")
        status, kind, body = self.server.registry.answers.get(self.path, nothing)
        size = body.stated if isinstance(body, Endless) else len(body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header(*(("Connection", "close") if size is None else ("Content-Length", str(size))))
        self.end_headers()
        if isinstance(body, bytes):
            self.wfile.write(body)
        else:
            self._send_zeros()

    do_HEAD = do_GET
    """With a body, too, which no answer to HEAD may have."""

    def _send_zeros(self) -> None:
        """At 64 MB/s at the most, so that what is sent tells how soon the client went away."""
        self.close_connection = True
        for _ in range(MOST >> 16):
            self.wfile.write(bytes(1 << 16))
            self.server.registry.sent += 1 << 16
            time.sleep(0.001)
