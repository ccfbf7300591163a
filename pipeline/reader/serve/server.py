"""The HTTP server below the registry: one thread that waits for requests, and a thread for each response on its way.

Guarantees: a client that says nothing, or a byte at a time, takes no thread and is dropped at a deadline; one that reads slowly
keeps its own thread and nobody else's; connections, heads and bodies are bounded; a stop ends all of it within a second.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType

from pipeline.core.errors import EnvironmentProblem
from pipeline.core.log import log
from pipeline.reader.serve.app import LogRequest, RegistryApp
from pipeline.reader.serve.connection import Connection
from pipeline.reader.serve.source import Source

MAX_CONNECTIONS = 512
"""At once. When one more comes, the one that has waited longest for a request gives way."""
PATIENCE = 300.0
"""Seconds without a byte taken, after which the answer to a client is cut: a network that stops for minutes is no rarity."""
LOOK = 1.0
"""Seconds between two looks at whose deadline has passed."""
_ACCEPTED_AT_ONCE = 64


class RegistryServer:
    """Serves a source for as long as its ``with`` block lasts, from threads of its own.

    ``port`` 0 takes a free one. ``tls`` names the files of a certificate (with its chain) and of its key; ``login`` is
    the user and the password that are asked for. ``patience`` is in seconds; None waits for a slow client for ever. Leaving
    the block ends open requests, closes every socket and joins the threads.
    """

    def __init__(
        self,
        source: Source,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: tuple[Path, Path] | None = None,
        on_request: LogRequest | None = None,
        login: tuple[str, str] | None = None,
        patience: float | None = PATIENCE,
    ) -> None:
        self._on_request = on_request
        self._login = login
        self.replace(source)
        self._address = (host, port)
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(*tls)
        self._patience = patience
        self._connections: set[Connection] = set()
        self._responded: SimpleQueue[tuple[Connection, bool]] = SimpleQueue()
        """Connections that were answered, and whether they can take another request."""
        self._stops = False

    @property
    def host(self) -> str:
        """Host and port, as they stand in an image reference."""
        host, port = self._address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        return f"{'http' if self._context is None else 'https'}://{self.host}"

    def replace(self, source: Source) -> None:
        """Serve another source from the next request on; what is on its way comes from the old one."""
        self._app = RegistryApp(source, self._on_request, self._login)

    def __enter__(self) -> RegistryServer:
        """Raises EnvironmentProblem when the address cannot be listened on."""
        try:
            family = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            self._listener = socket.create_server(self._address, family=family, backlog=MAX_CONNECTIONS)
        except OSError as error:
            # Not its own words, which repeat the address, and the number of the error.
            reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
            raise EnvironmentProblem(f"cannot listen on {self.host}: {reason}", tip="name another port") from error
        self._address = (self._address[0], self._listener.getsockname()[1])
        self._listener.setblocking(False)
        self._waker, self._woken = socket.socketpair()
        for sock in (self._waker, self._woken):
            sock.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._responders = ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="registry-response")
        self._thread = threading.Thread(target=self._run, name="registry", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stops = True
        self._wake()
        self._thread.join()
        self._responders.shutdown()
        for connection in self._connections:
            connection.close()
        for sock in (self._waker, self._woken):
            sock.close()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            self._waker.send(b"\0")

    def _run(self) -> None:
        next_look = time.monotonic() + LOOK
        with self._selector, self._listener:
            while not self._stops:
                for key, _ in self._selector.select(max(0.0, next_look - time.monotonic())):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._woken:
                        self._take_back()
                    else:
                        self._receive(key.data)
                if time.monotonic() >= next_look:
                    self._drop_late()
                    next_look = time.monotonic() + LOOK
            for connection in self._connections:
                connection.abort()

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, address = self._listener.accept()
            except OSError as error:
                if not isinstance(error, BlockingIOError):
                    log.debug("a connection was not accepted: %s", error)
                return
            if len(self._connections) >= MAX_CONNECTIONS and not self._give_way():
                log.debug("%s: dropped: there are %d connections", address, MAX_CONNECTIONS)
                sock.close()
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            connection = Connection(sock, address, self._patience)
            self._connections.add(connection)
            self._selector.register(sock, selectors.EVENT_READ, connection)

    def _waiting(self) -> list[Connection]:
        """Connections that wait for a request, or for the rest of one."""
        return [key.data for key in self._selector.get_map().values() if key.data is not None]

    def _give_way(self) -> bool:
        waiting = self._waiting()
        if waiting:
            self._drop(min(waiting, key=lambda connection: connection.deadline))
        return bool(waiting)

    def _drop_late(self) -> None:
        now = time.monotonic()
        for connection in self._waiting():
            if connection.deadline < now:
                self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        connection.close()

    def _receive(self, connection: Connection) -> None:
        try:
            has_request = connection.receive()
        except ConnectionError as error:
            log.debug("a connection ends: %s", error)
            self._drop(connection)
            return
        if has_request:
            self._selector.unregister(connection.socket)
            self._responders.submit(self._respond, connection)
        else:
            event = selectors.EVENT_WRITE if connection.wants_to_write else selectors.EVENT_READ
            self._selector.modify(connection.socket, event, connection)

    def _respond(self, connection: Connection) -> None:
        goes_on = connection.respond(self._app)
        if not goes_on:
            connection.linger()
        self._responded.put((connection, goes_on))
        self._wake()

    def _take_back(self) -> None:
        """Wait for the next requests of those that were answered; a client may have sent the next one already."""
        with suppress(BlockingIOError):
            self._woken.recv(1 << 12)
        while True:
            try:
                connection, goes_on = self._responded.get_nowait()
            except Empty:
                return
            if goes_on:
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
                self._receive(connection)
            else:
                self._forget(connection)
