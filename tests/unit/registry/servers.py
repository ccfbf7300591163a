"""Small servers in this process: one that answers requests from a function, one that talks on bare sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import trustme

from tests.support.http_server import HttpHandler, HttpServer

Reply = tuple[int, Mapping[str, str], bytes]


@dataclass(frozen=True, kw_only=True)
class Request:
    """``path`` with its query; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    peer: int = 0
    """The port that it came from: one for each connection."""


class Server:
    """Answers with what ``reply`` returns; ``seen`` holds the requests. A context manager."""

    def __init__(self, reply: Callable[[Request], Reply], tls: ssl.SSLContext | None = None) -> None:
        self.reply = reply
        self.seen: list[Request] = []
        self._server = _Server(_Handler)
        self._server.owner = self
        self._server.tls = tls
        self._server.start()

    @property
    def host(self) -> str:
        return self._server.host

    def asked(self) -> list[str]:
        return [f"{each.method} {each.path}" for each in self.seen]

    def close(self) -> None:
        self._server.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()


class _Server(HttpServer):
    owner: Server
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with self.tls.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)


class _Handler(HttpHandler):
    server: _Server

    def _serve(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method=self.command, path=self.path, headers=headers, body=body, peer=int(self.client_address[1]))
        owner.seen.append(request)
        status, given, data = owner.reply(request)
        self.send_response(status)
        named = {name.lower() for name in given}
        for name, value in given.items():
            for line in value.split("\n"):
                self.send_header(name, line)
        if "content-length" not in named:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_CONNECT = _serve


@contextlib.contextmanager
def talking(talk: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """A server whose ``talk`` gets each connection, with its number, in a thread of its own. Yields ``host:port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def converse(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection:
            talk(connection, number)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=converse, args=(connection, len(connections)), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def read_head(connection: socket.socket) -> bytes:
    """One request without a body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise OSError("the client went away")
        head += byte
    return head


def authority() -> tuple[trustme.CA, ssl.SSLContext]:
    """A certificate authority, and the context of a server on 127.0.0.1 with a certificate of it."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return ca, context


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port on 127.0.0.1 that answers nothing: its queue is full, and the kernel drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()[1]
