"""A small Harbor: its API for projects over real HTTP, and before a registry the rule that images go into projects only.

Sources: Harbor's ``api/v2.0/swagger.yaml`` (``HEAD`` and ``POST /projects``, ``GET /repositories``)
and the errors that Harbor 2.9 answers with.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.http_server import HttpHandler, HttpServer

USER, PASSWORD = "robot$loader", "Secret-1:2"


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: bytes
    status: int


class Harbor:
    """At ``host``. ``projects`` are those that exist; ``upstream`` is the registry behind it, if there is to be one."""

    def __init__(self, upstream: str = "", tls: tuple[Path, Path] | None = None) -> None:
        self.upstream = upstream
        self.projects: dict[str, dict[str, Any]] = {}
        self.repositories: list[str] = []
        self.asked: list[Asked] = []
        self.failures: list[int] = []
        """Statuses to answer the next requests to the API with."""
        self.may_create = True
        self._scheme = "https" if tls else "http"
        self._server = _Server(_Handler)
        self._server.harbor = self
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.start()

    @property
    def host(self) -> str:
        return self._server.host

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.host}"

    def auth_file(self, folder: Path, password: str = PASSWORD) -> Path:
        path = folder / "harbor-auth.json"
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        path.write_text(json.dumps({"auths": {self.host: {"auth": token}}}))
        return path

    def __enter__(self) -> Harbor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()


class _Server(HttpServer):
    harbor: Harbor


class _Handler(HttpHandler):
    server: _Server

    def _handle(self) -> None:
        body = self._body()
        harbor = self.server.harbor
        if not self.path.startswith("/api/"):
            self._registry(harbor, body)
            return
        status, answer = self._api(harbor, body)
        harbor.asked.append(Asked(self.command, self.path, body, status))
        self._answer(status, json.dumps(answer).encode() if answer else b"")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _handle

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _api(self, harbor: Harbor, body: bytes) -> tuple[int, Any]:
        if harbor.failures:
            return harbor.failures.pop(0), _error("INTERNAL", "internal server error")
        if not self._is_logged_in():
            return 401, _error("UNAUTHORIZED", "unauthorized")
        place = urlsplit(self.path)
        if place.path == "/api/v2.0/repositories":
            query = parse_qs(place.query)
            start = (int(query["page"][0]) - 1) * int(query["page_size"][0])
            return 200, [{"name": name} for name in harbor.repositories[start : start + int(query["page_size"][0])]]
        if place.path != "/api/v2.0/projects":
            return 404, _error("NOT_FOUND", "nothing is here")
        if self.command == "HEAD":
            return (200 if parse_qs(place.query)["project_name"][0] in harbor.projects else 404), None
        if not harbor.may_create:
            return 403, _error("FORBIDDEN", "only system admin can create project")
        wanted = json.loads(body)
        name = wanted["project_name"]
        if name in harbor.projects:
            return 409, _error("CONFLICT", f"The project named {name} already exists")
        harbor.projects[name] = wanted
        return 201, None

    def _registry(self, harbor: Harbor, body: bytes) -> None:
        if not self._is_logged_in():
            self._answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="harbor"'})
            return
        parts = urlsplit(self.path).path.split("/")
        project = parts[2] if len(parts) > 3 else ""
        if project and project not in harbor.projects:
            self._answer(404, json.dumps(_error("NOT_FOUND", f"project {project} not found")).encode())
            return
        connection = http.client.HTTPConnection(harbor.upstream, timeout=20)
        names = [name for name in ("Accept", "Content-Type", "Content-Range", "Range") if name in self.headers]
        headers = {name: ", ".join(self.headers.get_all(name, [])) for name in names}
        connection.request(self.command, self.path, body or None, headers)
        response = connection.getresponse()
        content = response.read()
        kept = ("content-type", "location", "docker-content-digest", "docker-upload-uuid", "range", "content-range")
        answer = {k: v.replace(f"http://{harbor.upstream}", harbor.url) for k, v in response.getheaders() if k.lower() in kept}
        if self.command == "HEAD" and (length := response.getheader("Content-Length")):
            answer["Content-Length"] = length
        connection.close()
        self._answer(response.status, content, answer)

    def _is_logged_in(self) -> bool:
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {token}"

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}) and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _error(code: str, message: str) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": message}]}
