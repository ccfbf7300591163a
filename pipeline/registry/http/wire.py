"""Sockets: a name looked up, a host connected to, bytes read within a deadline.

``connect`` gives a ``Wire``, which ``http.client`` uses as its socket. Guarantees: an interruption waits for no name server and
no host; no read lasts beyond ``Wire.patience`` without a byte, or beyond ``Wire.deadline`` at all; addresses that do not
answer do not hold up those that do (RFC 8305, "Happy Eyeballs").
"""

from __future__ import annotations

import io
import math
import os
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pipeline.core.interruption import Interruption

CONNECT_TIMEOUT = 15.0
"""Seconds for the name, for the connection, and for the TLS handshake, each."""
STAGGER = 0.25
"""Seconds that one address has before the next one is tried beside it (RFC 8305, "Connection Attempt Delay")."""
LOOKUP_LIFETIME = 60.0
"""Seconds for which the addresses of a name are used again."""
PIECE_TIME = 0.25
"""Seconds for which one call collects bytes."""
TOLERANCE = 1.01
"""How much longer than it should be a limit may last that is set already: to set one takes two calls."""
POLL = 0.1
"""Seconds between two looks whether to stop."""

_Address = tuple[int, int, int, Any]
"""Family, type, protocol and address, as ``socket.getaddrinfo`` names them."""


class Wire:
    """A connected socket with limits in time. Raises TimeoutError where one of them is reached.

    Without TLS the kernel keeps the limits. Python's own cost a call more for each piece of some kilobytes, and each call may
    wait for the interpreter, which dozens of threads want; but TLS knows no others.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._is_plain = not isinstance(connection, ssl.SSLSocket)
        if self._is_plain:
            connection.settimeout(None)
        self._limit = 0.0
        self.patience = CONNECT_TIMEOUT
        """Seconds without a byte."""
        self.deadline = math.inf
        """When all must be over, by ``time.monotonic``."""
        self._reader: _Reader | None = None
        self._is_closed = False

    def receive(self, buffer: memoryview | bytearray) -> int:
        """What comes next, 0 where the other side has ended."""
        self._set_limit(self.patience)
        try:
            return self.socket.recv_into(buffer)
        except BlockingIOError as error:
            raise TimeoutError("timed out") from error

    def fill(self, buffer: memoryview) -> int:
        """Fill ``buffer``, or what comes within ``PIECE_TIME``, but at least a byte; 0 where the other side has ended."""
        if not self._is_plain:
            return self.receive(buffer)
        until = time.monotonic() + self.patience
        while True:
            self._set_limit(PIECE_TIME)
            try:
                return self.socket.recv_into(buffer, 0, socket.MSG_WAITALL)
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise TimeoutError("timed out") from error

    def _set_limit(self, seconds: float) -> None:
        """For the next call of the socket: so long, and no longer than until the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        limit = min(left, seconds)
        if limit <= self._limit <= limit * TOLERANCE:
            return
        self._limit = limit
        if self._is_plain:
            value = struct.pack("ll", int(limit), int(limit % 1 * 1e6) or 1)  # nothing at all would be no limit
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        else:
            self.socket.settimeout(limit)

    def shut(self) -> None:
        """End the conversation, from any thread: whoever waits for a byte gets an error at once."""
        # Not SSLSocket's own, which would say good-bye first and forget that there is TLS.
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def is_stale(self) -> bool:
        """Whether the other side has closed, or has said something unasked."""
        if not self._is_plain:
            self._limit = 0.0
            self.socket.settimeout(0)
        try:
            return socket.socket.recv(self.socket, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT) is not None
        except BlockingIOError:
            return False
        except OSError:
            return True

    # For http.client

    def sendall(self, data: bytes) -> None:
        self._set_limit(self.patience)
        try:
            self.socket.sendall(data)
        except BlockingIOError as error:
            raise TimeoutError("timed out") from error

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        self._reader = _Reader(self)
        return io.BufferedReader(self._reader)

    def close(self) -> None:
        """Close, but let a reader come to its end, as ``socket.close`` does."""
        self._is_closed = True
        if self._reader is None or self._reader.closed:
            self.socket.close()

    def reader_closed(self) -> None:
        if self._is_closed:
            self.socket.close()


