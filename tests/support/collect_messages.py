"""Collect what the installed skopeo says when things go wrong, and write it down in ``messages.json``.

    .venv/bin/python -m tests.support.collect_messages

Takes about two minutes, most of them skopeo's own patience with "too many requests". Run it again for another skopeo, and
look at what changed. Ports, times and temporary folders are replaced by fixed ones, so that the difference is small.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.support.images import artifact, image, layer
from tests.support.kinds import push_kind
from tests.support.messages import PLACE
from tests.support.proxy import Fault, FaultProxy, Reset, Status, Truncate, WrongBytes
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import Result, skopeo


@dataclass
class Collector:
    """Runs skopeo in ``folder`` and keeps what it says, once for each text."""

    folder: Path
    found: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    runs: int = 0

    def inspect(self, cause: str, situation: str, reference: str, *options: str) -> None:
        result = skopeo("inspect", "--raw", *(options or ("--tls-verify=false",)), f"docker://{reference}", cwd=self.folder)
        self._keep(cause, f"inspect: {situation}", result)

    def config(self, cause: str, situation: str, reference: str) -> None:
        result = skopeo("inspect", "--config", "--raw", "--tls-verify=false", f"docker://{reference}", cwd=self.folder)
        self._keep(cause, f"inspect --config: {situation}", result)

    def copy(self, cause: str, situation: str, reference: str, *options: str, to: str = "") -> None:
        self.runs += 1
        place = to or f"copies/{self.runs}"
        (self.folder / "copies").mkdir(exist_ok=True)
        where = ("--dest-shared-blob-dir", f"{place}-share", "--dest-oci-accept-uncompressed-layers")
        source = f"docker://{reference}"
        result = skopeo(
            "copy", "--quiet", *(options or ("--src-tls-verify=false",)), *where, source, f"oci:{place}", cwd=self.folder
        )
        self._keep(cause, f"copy: {situation}", result)

    def _keep(self, cause: str, situation: str, result: Result) -> None:
        print(f"{cause:12} {result.code} {situation}", flush=True)
        if result.code == 0:
            print("             it succeeded")
            return
        assert result.code == 1, result
        text = re.sub(r'time="[^"]*"', 'time="2026-01-01T00:00:00Z"', result.stderr)
        text = re.sub(r"127\.0\.0\.1:\d+->127\.0\.0\.1:\d+", "127.0.0.1:40000->127.0.0.1:5000", text)
        text = re.sub(r"(127\.0\.0\.1|localhost):(?!40000-)\d+", r"\1:5000", text)
        text = re.sub(r"oci-put-blob\d+", "oci-put-blob1", text)
        text = re.sub(r"on \S+:53: no such host", "on 127.0.0.53:53: no such host", text)
        text = re.sub(r"current time \S+ is after", "current time 2026-01-01T00:00:00Z is after", text)
        text = text.replace(str(self.folder), "/work")
        self.found.setdefault(text, (cause, situation, text))


def not_found(collector: Collector, registry: Registry, image: PushedImage) -> None:
    for reference, situation in (
        (f"{registry.host}/team/app:nope", "tag unknown"),
        (f"{registry.host}/team/none:v1", "repository unknown"),
        (f"{registry.host}/team/app@sha256:{'0' * 64}", "digest unknown"),
    ):
        collector.inspect("NOT_FOUND", situation, reference)
        collector.copy("NOT_FOUND", situation, reference)
    only = image.platforms[0]
    for digest, situation in ((only.layers[0], "layer gone"), (only.config, "config gone")):
        path = registry.blob_path(digest)
        aside = path.rename(path.with_name("aside"))
        collector.copy("NOT_FOUND", situation, image.reference)
        collector.config("NOT_FOUND", situation, image.reference)
        aside.rename(path)


def access(collector: Collector, registry: Registry, image: PushedImage) -> None:
    """A registry with TLS and a login."""
    folder = registry.auth_file(collector.folder / "wrong", password="wrong")
    certificates = str(registry.cert_dir)
    collector.inspect("UNAUTHORIZED", "no login", image.reference, "--cert-dir", certificates)
    collector.copy("UNAUTHORIZED", "no login", image.reference, "--src-cert-dir", certificates)
    wrong = ("--authfile", str(folder), "--cert-dir", certificates)
    collector.inspect("UNAUTHORIZED", "wrong password", image.reference, *wrong)
    (collector.folder / "no.json").write_text("{no")
    collector.inspect("UNKNOWN", "unreadable authfile", image.reference, "--authfile", "no.json", "--cert-dir", certificates)
    collector.inspect("CERTIFICATE", "unknown authority", image.reference, "--tls-verify=true")
    collector.copy("CERTIFICATE", "unknown authority", image.reference, "--src-tls-verify=true")


def connections(collector: Collector, image: PushedImage) -> None:
    collector.inspect("CERTIFICATE", "plain HTTP asked over TLS", image.reference, "--tls-verify=true")
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    for verify in ("true", "false"):
        collector.inspect("NETWORK", "connection refused", f"{closed}/team/app:v1", f"--tls-verify={verify}")
        unknown = "registry.example.invalid/team/app:v1"
        collector.inspect("NETWORK", "no such host", unknown, f"--tls-verify={verify}")
    collector.copy("NETWORK", "no such host", "registry.example.invalid/team/app:v1")
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    for situation, names, until in (("wrong name", ["registry.example.org"], None), ("expired", ["127.0.0.1"], past)):
        with listener(collector.folder, names, until) as host:
            certificates = str(collector.folder / "listener")
            collector.inspect("CERTIFICATE", situation, f"{host}/team/app:v1", "--cert-dir", certificates)
    with listener(collector.folder, [], None) as host:
        collector.inspect("NETWORK", "closed at once", f"{host}/team/app:v1")
        collector.inspect("NETWORK", "closed at once, TLS", f"{host}/team/app:v1", "--tls-verify=true")
    with listener(collector.folder, None, None) as host:
        collector.inspect("NETWORK", "silent, TLS", f"{host}/team/app:v1", "--tls-verify=true")


@contextlib.contextmanager
def listener(folder: Path, names: list[str] | None, until: datetime.datetime | None) -> Iterator[str]:
    """A port that shakes hands for ``names`` until ``until``; with no names it hangs up, with None it says nothing."""
    context: ssl.SSLContext | None = None
    if names:
        authority = trustme.CA()
        (folder / "listener").mkdir(exist_ok=True)
        authority.cert_pem.write_to_path(str(folder / "listener" / "ca.crt"))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*names, not_after=until).configure_cert(context)
    silent: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                if names is None:
                    silent.append(connection)
                    continue
                with connection, contextlib.suppress(OSError):
                    if context:
                        context.wrap_socket(connection, server_side=True).close()
                    else:
                        connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in silent:
                connection.close()


def faults(collector: Collector, registry: Registry, pushed: PushedImage) -> None:
    only = pushed.platforms[0]
    places = {"ping": "^/v2/$", "manifest": "/manifests/", "layer": only.layers[0], "config": only.config}
    statuses = {401: "UNAUTHORIZED", 403: "UNAUTHORIZED", 404: "NOT_FOUND", 429: "RATE_LIMITED"}
    statuses |= dict.fromkeys((500, 502, 503, 504), "SERVER")
    matrix: list[tuple[str, str, Fault]] = [
        *((cause, f"{code}", Status(code, 1 if code == 429 else None)) for code, cause in statuses.items()),
        ("NETWORK", "reset before the head", Reset(-1)),
        ("NETWORK", "reset after the head", Reset(0)),
        ("NETWORK", "reset in the body", Reset(100)),
        ("NETWORK", "truncated", Truncate(100)),
        ("CONTENT", "wrong bytes", WrongBytes(-60)),
    ]
    with FaultProxy(registry.host) as proxy:
        for general, situation, fault in matrix:
            for place, path in places.items():
                # Only of a manifest does skopeo repeat the registry's words, which are those of a quota.
                cause = "QUOTA" if (general, place) == ("RATE_LIMITED", "manifest") else general
                proxy.clear()
                proxy.fault(path, fault, times=None)
                collector.copy(cause, f"{situation}, {place}", pushed.via(proxy.host))
                collector.copy(cause, f"{situation}, {place}, by digest", pushed.pinned.replace(registry.host, proxy.host))
                if place == "config":
                    collector.config(cause, f"{situation}, {place}", pushed.via(proxy.host))
                elif place != "layer":
                    collector.inspect(cause, f"{situation}, {place}", pushed.via(proxy.host))


def content(collector: Collector, registry: Registry) -> None:
    collector.config("PLATFORM", "no linux/amd64", push_kind(registry, "arm-variants", "team/arm").reference)
    collector.copy("PLATFORM", "no linux/amd64", f"{registry.host}/team/arm:v1")
    odd = artifact([layer("odd").content(False)])
    with registry.client() as client:
        for blob in (odd.config, *odd.layers):
            client.put_blob("team/odd", blob.data)
    with FaultProxy(registry.host) as proxy:
        manifest = push(registry, "team/odd", "v1", odd)
        proxy.fault("/manifests/", WrongBytes(0), times=None)
        collector.copy("CONTENT", "no JSON at all", manifest.via(proxy.host))
        collector.config("CONTENT", "no JSON at all", manifest.via(proxy.host))


def disk(collector: Collector, pushed: PushedImage) -> None:
    """A full disk and a read-only one; only root can make them."""
    full = collector.folder / "full"
    full.mkdir()
    if os.geteuid() != 0:
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(full)], check=True)
    try:
        collector.copy("DISK", "no space", pushed.reference, to="full/image")
        subprocess.run(["mount", "-o", "remount,ro", str(full)], check=True)
        collector.copy("DISK", "read-only", pushed.reference, to="full/other")
    finally:
        subprocess.run(["umount", str(full)], check=True)


def write(collector: Collector, version: str) -> None:
    messages = [{"cause": cause, "situation": situation, "text": text} for cause, situation, text in collector.found.values()]
    PLACE.write_text(json.dumps({"skopeo": version, "messages": messages}, indent=1) + "\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name).resolve()
        os.environ |= {"HOME": name, "XDG_RUNTIME_DIR": name, "LC_ALL": "C.UTF-8"}
        collector = Collector(folder)
        plain = stack.enter_context(Registry(folder / "plain"))
        login = stack.enter_context(Registry(folder / "login", tls=True, login=True))
        what = image("linux/amd64", [layer("messages", 300_000)])
        pushed = push(plain, "team/app", "v1", what)
        not_found(collector, plain, pushed)
        access(collector, login, push(login, "team/app", "v1", what))
        connections(collector, pushed)
        content(collector, plain)
        disk(collector, pushed)
        faults(collector, plain, pushed)
        write(collector, skopeo("--version").stdout.split()[-1])


if __name__ == "__main__":
    main()
