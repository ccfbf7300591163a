"""A proxy that stands between skopeo and a registry, passes requests on, and misbehaves on command.

    with FaultProxy(registry.host) as proxy:
        proxy.fault(r"/blobs/", Status(429, retry_after=1), times=2)      # the first two requests for blobs
        proxy.fault(r"/manifests/v1$", Stall(60))                         # then silence, once

The first fault that matches a request and is not used up takes it; later requests fall to later faults or go through.
Requests are recorded before anything of the response goes out, so that what a client has seen is in the record.
``close`` ends stalls and connections at once and waits for every thread: nothing leaks. Plain HTTP on 127.0.0.1 only.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.support.http_server import HttpHandler, HttpServer

CHUNK = 16 * 1024
"""Bytes passed on at once."""
SETTLE = 0.02
"""Seconds between the last byte and a reset."""
TOKENS = "/token"
"""Where tokens are given."""
UPSTREAM_LIMIT = 30.0
"""Seconds that the registry behind may stay silent."""


@dataclass(frozen=True)
class Status:
    """Answer with an error in the registry's JSON form, without asking the registry. ``retry_after`` in seconds, or a date.

    With ``text`` it says that instead of what registries usually say.
    """

    code: int
    retry_after: int | str | None = None
    text: str = ""


@dataclass(frozen=True)
class Reset:
    """Send ``after`` bytes of the body, then reset the connection (RST). With ``after=-1`` not even the head is sent."""

    after: int = 0


@dataclass(frozen=True)
class Truncate:
    """Announce the whole length, send ``after`` bytes of the body, then close in good order (FIN)."""

    after: int = 0


@dataclass(frozen=True)
class WrongBytes:
    """Flip the bits of one byte of the body, at ``at`` (counted from the end when negative); the length stays right."""

    at: int = 0


@dataclass(frozen=True)
class Stall:
    """Send ``after`` bytes of the body, then nothing for ``seconds``, then the rest. With ``after=-1`` the head waits, too.

    ``FaultProxy.release`` ends the wait earlier.
    """

    seconds: float
    after: int = 0


@dataclass(frozen=True)
class Slow:
    """Send the body at about this many bytes a second."""

    bytes_per_second: int


@dataclass(frozen=True)
class NoRange:
    """Know no ranges: answer with 200 and the whole body."""


@dataclass(frozen=True)
class WrongRange:
    """Answer with 206 and a range that begins so many bytes after the one that was asked for."""

    by: int = 1


@dataclass(frozen=True)
class Replaced:
    """Serve another version of the file: another ETag, and where a range is asked for, other bytes in it."""


@dataclass(frozen=True)
class ExpiredToken:
    """Answer with 401 and the demand for a token, which the proxy gives to whoever asks at ``/token``."""


@dataclass(frozen=True)
class Redirect:
    """Answer with 307 and this address."""

    location: str


@dataclass(frozen=True)
class NoMount:
    """Know no mounts, as zot without dedupe: open an upload instead (202)."""


Fault = (
    NoMount | Status | Reset | Truncate | WrongBytes | Stall | Slow | NoRange | WrongRange | Replaced | ExpiredToken | Redirect
)


@dataclass(frozen=True)
class Seen:
    """A request that came in. ``at`` is ``time.monotonic()``; ``status`` is what was answered, 0 for none."""

    at: float
    method: str
    path: str
    status: int
    fault: Fault | None
    range: str = ""
    """The header of that name."""


@dataclass
class Rule:
    """A fault and the requests it is for; see ``FaultProxy.fault``. ``used`` counts how often it struck."""

    path: re.Pattern[str]
    fault: Fault
    method: str | None
    times: int | None
    skip: int
    used: int = 0


class FaultProxy:
    """A proxy before ``upstream`` (``127.0.0.1:PORT``), itself at ``host``. Starts at once; close it."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self._changed = threading.Condition()
        self._rules: list[Rule] = []
        self._seen: list[Seen] = []
        self._released = threading.Event()
        self._server = _Server(self)
        self._server.start()

    @property
    def host(self) -> str:
        return self._server.host

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop: stalls end, connections break, threads are gone when this returns. May be called twice."""
        self._released.set()
        self._server.stop()
        self._server.disconnect()
        self._server.server_close()

    def fault(self, path: str, fault: Fault, *, method: str | None = None, times: int | None = 1, skip: int = 0) -> Rule:
        """Let ``fault`` strike the next ``times`` requests (None: all) whose path matches the regex ``path`` anywhere.

        ``skip`` lets that many matching requests through first. The query is no part of the path.
        """
        rule = Rule(re.compile(path), fault, method, times, skip)
        with self._changed:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all faults and all requests so far; running stalls end."""
        self.release()
        with self._changed:
            self._rules.clear()
            self._seen.clear()

    def release(self) -> None:
        """End the stalls that are running; later ones last again."""
        released, self._released = self._released, threading.Event()
        released.set()

    @property
    def requests(self) -> list[Seen]:
        with self._changed:
            return list(self._seen)

    def wait_for(self, path: str, count: int = 1, timeout: float = 10.0) -> list[Seen]:
        """Wait until ``count`` requests match the regex ``path``, and return those that do."""

        def matching() -> list[Seen]:
            return [seen for seen in self._seen if re.search(path, seen.path)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(matching()) >= count, timeout):
                raise AssertionError(f"{len(matching())} of {count} requests for {path} came within {timeout:.0f} s")
            return matching()

    # For the handlers

    def headers_of(self, method: str, path: str, status: int) -> Mapping[str, str]:
        """What is added to the registry's own answer. For those that imitate more than faults."""
        return {}

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for a request, counted as used."""
        with self._changed:
            for rule in self._rules:
                if (rule.method and rule.method != method) or not rule.path.search(path):
                    continue
                if rule.times is not None and rule.used >= rule.times:
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                rule.used += 1
                return rule.fault
        return None

    def _record(self, seen: Seen) -> None:
        with self._changed:
            self._seen.append(seen)
            self._changed.notify_all()


class _Server(HttpServer):
    """Keeps its connections in hand, so that closing can break them, and waits for its threads."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._to_reset: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(_Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
            reset = request in self._to_reset
            self._to_reset.discard(request)
        if reset:
            # With a linger time of zero, closing sends RST; shutting down first would send FIN.
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def reset_at_end(self, connection: socket.socket) -> None:
        """Let the connection end with RST instead of FIN."""
        with self._lock:
            self._to_reset.add(connection)

    def disconnect(self) -> None:
        """Wake every handler that reads from or writes to its client."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Broken(Exception):
    """The connection to the client is to be given up."""


class _Handler(HttpHandler):
    """One client connection, and one connection to the registry for as long as it lasts."""

    server: _Server

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=UPSTREAM_LIMIT)

    def finish(self) -> None:
        self._upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def _serve(self) -> None:
        path = self.path.partition("?")[0]
        fault = self.server.proxy.take(self.command, path)
        body = self._request_body()
        try:
            if path == TOKENS:
                self._answer(200, b'{"token":"%d"}' % time.monotonic_ns())
            elif isinstance(fault, Status):
                self._refuse(path, fault)
            elif isinstance(fault, ExpiredToken):
                self._record(path, 401, fault)
                self._answer(401, b"", f'Bearer realm="http://{self.server.proxy.host}{TOKENS}",service="fault proxy"')
            elif isinstance(fault, Redirect):
                self._redirect(path, fault)
            else:
                self._pass_on(path, body, fault)
        except (OSError, http.client.HTTPException, _Broken):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve

    def _record(self, path: str, status: int, fault: Fault | None) -> None:
        asked = self.headers.get("Range", "")
        self.server.proxy._record(Seen(time.monotonic(), self.command, path, status, fault, asked))

    def _request_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _refuse(self, path: str, fault: Status) -> None:
        code, text = _ERRORS.get(fault.code, ("UNKNOWN", "made by the fault proxy"))
        text = fault.text or text
        body = f'{{"errors":[{{"code":"{code}","message":"{text}"}}]}}\n'.encode()
        self._record(path, fault.code, fault)
        self.send_response(fault.code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if fault.retry_after is not None:
            self.send_header("Retry-After", str(fault.retry_after))
        if fault.code == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="fault proxy"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer(self, status: int, body: bytes, challenge: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self, path: str, fault: Redirect) -> None:
        self._record(path, 307, fault)
        self.send_response(307)
        self.send_header("Location", fault.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _pass_on(self, path: str, body: bytes, fault: Fault | None) -> None:
        before_head = isinstance(fault, (Reset, Stall)) and fault.after < 0
        if before_head:
            self._record(path, 0, fault)
            self._strike(fault)
        self._ask_upstream(body, fault)
        with self._upstream.getresponse() as response:
            if not before_head:
                self._record(path, response.status, fault)
            length = response.getheader("Content-Length")
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() == "etag" and isinstance(fault, Replaced):
                    value = '"another version"'
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, self._rewritten(name, value))
            for name, value in self.server.proxy.headers_of(self.command, path, response.status).items():
                self.send_header(name, value)
            bodiless = self.command == "HEAD" or response.status in (204, 304)
            chunked = length is None and not bodiless
            if length is not None:
                self.send_header("Content-Length", length)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            pieces = iter(()) if bodiless else _pieces(response)
            send = self._send_chunk if chunked else self._send
            if isinstance(fault, Replaced) and response.status == 206:
                fault = WrongBytes(0)
            self._send_body(pieces, int(length or 0), send, None if before_head else fault)
            if chunked:
                self._send(b"0\r\n\r\n")

    def _ask_upstream(self, body: bytes, fault: Fault | None) -> None:
        """The client's request once more. Headers may repeat: skopeo sends one ``Accept`` for each media type."""
        target = self.path.partition("?")[0] if isinstance(fault, NoMount) else self.path
        self._upstream.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
        # Its own name, not ours: what the registry then says of itself in headers has to be rewritten, as behind any proxy.
        self._upstream.putheader("Host", self.server.proxy.upstream)
        for name, value in self.headers.items():
            if name.lower() == "range" and isinstance(fault, NoRange):
                continue
            if name.lower() == "range" and isinstance(fault, WrongRange):
                value = re.sub("[0-9]+", lambda match: str(int(match[0]) + fault.by), value, count=1)
            if name.lower() not in _HOP_BY_HOP:
                self._upstream.putheader(name, value)
        if body or self.command in ("POST", "PUT", "PATCH"):
            self._upstream.putheader("Content-Length", str(len(body)))
        self._upstream.endheaders(body or None)

    def _rewritten(self, name: str, value: str) -> str:
        """A Location that leads to the registry shall lead to us."""
        if name.lower() not in ("location", "www-authenticate"):
            return value
        return value.replace(f"http://{self.server.proxy.upstream}", f"http://{self.server.proxy.host}")

    def _send_body(self, pieces: Iterator[bytes], length: int, send: Callable[[bytes], None], fault: Fault | None) -> None:
        """The body, with the fault where it belongs: after ``fault.after`` bytes, at one byte, or all along."""
        border = fault.after if isinstance(fault, (Reset, Truncate, Stall)) else -1
        flipped = -1
        if isinstance(fault, WrongBytes):
            flipped = fault.at if fault.at >= 0 else length + fault.at
        sent = 0
        for piece in pieces:
            data = piece
            if sent <= flipped < sent + len(data):
                data = _flip(data, flipped - sent)
            if sent <= border < sent + len(data):
                send(data[: border - sent])
                self._strike(fault)
                data = data[border - sent :]
            if isinstance(fault, Slow):
                self._send_slowly(data, fault.bytes_per_second, send)
            else:
                send(data)
            sent += len(piece)
        if isinstance(fault, (Reset, Truncate)):
            # It was to strike after the last byte, or beyond: the connection ends all the same.
            self._strike(fault)

    def _strike(self, fault: Fault | None) -> None:
        if isinstance(fault, Stall):
            self.server.proxy._released.wait(fault.seconds)
            return
        if isinstance(fault, Reset):
            # What was sent shall arrive first: a reset overtakes bytes that still wait.
            time.sleep(SETTLE)
            self.server.reset_at_end(self.connection)
        raise _Broken

    def _send_slowly(self, data: bytes, bytes_per_second: int, send: Callable[[bytes], None]) -> None:
        step = max(1, bytes_per_second // 20)
        for at in range(0, len(data), step):
            send(data[at : at + step])
            if self.server.proxy._released.wait(step / bytes_per_second):
                send(data[at + step :])
                return

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)

    def _send_chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := response.read(CHUNK):
        yield piece


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade", "host"})

_ERRORS = {
    401: ("UNAUTHORIZED", "authentication required"),
    403: ("DENIED", "requested access to the resource is denied"),
    404: ("MANIFEST_UNKNOWN", "manifest unknown"),
    429: ("TOOMANYREQUESTS", "too many requests"),
}
"""Code and message of the distribution specification, "Error Codes"."""
