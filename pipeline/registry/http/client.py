"""HTTP/1.1 requests on connections that are used again.

``Http.send`` sends one request and returns its ``Response``, whatever the status. Guarantees: nothing is decoded, redirected,
authorized or tried again here; at most ``connections`` sockets to one host at a time; every answer has a limit in time, and in
bytes where it is read whole; an interruption ends every call within a second; failures are ``RegistryError``.

Sources: RFC 9112 (HTTP/1.1), RFC 9110 (semantics).
"""

from __future__ import annotations

import logging
import math
import ssl
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from http.client import HTTPException, IncompleteRead
from io import DEFAULT_BUFFER_SIZE
from types import TracebackType

from pipeline.core.errors import Cause, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import MAX_MANIFEST_SIZE
from pipeline.core.redact import redact
from pipeline.registry.http.connections import AGENT, Connection, Pool, RawResponse, connect
from pipeline.registry.http.message import Answer, Body, Url
from pipeline.registry.http.wire import PIECE_TIME, Resolver

SMALL_ANSWER_TIME = 120.0
"""Seconds for an answer as a whole, if it is not a blob."""
FIRST_BYTE_TIME = 120.0
"""Seconds until a blob begins: some mirrors fetch it all before they send its first byte."""
NEXT_BYTE_TIME = 60.0
"""Seconds without a byte of a blob."""
UPLOAD_TIME = 600.0
"""Seconds until a blob that was sent is acknowledged: a registry on an object store may need minutes."""
MAX_WORTH_READING = 64 * 1024
"""Bytes of an answer that nobody needs, which are read so that its connection can be used again."""
_SPOILT = (ConnectionError, ssl.SSLEOFError, HTTPException)
"""Of a kept connection: it was closed while nobody looked, or more came than the answer before has (a body after HEAD, say)."""


class Response:
    """An answer whose body has not been read. A context manager: leaving it early gives its connection up."""

    def __init__(self, response: RawResponse, line: Connection, host: str, stack: ExitStack) -> None:
        self.status = response.status
        self.headers = response.headers
        self.length = response.length
        """Bytes of the body, None where that is not stated."""
        self._left = response.length
        self._response = response
        self._line = line
        self._host = host
        self._stack = stack
        self._error: BaseException | None = None
        self._came_along: memoryview | None = None
        """What was read with the head, and not given yet."""

    def __enter__(self) -> Response:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back, if the body was read to its end or the rest of it is small."""
        with suppress(RegistryError):
            if self._left is not None and 0 < self._left <= MAX_WORTH_READING and self._error is None:
                self._line.wire.deadline = min(self._line.wire.deadline, time.monotonic() + 1)
                self.readinto(memoryview(bytearray(self._left)))
        self._line.is_good = self._left == 0 and self._error is None and not self._response.will_close
        self._response.close()
        self._stack.close()

    def read(self) -> Answer:
        """The whole answer. Raises RegistryError for one that is larger than a manifest may be, or takes too long."""
        self._line.wire.deadline = min(self._line.wire.deadline, time.monotonic() + SMALL_ANSWER_TIME)
        data = bytearray()
        buffer = memoryview(bytearray(1 << 16 if self.length is None else min(self.length, MAX_MANIFEST_SIZE) + 1))
        while count := self.readinto(buffer):
            data += buffer[:count]
            if len(data) > MAX_MANIFEST_SIZE:
                self._error = self._error or ValueError()
                raise RegistryError(f"{self._host} answers with more than any manifest has", Cause.UNSUPPORTED)
        return Answer(self.status, self.headers, bytes(data))

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer``, or what comes within a moment; 0 at the end. Raises RegistryError where the body breaks off."""
        if self._left == 0 or not len(buffer):
            return 0
        filled, soon = 0, time.monotonic() + PIECE_TIME
        try:
            if self._error is not None:
                raise self._error
            while filled < len(buffer) and self._left != 0:
                count = self._piece(buffer[filled:])
                if count == 0:
                    break
                filled += count
                if time.monotonic() > soon:
                    break
        except Exception as error:
            self._error = error
            if not filled:  # what came before is not lost; the error comes with the next call
                self._line.fail(error, self._host)
        return filled

    def _piece(self, buffer: memoryview) -> int:
        """At least one byte, or 0 at the end."""
        if self._left is None:
            # Chunks, or up to the end of the connection.
            data = self._response.read1(len(buffer))
            buffer[: len(data)] = data
            if not data:
                self._left = 0
            return len(data)
        wanted = buffer[: self._left] if self._left < len(buffer) else buffer
        if self._came_along is None:
            self._came_along = memoryview(self._response.fp.read1(min(self._left, DEFAULT_BUFFER_SIZE)))
        count = min(len(wanted), len(self._came_along))
        if count:
            wanted[:count] = self._came_along[:count]
            self._came_along = self._came_along[count:]
        else:
            count = self._line.wire.fill(wanted)
        if count == 0:
            raise IncompleteRead(b"", self._left)
        self._left -= count
        return count


