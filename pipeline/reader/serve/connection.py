"""One client's connection: HTTP/1.1 by h11, TLS where it is asked for, a WSGI application behind it.

Until a request is complete the socket does not block (``receive``), so a client that says nothing takes no thread; while a
response is sent it blocks (``respond``), in a thread of its own, so a client that reads slowly keeps nobody else waiting.
The only importer of h11. Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import io
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import h11

from pipeline.core.log import log

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
"""A WSGI application (PEP 3333)."""

HEAD_DEADLINE = 30.0
"""Seconds from the first byte of a request, or from the connection, until it must be complete."""
IDLE_LIMIT = 60.0
"""Seconds that a connection may wait for its next request."""
MAX_HEAD = 64 * 1024
"""Bytes of a request's line and header fields."""
MAX_BODY = 64 * 1024
"""Bytes that a client may send with a request; nothing that it sends is of use here."""
_RECEIVED_AT_ONCE = 64 * 1024
_LINGER = 1.0
"""Seconds in which a client may read the answer to what was refused in the middle of its sending."""


class Connection:
    """``deadline`` is when a client that sends nothing is dropped; ``events`` what ``receive`` waits for."""

    def __init__(self, sock: socket.socket, address: Any, patience: float | None) -> None:
        """``patience`` is how many seconds may pass without a byte taken while a response is sent; None for any."""
        self.socket = sock
        self.deadline = time.monotonic() + HEAD_DEADLINE
        self.wants_to_write = False
        self._address = address
        self._patience = patience
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._refused: int | None = None
        """The status that ends this connection, for a request that no client should send."""
        self._began = False
        self._shaken = not isinstance(sock, ssl.SSLSocket)

    def receive(self) -> bool:
        """Take what has arrived. Returns whether there is a request to respond to. Raises ConnectionError at the end."""
        if not self._shaken and not self._shake_hands():
            return False
        while not self._is_complete():
            try:
                data = self.socket.recv(_RECEIVED_AT_ONCE)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            except OSError as error:
                raise ConnectionError(str(error)) from error
            if not self._began:
                self._began, self.deadline = True, time.monotonic() + HEAD_DEADLINE
            self._http.receive_data(data)
        return True

    def respond(self, application: Application) -> bool:
        """Answer the request, in the calling thread. Returns whether the connection can take another one."""
        self.socket.settimeout(self._patience)
        target = self._request.target.decode() if self._request else ""
        try:
            if self._refused is not None:
                self._send(h11.Response(status_code=self._refused, headers=[("Connection", "close"), ("Content-Length", "0")]))
                return False
            assert self._request is not None, "it is complete"
            self._answer(self._request, application)
        except TimeoutError:
            log.warning("%s: the client took nothing for %.0f s; its answer was cut", target, self._patience or 0)
            return False
        except OSError as error:
            log.debug("%s: the client has gone: %s", target, error)
            return False
        except Exception as error:
            # The application has said what is wrong; nothing but a broken connection tells the client now.
            log.warning("%s: the answer was cut: %s", target, error)
            return False
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._request, self._body, self._began = None, bytearray(), False
        self.deadline = time.monotonic() + IDLE_LIMIT
        self.socket.setblocking(False)
        return True

    def linger(self) -> None:
        """Let the client read what was sent: closing on bytes that were not read would take it away from it."""
        with suppress(OSError, ValueError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            self.socket.settimeout(_LINGER)
            for _ in range(MAX_BODY // _RECEIVED_AT_ONCE + 1):
                if not socket.socket.recv(self.socket, _RECEIVED_AT_ONCE):
                    return

    def abort(self) -> None:
        """End it at once, from any thread: who sends or receives on it notices."""
        with suppress(OSError):
            # Past the TLS layer, which is not to be used by two threads.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()

    def _shake_hands(self) -> bool:
        assert isinstance(self.socket, ssl.SSLSocket)
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self.wants_to_write = False
            return False
        except ssl.SSLWantWriteError:
            self.wants_to_write = True
            return False
        except OSError as error:
            if isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
                with suppress(OSError):
                    text = b"this server speaks HTTPS on this port\n"
                    head = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text)
                    socket.socket.send(self.socket, head + text)
            raise ConnectionError(f"no TLS: {error}") from error
        self._shaken, self.wants_to_write = True, False
        return True

    def _is_complete(self) -> bool:
        """Whether a request is complete, or is refused already, by what has arrived. Raises ConnectionError at the end."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                log.debug("a request is refused: %s", error)
                self._refused = error.error_status_hint
                return True
            if event is h11.NEED_DATA:
                return False
            if isinstance(event, h11.Request):
                self._request = event
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > MAX_BODY:
                    self._refused = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                    return True
            elif isinstance(event, h11.EndOfMessage):
                return True
            else:
                raise ConnectionError("the client has closed it")

    def _send(self, event: h11.Event) -> None:
        self.socket.sendall(self._http.send(event) or b"")

    def _answer(self, request: h11.Request, application: Application) -> None:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
            started.append((status, headers))
            return lambda data: None

        body = application(self._environment(request), start_response)
        try:
            status, headers = started[-1]
            fixed = [("Server", "image-tools"), ("Date", formatdate(usegmt=True))]
            response = h11.Response(status_code=int(status.split()[0]), headers=[*headers, *fixed])
            self._send(response)
            for piece in body if request.method != b"HEAD" else ():
                for part in self._http.send_with_data_passthrough(h11.Data(data=piece)) or ():
                    self.socket.sendall(part)
            self._send(h11.EndOfMessage())
        finally:
            if hasattr(body, "close"):
                body.close()

    def _environment(self, request: h11.Request) -> dict[str, Any]:
        """The request as PEP 3333 has it."""
        target = urlsplit(request.target.decode())
        host, port = self.socket.getsockname()[:2]
        environment: dict[str, Any] = {
            "REQUEST_METHOD": request.method.decode(),
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(target.path).decode("latin-1"),
            "QUERY_STRING": target.query,
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": f"HTTP/{request.http_version.decode()}",
            "REMOTE_ADDR": str(self._address[0]) if isinstance(self._address, tuple) else "",
            "CONTENT_LENGTH": str(len(self._body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if isinstance(self.socket, ssl.SSLSocket) else "http",
            "wsgi.input": io.BytesIO(self._body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in request.headers:
            key = f"HTTP_{name.decode().upper().replace('-', '_')}"
            text = value.decode("latin-1")
            environment[key] = f"{environment[key]},{text}" if key in environment else text
        return environment
