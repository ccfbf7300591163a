"""Registries behind proxies: one that our own HTTP can use, and those that only skopeo can, which then fetches by itself."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.kinds import push_kind
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import Result, run
from tests.system.save.saving import PLAIN

NAME = "registry.behind.example:5000"
"""What only the proxy knows."""
Connect = Callable[[socket.socket], None]


def http_head(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    return head


def pump(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until one side closes."""

    def forward(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=forward, args=(other, one), daemon=True)
    thread.start()
    forward(one, other)
    thread.join(10)


class Proxy(socketserver.ThreadingTCPServer):
    """``kind`` is ``http``, ``https`` or ``socks5``. Whatever it is asked for, it leads to ``host``."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, kind: str, host: str, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        address = host.partition(":")[0], int(host.rpartition(":")[2])
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                client = self.request
                with contextlib.suppress(OSError, ssl.SSLError):
                    if tls is not None:
                        client = tls.wrap_socket(client, server_side=True)
                    with client, socket.create_connection(address) as target:
                        proxy.lead(kind, client, target)

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def lead(self, kind: str, client: socket.socket, target: socket.socket) -> None:
        if kind == "socks5":  # RFC 1928
            client.recv(2 + client.recv(2, socket.MSG_PEEK)[1])
            client.sendall(b"\x05\x00")
            head = client.recv(5)
            self.asked.append(client.recv(head[4] + 2)[:-2])
            client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        else:
            head = http_head(client)
            self.asked.append(head.split(b" ")[1])
            if head.startswith(b"CONNECT "):
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                target.sendall(head)
        pump(client, target)


@pytest.fixture
def image(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-index", "behind/app")


@contextlib.contextmanager
def proxy(kind: str, registry: Registry) -> Iterator[tuple[Proxy, dict[str, str]]]:
    """One that runs, and what the environment says of it."""
    authority = trustme.CA()
    tls = None
    if kind == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path("proxy.pem")
    with Proxy(kind, registry.host, tls) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        address = f"{kind}://127.0.0.1:{server.port}"
        try:
            yield server, {"HTTP_PROXY": address, "HTTPS_PROXY": address, "SSL_CERT_FILE": str(Path("proxy.pem").absolute())}
        finally:
            server.shutdown()


def save(image: PushedImage, env: dict[str, str], *arguments: str) -> Result:
    return run("save", f"{NAME}/{image.repository}:v1", PLAIN, *arguments, env=env)


def test_one_that_our_own_http_can_use(registry: Registry, image: PushedImage) -> None:
    with proxy("http", registry) as (server, env):
        result = save(image, env)
    assert result.code == 0, result
    assert "skopeo" not in result.stderr
    assert server.asked and all(NAME.encode() in each for each in server.asked)


@pytest.mark.parametrize("kind", ["https", "socks5"])
def test_those_that_only_skopeo_can_use(registry: Registry, image: PushedImage, kind: str) -> None:
    with proxy(kind, registry) as (server, env):
        result = save(image, env, "-j", "3")
        again = save(image, env)
    assert result.code == 0, result
    assert result.stderr.count("names a proxy that only skopeo can use") == 1
    assert "skopeo gets through, and fetches its images by itself" in result.stderr
    assert "saved 1 of 1 images" in result.stdout
    assert again.code == 0 and "unchanged since the last run" in again.stdout, again
    assert server.asked
    assert run("verify", "saved-images.tar.gz").code == 0


def test_where_skopeo_does_not_get_through_either(registry: Registry, image: PushedImage) -> None:
    result = save(image, {"HTTPS_PROXY": "socks5://127.0.0.1:1", "HTTP_PROXY": "socks5://127.0.0.1:1"}, "-retry", "0")
    assert result.code == 3
    assert "names a proxy that only skopeo can use" in result.stdout + result.stderr


def test_a_load_says_what_it_needs(registry: Registry, image: PushedImage) -> None:
    assert run("save", f"{registry.host}/{image.repository}:v1", PLAIN).code == 0
    env = {"HTTPS_PROXY": "socks5://127.0.0.1:1", "HTTP_PROXY": "socks5://127.0.0.1:1"}
    result = run("load", "saved-images.tar.gz", "-d", NAME, PLAIN, env=env)
    assert result.code == 3
    assert "names a proxy that only skopeo can use" in result.stdout + result.stderr
    assert "or the host in NO_PROXY" in result.stdout + result.stderr