class _Reader(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive(buffer)

    def close(self) -> None:
        super().close()
        self._wire.reader_closed()


class Resolver:
    """Addresses of names, each looked up by a daemon thread: nothing can wake who waits for a name server. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], _Lookup] = {}

    def addresses(self, host: str, port: int, interruption: Interruption) -> Sequence[_Address]:
        """Raises socket.gaierror, TimeoutError, Interrupted. Threads that ask for one name wait for one look-up."""
        with self._lock:
            lookup = self._lookups.get((host, port))
            if lookup is None or lookup.is_over:
                lookup = self._lookups[host, port] = _Lookup(host, port)
        with interruption.stopping(lookup.stop_waiting):
            was_done = lookup.done.wait(CONNECT_TIMEOUT)
        interruption.check()
        if not was_done:
            raise TimeoutError(f"no name server answers, for {CONNECT_TIMEOUT:.0f} s")
        if lookup.error is not None:
            raise lookup.error
        return lookup.found


class _Lookup:
    def __init__(self, host: str, port: int) -> None:
        self.done = threading.Event()
        self.found: list[_Address] = []
        self.error: OSError | None = None
        self._place = (host, port)
        self._ends = time.monotonic() + LOOKUP_LIFETIME
        threading.Thread(target=self._run, name=f"lookup {host}", daemon=True).start()

    @property
    def is_over(self) -> bool:
        return self.error is not None or time.monotonic() > self._ends

    def stop_waiting(self) -> None:
        self.done.set()

    def _run(self) -> None:
        try:
            answers = socket.getaddrinfo(*self._place, type=socket.SOCK_STREAM)
            self.found = _interleaved([(family, kind, protocol, address) for family, kind, protocol, _, address in answers])
        except OSError as error:
            self.error = error
        except UnicodeError as error:
            self.error = socket.gaierror(socket.EAI_NONAME, f"not a host name: {error}")
        self.done.set()


def connect(host: str, port: int, resolver: Resolver, interruption: Interruption) -> socket.socket:
    """A connected socket. Raises OSError (socket.gaierror, ConnectionRefusedError, TimeoutError, ...), Interrupted."""
    waiting = list(resolver.addresses(host, port, interruption))
    deadline = time.monotonic() + CONNECT_TIMEOUT
    next_start = 0.0
    errors: list[OSError] = []
    open_sockets: list[socket.socket] = []
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or open_sockets:
                interruption.check()
                now = time.monotonic()
                if now > deadline:
                    raise TimeoutError(f"no answer for {CONNECT_TIMEOUT:.0f} s")
                if waiting and (now >= next_start or not open_sockets):
                    attempt = _begin(waiting.pop(0), errors)
                    if attempt is not None:
                        open_sockets.append(attempt)
                        selector.register(attempt, selectors.EVENT_WRITE)
                    next_start = now + STAGGER
                    if attempt is None:
                        continue
                for key, _ in selector.select(POLL):
                    done = key.fileobj
                    assert isinstance(done, socket.socket)
                    selector.unregister(done)
                    open_sockets.remove(done)
                    code = done.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        done.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        return done
                    done.close()
                    errors.append(OSError(code, os.strerror(code)))
            raise errors[0] if errors else OSError("the name has no address")
        finally:
            for each in open_sockets:
                each.close()


def secure(plain: socket.socket, context: ssl.SSLContext, host: str, interruption: Interruption) -> ssl.SSLSocket:
    """TLS over a connected socket, which is closed where that fails. Raises ssl.SSLError, OSError, Interrupted."""
    plain.settimeout(CONNECT_TIMEOUT)
    secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    try:
        with interruption.stopping(Wire(secured).shut):
            secured.do_handshake()
    except BaseException:
        secured.close()
        interruption.check()
        raise
    return secured


def _begin(place: _Address, errors: list[OSError]) -> socket.socket | None:
    family, kind, protocol, address = place
    attempt = None
    try:
        attempt = socket.socket(family, kind, protocol)
        attempt.setblocking(False)
        attempt.connect(address)
    except BlockingIOError:
        pass
    except OSError as error:
        errors.append(error)
        if attempt is not None:
            attempt.close()
        return None
    return attempt


def _interleaved(addresses: list[_Address]) -> list[_Address]:
    """The families in turn (RFC 8305, section 4), so that one that does not work costs little."""
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    paired = [each for pair in zip(first, others, strict=False) for each in pair]
    return paired + first[len(others) :] + others[len(first) :]
