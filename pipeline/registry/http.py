"""HTTP/1.1 requests on connections that are used again: the only module that imports ``http.client``.

``Http.send`` sends one request and returns its ``Response``, whatever the status. Guarantees: nothing is decoded, redirected,
authorized or tried again here; at most ``connections`` sockets to one host at a time; every answer has a limit in time, and in
bytes where it is read whole; an interruption ends every call within a second; failures are ``RegistryError``.

Sources: RFC 9112 (HTTP/1.1), RFC 9110 (semantics).
"""

from __future__ import annotations

import http.client
import json
import math
import re
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, NoReturn
from urllib.parse import SplitResult, urlsplit

from pipeline.core.errors import Cause, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import MAX_MANIFEST_SIZE
from pipeline.core.redact import redact
from pipeline.registry import wire
from pipeline.registry.proxies import Proxy, proxy_for
from pipeline.registry.wire import Resolver, Wire

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
PIECE_TIME = 0.25
"""Seconds for which one ``readinto`` collects bytes."""
MAX_IDLE = 50.0
"""Seconds after which an unused connection is not trusted any more."""
AGENT = "image-tools"

_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
"""What OpenSSL calls an answer that is not TLS."""
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class Unreachable(RegistryError):
    """There is no connection: the name does not resolve, or nobody answers there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Cause.NETWORK)


class NotTls(RegistryError):
    """The host answers, but not with TLS."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} answers with plain HTTP where TLS was expected",
            Cause.CERTIFICATE,
            tip="-tls-verify=false allows plain HTTP, as does 'insecure = true' in registries.conf",
        )


class Url(NamedTuple):
    """An absolute address of HTTP. ``target`` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Raises ValueError with a reason."""
        url: SplitResult = urlsplit(text)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("not an http address")
        if _UNPRINTABLE.search(text):
            raise ValueError("it has characters that no address may have")
        target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
        return cls(url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80), target)

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, as ``Host`` says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


class Upload(NamedTuple):
    """A body that is sent in pieces. ``pieces`` begins anew at each call."""

    size: int
    pieces: Callable[[], Iterator[bytes]]


Body = bytes | Upload | None


