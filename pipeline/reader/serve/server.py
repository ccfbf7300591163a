"""The HTTP server below the registry: cheroot's, kept within bounds. The only importer of cheroot."""

from __future__ import annotations

import logging
import socket
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from cheroot.server import HTTPConnection
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

from pipeline.core.errors import EnvironmentProblem
from pipeline.core.log import log
from pipeline.reader.serve.app import LogRequest, RegistryApp
from pipeline.reader.serve.source import Source

THREADS = 16
"""Requests answered at the same time; connections that only stay open take none."""
MAX_KEPT_CONNECTIONS = 200
LOOK = 0.05
"""Seconds between two looks at whether to stop: half of it is what the end of a server takes on average."""
MAX_REQUEST_BODY = 64 * 1024
"""Bytes. cheroot reads what a client sends into memory, and nothing that a client sends is of use here."""


class _Connection(HTTPConnection):
    def close(self) -> None:
        super().close()
        # What a client that has gone did not take would else be written when this is collected, to nowhere, with a complaint.
        with suppress(OSError, ValueError):
            self.wfile.close()


class _HTTPServer(Server):
    """cheroot's server, that does not wait for a client in the middle of a blob when it is to stop."""

    ConnectionClass = _Connection
    expiration_interval = LOOK

    def __init__(self, address: tuple[str, int], app: RegistryApp) -> None:
        super().__init__(address, app, numthreads=THREADS, server_name="image-tools", shutdown_timeout=1)
        self.keep_alive_conn_limit = MAX_KEPT_CONNECTIONS
        self.max_request_body_size = MAX_REQUEST_BODY
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: Any) -> Any:
        try:
            socket_.bind(bind_addr)
        except OSError:
            socket_.close()
            raise
        return socket_

    def process_conn(self, conn: Any) -> None:
        self._seen.add(conn)
        super().process_conn(conn)

    def stop(self) -> None:
        for conn in list(self._seen):
            with suppress(OSError):
                conn.socket.shutdown(socket.SHUT_RDWR)
        super().stop()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        # What a client may have done is of interest to whoever looks for it only; our own faults have been told by the app.
        log.debug("%s", msg, exc_info=traceback)


class RegistryServer:
    """Serves a source for as long as its ``with`` block lasts, from threads of its own.

    ``port`` 0 takes a free one. ``tls`` names the files of a certificate (with its chain) and of its key; ``login`` is
    the user and the password that are asked for. Leaving the block
    ends open requests, closes every socket and joins the threads.
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
    ) -> None:
        self._server = _HTTPServer((host, port), RegistryApp(source, on_request, login))
        if tls is not None:
            self._server.ssl_adapter = BuiltinSSLAdapter(*map(str, tls))
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve, name="registry", daemon=True)

    @property
    def host(self) -> str:
        """Host and port, as they stand in an image reference."""
        host, port = self._server.bind_addr[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.host}"

    def __enter__(self) -> RegistryServer:
        """Raises EnvironmentProblem when the address cannot be listened on."""
        try:
            self._server.prepare()
        except OSError as error:
            raise EnvironmentProblem(f"cannot listen on {self.host}: {error}", tip="name another port") from error
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.stop()
        self._thread.join()
