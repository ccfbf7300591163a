"""A registry that serves whatever it is told, without looking at it: what no real one would take."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.support.images import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ENDLESS = 1 << 40
"""Bytes: a body of nothing but zeros, until the client goes away."""


class HostileRegistry:
    """``put`` and ``tag`` say what is served; ``paths`` is what was asked for."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str, bytes | int]] = {}
        self.paths: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.registry = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> HostileRegistry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

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


class _Server(ThreadingHTTPServer):
    registry: HostileRegistry
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        self.server.registry.paths.append(self.path)
        nothing = (200 if self.path == "/v2/" else 404, "text/plain", b"")
        status, kind, body = self.server.registry.answers.get(self.path, nothing)
        size = body if isinstance(body, int) else len(body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for piece in _zeros(body) if isinstance(body, int) else [body]:
            self.wfile.write(piece)

    do_HEAD = do_GET


def _zeros(size: int) -> Iterator[bytes]:
    for _ in range(size // 65536):
        yield bytes(65536)