@dataclass(frozen=True)
class Answer:
    """A small answer, read whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def words(self) -> str:
        """What a registry says: ``{"errors": [{"code": …, "message": …}]}`` (distribution-spec, "Error Codes")."""
        document = parse_json(self.data)
        errors = document.get("errors") if isinstance(document, Mapping) else None
        messages = [each.get("message") or each.get("code") for each in _mappings(errors)]
        return redact("; ".join(" ".join(str(each).split()) for each in messages if each))[:300]


class Response:
    """An answer whose body has not been read. A context manager: leaving it early gives its connection up."""

    def __init__(self, response: http.client.HTTPResponse, line: _Connection, host: str, stack: ExitStack) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in _joined(response.headers.items()).items()}
        self.length = response.length
        """Bytes of the body, None where that is not stated."""
        self._left = response.length
        self._response = response
        self._line = line
        self._host = host
        self._stack = stack
        self._error: BaseException | None = None

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
        """The whole answer. Raises RegistryError for one that is larger than a manifest may be."""
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
        reader = self._response.fp
        count = reader.readinto1(buffer[: self._left] if self._left < len(buffer) else buffer)
        if count == 0:
            raise http.client.IncompleteRead(b"", self._left)
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
        self._pools: dict[tuple[str, str, int, int], _Pool] = {}
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
        first_byte: float = FIRST_BYTE_TIME,
    ) -> Response:
        """The response to one request. ``tls`` is the context for https.

        ``whole`` is the limit in seconds for all of it; without one, ``first_byte`` for the head and ``NEXT_BYTE_TIME`` then.
        Raises RegistryError, Interrupted.
        """
        started = time.monotonic()
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
                response = line.request(method, url, {"User-Agent": AGENT, **headers}, body)
            except Exception as error:
                stack.close()
                self._interruption.check()
                if not is_fresh and method in ("GET", "HEAD") and isinstance(error, (ConnectionError, ssl.SSLEOFError)):
                    continue  # it was closed while nobody looked
                line.fail(error, url.authority)
            line.wire.patience = NEXT_BYTE_TIME if whole is None else first_byte
            log.debug("%s %s: %d, %.2f s", method, redact(str(url)), response.status, time.monotonic() - started)
            return Response(response, line, url.authority, stack)

    def _borrow(self, url: Url, tls: ssl.SSLContext | None) -> tuple[_Connection, bool]:
        """A connection, and whether it is a new one."""
        with self._lock:
            key = (url.scheme, url.host, url.port, id(tls))
            pool = self._pools.setdefault(key, _Pool(self._connections))
        line = pool.take(self._interruption)
        if line is not None:
            return line, False
        try:
            return _Connection(self._connect(url, tls), pool, self._interruption), True
        except BaseException:
            pool.put(None)
            raise

    def _give_back(self, line: _Connection) -> None:
        if not line.is_good:
            line.close()
        line.pool.put(line if line.is_good else None)

    def _connect(self, url: Url, tls: ssl.SSLContext | None) -> _Plug:
        """A socket that speaks to ``url``'s host. Raises RegistryError, Interrupted."""
        proxy = proxy_for(url.scheme, url.host, url.port)
        place = (proxy.host, proxy.port) if proxy else (url.host, url.port)
        named = f"the proxy {proxy.host}:{proxy.port}" if proxy else url.authority
        try:
            plain = wire.connect(*place, self._resolver, self._interruption)
        except OSError as error:
            raise _unreachable(named, error) from error
        with self._lock:
            self.connected += 1
        if url.scheme == "http":
            return _Plug(Wire(plain), proxy)
        if proxy:
            self._tunnel(plain, url, proxy)
        assert tls is not None, "https has a context"
        try:
            return _Plug(Wire(wire.secure(plain, tls, url.host, self._interruption)), None)
        except ssl.SSLCertVerificationError as error:
            message = f"{url.authority}: {Cause.CERTIFICATE.value}: {error.verify_message or error}"
            raise RegistryError(message, Cause.CERTIFICATE) from error
        except ssl.SSLError as error:
            if (error.reason or "") in _NOT_TLS:
                raise NotTls(url.authority) from error
            raise _network(url.authority, error) from error
        except OSError as error:
            raise _network(url.authority, error) from error

    def _tunnel(self, plain: Any, url: Url, proxy: Proxy) -> None:
        """Ask the proxy for a connection to the host (RFC 9110, section 9.3.6)."""
        line = Wire(plain)
        line.deadline = time.monotonic() + wire.CONNECT_TIMEOUT
        place = f"{f'[{url.host}]' if ':' in url.host else url.host}:{url.port}"
        login = f"Proxy-Authorization: {proxy.login}\r\n" if proxy.login else ""
        head = b""
        try:
            with self._interruption.stopping(line.shut):
                line.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: {AGENT}\r\n{login}\r\n".encode())
                # Byte by byte: what follows the head is the host's.
                while not head.endswith(b"\r\n\r\n") and len(head) < MAX_WORTH_READING:
                    line.await_bytes()
                    byte = plain.recv(1)
                    if not byte:
                        raise OSError("it closes the connection")
                    head += byte
        except OSError as error:
            plain.close()
            self._interruption.check()
            raise _network(f"the proxy {proxy.host}:{proxy.port}", error) from error
        status = head.split(b"\r\n", 1)[0].decode(errors="replace")
        if not re.match(r"HTTP/1\.[01] 2\d\d\b", status):
            plain.close()
            said = redact(_UNPRINTABLE.sub(" ", status)[:200])
            cause = Cause.UNAUTHORIZED if " 407" in status[:12] else Cause.NETWORK
            raise RegistryError(f"the proxy {proxy.host}:{proxy.port} does not connect to {place}: {said}", cause)


class _Plug(NamedTuple):
    wire: Wire
    proxy: Proxy | None
    """The one that is asked for everything, with the host in the address; None for the host itself, or a tunnel to it."""


