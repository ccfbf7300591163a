"""Debian's ``docker-registry`` (distribution 2.8) as a fixture: plain, with TLS, with a login, on a free loopback port.

A registry keeps its storage, its configuration and its logs in one folder that the caller gives. Deleting is enabled,
schema 1 is accepted, foreign layers may have any URL. The access log is read back as typed requests. ``close`` (or the
context manager) stops the server; the storage stays, so that ``start`` brings the same content back on the same port.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import trustme

from tests.support.client import AGENT, RegistryClient
from tests.support.tools import require

USER = "tester"
PASSWORD = "correct-horse"
HTPASSWD = f"{USER}:$2y$04$kKX7CF7qz.YeRnxaxQ3H4elbpaAPP2ToOXHqY2HU3dAahLYmLP.t."
"""``PASSWORD`` in bcrypt of the lowest cost, made by ``htpasswd -nbBC 4``: every request pays for it."""

START_LIMIT = 10.0
"""Seconds within which the server must listen."""
LOG_LIMIT = 5.0
"""Seconds within which the access log must hold what was asked."""
RARELY = "1000"
"""How seldom the server collects its garbage, in percent: it takes 4 MiB for each blob it serves, and would do so each time.
Nor does it give them back to Linux (``madvdontneed=0``), which would hand them out again page by page."""
QUIET = 0.02
"""Seconds without a new line after which the access log counts as complete."""

MARK = f"{AGENT}-mark-"
"""How the agent of requests begins that are made only to see them in the log."""

_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
_ACCESS = re.compile(r'\S+ - \S+ \[[^]]*\] "(\S+) (\S+) \S+" (\d+) (\d+) "[^"]*" "([^"]*)"')
_NAMED = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs|tags)/(?P<reference>[^/]+)")


@dataclass(frozen=True)
class Request:
    """A line of the access log. ``size`` is the number of body bytes sent."""

    method: str
    path: str
    query: str
    status: int
    size: int
    user_agent: str

    @property
    def kind(self) -> str:
        """``manifests``, ``blobs``, ``tags``, or ``""`` for anything else, such as ``/v2/``."""
        return self._named("kind")

    @property
    def repository(self) -> str:
        return self._named("repository")

    @property
    def reference(self) -> str:
        """The tag or digest that the path ends in."""
        return self._named("reference")

    def _named(self, part: str) -> str:
        match = _NAMED.fullmatch(self.path)
        return match[part] if match else ""

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status} {self.size}"


class Registry:
    """A running registry. ``host`` is ``127.0.0.1:PORT``, the same over restarts."""

    def __init__(self, folder: Path, *, tls: bool = False, login: bool = False, cached: bool = False) -> None:
        """``cached``: with the cache of what it has in memory, as Debian's package configures it."""
        require("docker-registry")
        self._cached = cached
        self.folder = folder
        self.tls = tls
        self.login: tuple[str, str] | None = (USER, PASSWORD) if login else None
        self.cert_dir = folder / "certs"
        """For ``-cert-dir``: holds ``ca.crt`` when the registry speaks TLS, and is empty otherwise."""
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: list[Request] = []
        """The access log as far as it was read."""
        self._read = 0
        """Bytes of it that were read."""
        self._marks: set[str] = set()
        """Marks that were found in it."""
        self._seen = 0
        self._storage = folder / "storage"
        self._access = folder / "access.log"
        self._errors = folder / "errors.log"
        for path in (self.cert_dir, self._storage):
            path.mkdir(parents=True, exist_ok=True)
        self._access.touch()
        if tls:
            self._make_certificates()
        if login:
            (folder / "htpasswd").write_text(HTPASSWD + "\n")
        self.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # Running and stopping

    def start(self) -> None:
        """Start the server, the first time on a free port, later on the same one."""
        if self._process:
            return
        config = self.folder / "config.yml"
        config.write_text(json.dumps(self._config()))
        self._errors.write_bytes(b"")
        with self._access.open("ab") as access, self._errors.open("ab") as errors:
            # Its own session: a test that signals process groups must not reach the server.
            self._process = subprocess.Popen(
                [*_die_with_us(), "docker-registry", "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=access,
                stderr=errors,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", os.defpath), "GOGC": RARELY, "GODEBUG": "madvdontneed=0"},
            )
        self._port = self._wait_until_listening()

    def stop(self) -> None:
        """Stop the server; from now on connections to ``host`` are refused."""
        process, self._process = self._process, None
        if process:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def restart(self) -> None:
        """Stop and start on the same port, with the same content."""
        self.stop()
        self.start()

    def close(self) -> None:
        self.stop()

    # Content

    def client(self, agent: str = AGENT) -> RegistryClient:
        """A client that trusts this registry and is logged in. The caller closes it."""
        context = ssl.create_default_context(cafile=str(self.cert_dir / "ca.crt")) if self.tls else None
        return RegistryClient(self.host, context, self.login, agent)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Forget a tag; the manifest stays, by digest. (The API of 2.8 cannot do this.)"""
        shutil.rmtree(self._repository(repository) / "_manifests" / "tags" / tag)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete a manifest and every tag that names it."""
        with self.client() as client:
            client.delete(repository, "manifests", digest)

    def delete_blob(self, repository: str, digest: str) -> None:
        """Take a blob out of one repository; others that hold it keep it."""
        with self.client() as client:
            client.delete(repository, "blobs", digest)

    def collect_garbage(self) -> None:
        """Remove what no manifest needs, with the server's own command, while the server runs on and knows nothing of it."""
        command = ["docker-registry", "garbage-collect", str(self.folder / "config.yml")]
        subprocess.run(command, check=True, capture_output=True)

    def blob_path(self, digest: str) -> Path:
        """The file in the server's storage that holds an object: change it, and the server serves wrong bytes."""
        algorithm, _, name = digest.partition(":")
        return self._storage / "docker/registry/v2/blobs" / algorithm / name[:2] / name / "data"

    # What it was asked

    def requests(self) -> list[Request]:
        """Every request since the last ``clear_requests``, but for those of the tests' own client, in order of completion."""
        return [request for request in self._complete_log()[self._seen :] if not request.user_agent.startswith(AGENT)]

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._seen = len(self._complete_log())

    @property
    def blob_gets(self) -> list[Request]:
        """GETs of blobs, layers and configs alike, whatever became of them."""
        return [request for request in self.requests() if request.method == "GET" and request.kind == "blobs"]

    @property
    def manifest_requests(self) -> list[Request]:
        """GETs and HEADs of manifests, by tag and by digest."""
        wanted = ("GET", "HEAD")
        return [request for request in self.requests() if request.method in wanted and request.kind == "manifests"]

    # Logging in

    def auth_file(self, folder: Path, *, password: str | None = None) -> Path:
        """Write a ``config.json`` as ``docker login`` does into ``folder``, for ``-authfile`` and ``DOCKER_CONFIG``.

        Another ``password`` makes a login that the registry refuses.
        """
        login = base64.b64encode(f"{USER}:{password or PASSWORD}".encode()).decode()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.json"
        path.write_text(json.dumps({"auths": {self.host: {"auth": login}}}))
        return path

    # Inside

    def _config(self) -> dict[str, Any]:
        http: dict[str, Any] = {"addr": f"127.0.0.1:{self._port}", "secret": "of the tests"}
        if self.tls:
            http["tls"] = {"certificate": str(self.folder / "server.pem"), "key": str(self.folder / "server.key")}
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(self._storage)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
            "compatibility": {"schema1": {"enabled": True}},
            "validation": {"manifests": {"urls": {"allow": ["^https?://"]}}},
        }
        if self._cached:
            config["storage"]["cache"] = {"blobdescriptor": "inmemory"}
        if self.login:
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(self.folder / "htpasswd")}}
        return config

    def _make_certificates(self) -> None:
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(self.cert_dir / "ca.crt"))
        server.private_key_pem.write_to_path(str(self.folder / "server.key"))
        for number, pem in enumerate(server.cert_chain_pems):
            pem.write_to_path(str(self.folder / "server.pem"), append=number > 0)

    def _wait_until_listening(self) -> int:
        assert self._process
        limit = time.monotonic() + START_LIMIT
        while time.monotonic() < limit:
            if match := _LISTENING.search(self._errors.read_text()):
                return int(match[1])
            if self._process.poll() is not None:
                break
            time.sleep(0.003)
        self.stop()
        raise AssertionError(f"docker-registry did not start:\n{self._errors.read_text()}")

    def _repository(self, repository: str) -> Path:
        return self._storage / "docker/registry/v2/repositories" / repository

    def _complete_log(self) -> list[Request]:
        """The log once every request that was answered stands in it.

        A line is written after the response has gone out, so a mark of ours is sent and awaited, until nothing came
        between two marks. While the server is down the log is complete by itself.
        """
        if not self._process:
            return self._read_log()
        before = -1
        limit = time.monotonic() + LOG_LIMIT
        with self.client() as client:
            while time.monotonic() < limit:
                mark = f"{MARK}{uuid.uuid4().hex}"
                client.request("GET", "/v2/", headers={"User-Agent": mark})
                log = self._read_log()
                while mark not in self._marks:
                    if time.monotonic() > limit:
                        raise AssertionError(f"{self._access} lacks a request that was answered")
                    time.sleep(0.002)
                    log = self._read_log()
                if len(log) == before:
                    return log
                before = len(log)
                time.sleep(QUIET)
        raise AssertionError(f"{self.host} is still busy after {LOG_LIMIT:.0f} s")

    def _read_log(self) -> list[Request]:
        """All whole lines so far. Only those that are new are read: the log of a session is long, and asked for often."""
        with self._access.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole + newline)
        for match in map(_ACCESS.fullmatch, whole.decode().splitlines()):
            if match is None:
                continue
            if match[5].startswith(MARK):
                self._marks.add(match[5])
            else:
                url = urlsplit(match[2])
                self._log.append(Request(match[1], url.path, url.query, int(match[3]), int(match[4]), match[5]))
        return self._log


def _die_with_us() -> list[str]:
    """A prefix that ends the server when the test run is killed, where there is one (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


RegistryFactory = Callable[..., Registry]
"""Makes an empty registry of a test's own: ``fresh_registry(tls=False, login=False)``."""