class Http:
    """Connections to all hosts. Thread-safe."""

    def __init__(self, interruption: Interruption, connections: int) -> None:
        """With at most so many ``connections`` to one host."""
        self._interruption = interruption
        self._connections = connections
        self._resolver = Resolver()
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str, int, int], Pool] = {}
        weakref.finalize(self, _close_all, self._pools)
        self.count = 0
        """Requests so far."""
        self.connected = 0
        """Connections so far."""

    def send(
        self,
        method: str,
        url: Url,
        tls: ssl.SSLContext | None,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        whole: float | None = SMALL_ANSWER_TIME,
        first_byte: float | None = None,
    ) -> Response:
        """The response to one request. ``tls`` is the context for https.

        ``first_byte`` is the limit in seconds for the head, once the request is sent (default ``FIRST_BYTE_TIME``);
        ``whole`` the one for everything. Without that, the body must not stand still for ``NEXT_BYTE_TIME``. Raises
        RegistryError, Interrupted.
        """
        started = time.monotonic()
        first_byte = FIRST_BYTE_TIME if first_byte is None else first_byte
        with self._lock:
            self.count += 1
        while True:
            line, is_fresh = self._borrow(url, tls)
            line.wire.patience = first_byte
            line.wire.deadline = time.monotonic() + whole if whole is not None else math.inf
            stack = ExitStack()
            stack.callback(self._give_back, line)
            stack.enter_context(self._interruption.stopping(line.wire.shut))
            try:
                response = line.request(method, url, {"User-Agent": AGENT, **headers}, body, first_byte)
            except Exception as error:
                stack.close()
                self._interruption.check()
                if not is_fresh and method in ("GET", "HEAD") and isinstance(error, _SPOILT):
                    continue
                line.fail(error, url.authority)
            if whole is None:
                line.wire.patience, line.wire.deadline = NEXT_BYTE_TIME, math.inf
            if log.isEnabledFor(logging.DEBUG):  # what is redacted takes as long as a request on loopback
                log.debug("%s %s: %d, %.2f s", method, redact(str(url)), response.status, time.monotonic() - started)
            return Response(response, line, url.authority, stack)

    def _borrow(self, url: Url, tls: ssl.SSLContext | None) -> tuple[Connection, bool]:
        """A connection, and whether it is a new one."""
        with self._lock:
            key = (url.scheme, url.host, url.port, id(tls))
            pool = self._pools.setdefault(key, Pool(self._connections))
        line = pool.take(self._interruption)
        if line is not None:
            return line, False
        try:
            plug = connect(url, tls, self._resolver, self._interruption)
        except BaseException:
            pool.put(None)
            raise
        with self._lock:
            self.connected += 1
        return Connection(plug, pool, self._interruption), True

    def _give_back(self, line: Connection) -> None:
        if not line.is_good:
            line.close()
        line.pool.put(line if line.is_good else None)


def _close_all(pools: dict[tuple[str, str, int, int], Pool]) -> None:
    for pool in pools.values():
        pool.close()