class _Connection:
    """One socket, with one request at a time."""

    def __init__(self, plug: _Plug, pool: _Pool, interruption: Interruption) -> None:
        self.wire, self._proxy = plug
        self.pool = pool
        self.is_good = False
        self.used = time.monotonic()
        self._interruption = interruption
        self._http = http.client.HTTPConnection("host")
        # With a socket it does not connect; Wire has all that it asks of one.
        self._http.sock = self.wire

    def request(self, method: str, url: Url, headers: Mapping[str, str], body: Body) -> http.client.HTTPResponse:
        self.is_good = False
        more = {"Host": url.authority, "Accept-Encoding": "identity"}
        target = url.target
        if self._proxy:
            target = str(url)
            more |= {"Proxy-Authorization": self._proxy.login} if self._proxy.login else {}
        content: Any = body
        if isinstance(body, Upload):
            content = body.pieces()
            more["Content-Length"] = str(body.size)
        try:
            self._http.request(method, target, content, {**more, **headers})
        except (BrokenPipeError, ConnectionResetError):
            # Who refuses an upload may say why before it is over.
            if not body:
                raise
        return self._http.getresponse()

    def close(self) -> None:
        self._http.close()

    def fail(self, error: BaseException, host: str) -> NoReturn:
        """Raise what ``error`` means."""
        self._interruption.check()
        if isinstance(error, TimeoutError):
            # The socket itself says "timed out", or "The read operation timed out".
            reason = str(error) if "takes" in str(error) else f"for {self.wire.patience:.0f} s"
            raise RegistryError(f"{host}: {Cause.STALLED.value}, {reason}", Cause.STALLED) from error
        if isinstance(error, http.client.IncompleteRead):
            missing = f"{error.expected:,} bytes are missing" if error.expected else "its end is missing"
            raise RegistryError(f"{host}: {Cause.NETWORK.value}: the answer breaks off, {missing}", Cause.NETWORK) from error
        if isinstance(error, (OSError, http.client.HTTPException)):
            raise _network(host, error) from error
        if isinstance(error, ValueError):
            raise RegistryError(f"{host}: it cannot be asked so: {redact(str(error))[:200]}", Cause.UNSUPPORTED) from error
        raise error


class _Pool:
    """The connections to one host. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._idle: list[_Connection] = []
        self._changed = threading.Condition()

    def take(self, interruption: Interruption) -> _Connection | None:
        """A connection that is idle, or None for the right to make one; wait for that. Raises Interrupted."""
        with self._changed:
            while not self._idle and self._free <= 0:
                interruption.check()
                self._changed.wait(wire.POLL)
            while self._idle:
                line = self._idle.pop()
                if time.monotonic() - line.used < MAX_IDLE and not line.wire.is_stale():
                    return line
                line.close()
                self._free += 1
            self._free -= 1
            return None

    def put(self, line: _Connection | None) -> None:
        """Give one back, or the right to another."""
        with self._changed:
            if line is None:
                self._free += 1
            else:
                line.used = time.monotonic()
                self._idle.append(line)
            self._changed.notify()

    def close(self) -> None:
        """Close what is idle."""
        with self._changed:
            while self._idle:
                self._idle.pop().close()
                self._free += 1


def _close_all(pools: dict[tuple[str, str, int, int], _Pool]) -> None:
    for pool in pools.values():
        pool.close()


def parse_json(data: bytes | str) -> Any:
    """A JSON document, or None for what is not one: broken, or too deep."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _joined(items: list[tuple[str, str]]) -> dict[str, str]:
    """One value for each name: lines of one header are joined (RFC 9110, section 5.3)."""
    joined: dict[str, str] = {}
    for name, value in items:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _unreachable(host: str, error: OSError) -> RegistryError:
    import socket

    if isinstance(error, socket.gaierror):
        return Unreachable(f"{host}: the name does not resolve ({error.strerror or error})")
    return Unreachable(f"{host} cannot be reached: {error.strerror or error}")


def _network(host: str, error: Exception) -> RegistryError:
    words = redact(str(getattr(error, "strerror", None) or error) or type(error).__name__)
    return RegistryError(f"{host}: {Cause.NETWORK.value}: {words[:300]}", Cause.NETWORK)
