"""The server below the registry: clients that are slow, silent, greedy or rude take nothing from those that are not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import resource
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trustme

from pipeline.core.oci import Descriptor, Digest
from pipeline.reader.serve import RegistryServer, connection, server
from tests.support.client import RegistryClient
from tests.support.images import image, index

SIZE = 8 * 1024 * 1024
"""More than the kernel's buffers take for a client that reads nothing."""
BLOB = hashlib.sha256(b"seed").digest() * (SIZE // 32)
BLOB_DIGEST = Digest("sha256", hashlib.sha256(BLOB).hexdigest())
IMAGE = index(image("linux/amd64", [])).content
PATH = f"/v2/library/nginx/blobs/{BLOB_DIGEST}"


class InMemory:
    """One image and one large blob."""

    def __init__(self, name: str = "docker.io/library/nginx:1", blob: bytes = BLOB) -> None:
        self._name = name
        self._blobs = {Digest.parse(IMAGE.digest): IMAGE.data, BLOB_DIGEST: blob}

    @property
    def images(self) -> Sequence[tuple[str, Descriptor]]:
        return [(self._name, Descriptor.from_json(IMAGE.descriptor()))]

    def why_not(self, digest: Digest) -> str:
        return ""

    def size(self, digest: Digest) -> int | None:
        return len(self._blobs[digest]) if digest in self._blobs else None

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        data = self._blobs[digest]
        stop = len(data) if length is None else offset + length
        for start in range(offset, stop, 1 << 18):
            yield data[start : min(stop, start + (1 << 18))]


def connect(running: RegistryServer) -> socket.socket:
    host, _, port = running.host.partition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    sock.settimeout(10)
    sock.connect((host, int(port)))
    return sock


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: registry\r\n\r\n".encode()


def read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 20):
            data += piece
    return bytes(data)


def answers_quickly(running: RegistryServer, context: ssl.SSLContext | None = None) -> None:
    started = time.monotonic()
    with RegistryClient(running.host, context) as client:
        assert client.request("GET", "/v2/").status == 200
        assert hashlib.sha256(client.request("GET", PATH).body).hexdigest() == BLOB_DIGEST.hex
    assert time.monotonic() - started < 5


def test_a_client_that_pauses_gets_every_byte() -> None:
    with RegistryServer(InMemory(), patience=1) as running, connect(running) as sock:
        sock.sendall(get(PATH).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        data = b""
        for _ in range(3):  # longer than its patience, all together
            time.sleep(0.4)
            data += sock.recv(1 << 20)
        data += read_all(sock)
    assert data.partition(b"\r\n\r\n")[2] == BLOB


def test_one_that_takes_nothing_is_cut_after_minutes_and_that_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert server.PATIENCE >= 120
    with caplog.at_level(logging.WARNING), RegistryServer(InMemory(), patience=0.3) as running, connect(running) as sock:
        sock.sendall(get(PATH))
        time.sleep(0.8)
        assert len(read_all(sock)) < SIZE
    assert f"{PATH}: the client took nothing for 0 s; its answer was cut" in caplog.text


def test_slow_clients_do_not_starve_quick_ones() -> None:
    with RegistryServer(InMemory()) as running, contextlib.ExitStack() as stack:
        for _ in range(64):
            sock = stack.enter_context(connect(running))
            sock.sendall(get(PATH))
        answers_quickly(running)


@pytest.mark.parametrize("is_tls", [False, True])
def test_silent_connections_stall_nobody(is_tls: bool, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = (tmp_path / "server.crt", tmp_path / "server.key") if is_tls else None
    with RegistryServer(InMemory(), tls=tls) as running, contextlib.ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(connect(running))
        answers_quickly(running, context if is_tls else None)


def test_who_speaks_without_tls_is_told(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    tls = (tmp_path / "server.crt", tmp_path / "server.key")
    with RegistryServer(InMemory(), tls=tls) as running, connect(running) as sock:
        sock.sendall(get("/v2/"))
        assert b"this server speaks HTTPS on this port" in read_all(sock)


def test_a_head_that_comes_a_byte_at_a_time_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_DEADLINE", 0.3)
    monkeypatch.setattr(server, "LOOK", 0.1)
    with RegistryServer(InMemory()) as running, connect(running) as sock:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in get("/v2/") * 100:
                sock.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - started < 3
        answers_quickly(running)


def test_a_head_of_300_mb_is_refused_at_64_kib() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with RegistryServer(InMemory()) as running, connect(running) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            for _ in range(300):
                sock.sendall(b"X-Filler: " + b"a" * 1_000_000 + b"\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 431 ")
        answers_quickly(running)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_large_body_is_refused() -> None:
    with RegistryServer(InMemory()) as running, connect(running) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(b"PUT /v2/ HTTP/1.1\r\nHost: r\r\nContent-Length: 9000000\r\n\r\n" + bytes(200_000))
        assert read_all(sock).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET /v2/ HTTP/1.1\r\nno field\r\n\r\n", b"GET\r\n\r\n", b"\r\n" * 5]
)
def test_nonsense_ends_one_connection_and_nothing_else(nonsense: bytes) -> None:
    with RegistryServer(InMemory()) as running:
        with connect(running) as sock:
            sock.sendall(nonsense)
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 505", b"")
        answers_quickly(running)


def test_two_requests_in_one_packet_get_two_answers() -> None:
    with RegistryServer(InMemory()) as running, connect(running) as sock:
        sock.sendall(get("/v2/") + get("/v2/_catalog").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        data = read_all(sock)
    assert data.count(b"HTTP/1.1 200") == 2
    assert json.loads(data.rpartition(b"\r\n\r\n")[2]) == {"repositories": ["docker.io/library/nginx", "library/nginx"]}


def test_the_connection_that_waits_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)
    with RegistryServer(InMemory()) as running, contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(running)) for _ in range(4)]
        time.sleep(0.2)
        answers_quickly(running)
        assert waiting[0].recv(1) == b""


def test_another_source_is_served_from_the_next_request_on() -> None:
    with RegistryServer(InMemory()) as running, connect(running) as sock, RegistryClient(running.host) as client:
        sock.sendall(get(PATH).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        first = sock.recv(1000)
        running.replace(InMemory("docker.io/library/redis:7", b"x" * SIZE))
        assert client.request("GET", "/v2/library/nginx/tags/list").status == 404
        assert client.request("GET", "/v2/library/redis/tags/list").status == 200
        assert (first + read_all(sock)).partition(b"\r\n\r\n")[2] == BLOB


@pytest.mark.parametrize("number", ["9" * 4000, "1e3", "-1", "１"])
def test_a_page_size_that_is_not_a_number_is_400(number: str) -> None:
    with RegistryServer(InMemory()) as running, RegistryClient(running.host) as client:
        answer = client.request("GET", f"/v2/_catalog?n={number.encode('ascii', 'replace').decode()}")
    assert answer.status == 400


def test_a_mirror_gives_no_image_of_another_registry() -> None:
    """containerd asks by ``?ns=`` for the registry whose mirror it takes us for."""
    with RegistryServer(InMemory()) as running, RegistryClient(running.host) as client:
        path = "/v2/library/nginx/manifests/1"
        statuses = [client.request("GET", path + query).status for query in ("", "?ns=docker.io", "?ns=quay.io")]
    assert statuses == [200, 200, 404]
