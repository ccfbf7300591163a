"""Connections to hosts, with one request at a time on each. Only ``http`` and this module know ``http.client``.

``Pool.take`` gives a connection that is idle or the right to make one, ``connect`` makes one: directly, through a proxy, over
TLS. Failures are ``RegistryError`` and say what they mean: no such name, a bad certificate, no TLS, a connection that broke.

Sources: RFC 9112 (HTTP/1.1), RFC 9110, section 9.3.6 (CONNECT).
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple, NoReturn

from pipeline.core.amounts import bytes_text
from pipeline.core.errors import Cause, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.redact import redact
from pipeline.registry.http import wire
from pipeline.registry.http.message import Body, Upload, Url
from pipeline.registry.http.proxies import Proxy, proxy_for
from pipeline.registry.http.wire import Resolver, Wire

MAX_IDLE = 50.0
"""Seconds after which an unused connection is not trusted any more."""
POLL = 0.5
"""Seconds between two looks whether to stop, while others have all connections: dozens of threads may wait so for minutes."""
MAX_PROXY_HEAD = 64 * 1024
"""Bytes of a proxy's answer."""
MAX_LINE = 64 * 1024
MAX_FIELDS = 100
"""Bytes in one line of a header, and how many there may be."""
AGENT = "image-tools"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
"""What OpenSSL calls an answer that is not TLS."""


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


class Plug(NamedTuple):
    wire: Wire
    proxy: Proxy | None
    """The one that is asked for everything, with the host in the address; None for the host itself, or a tunnel to it."""


class RawResponse(http.client.HTTPResponse):
    """One whose header is read here: the parser of mail that ``http.client`` uses takes longer than a small blob."""

    def begin(self) -> None:
        """Read up to the body. As the method of the class above, but for the header (RFC 9112, sections 4 to 6)."""
        while True:
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            if status != http.client.CONTINUE:
                break
            _read_fields(self.fp)
        if not version.startswith(("HTTP/0.", "HTTP/1.")):
            raise http.client.UnknownProtocol(version)
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 11 if version.startswith("HTTP/1.") and version != "HTTP/1.0" else 10
        self.headers: Mapping[str, str] = _read_fields(self.fp)  # type: ignore[assignment]  # only asked by name
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.will_close = self._check_close()  # type: ignore[attr-defined]
        length = self.headers.get("content-length", "")
        is_stated = length.isascii() and length.isdecimal() and len(length) < 19 and not self.chunked
        self.length = int(length) if is_stated else None
        if status in (204, 304) or 100 <= status < 200 or self._method == "HEAD":  # type: ignore[attr-defined]
            self.length = 0
        if not self.chunked and self.length is None:
            self.will_close = True


def _read_fields(file: BinaryIO) -> dict[str, str]:
    """The fields of a header by name, in small letters; lines of one field are joined (RFC 9110, section 5.3).

    Reads the empty line after them, too. Raises HTTPException for a header without end.
    """
    fields: dict[str, str] = {}
    name = ""
    for _ in range(MAX_FIELDS):
        line = file.readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise http.client.LineTooLong("header line")
        text = line.decode("iso-8859-1").strip()
        if not text:
            return fields
        if line[:1] in b" \t" and name:  # a value goes on (section 5.2)
            fields[name] = f"{fields.get(name, '')} {text}"
            continue
        name, colon, value = text.partition(":")
        name = name.lower()
        if colon and name:
            fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
    raise http.client.HTTPException(f"more than {MAX_FIELDS} header fields")


class Connection:
    """One socket, with one request at a time."""

    def __init__(self, plug: Plug, pool: Pool, interruption: Interruption) -> None:
        self.wire, self._proxy = plug
        self.pool = pool
        self.is_good = False
        self.used = time.monotonic()
        self._interruption = interruption

    def request(self, method: str, url: Url, headers: Mapping[str, str], body: Body, patience: float) -> RawResponse:
        """Send a request; the head of the response, which must come within ``patience`` seconds from then on."""
        self.is_good = False
        try:
            self._send(method, url, headers, body)
        except (BrokenPipeError, ConnectionResetError):
            # Who refuses an upload may say why before it is over.
            if not body:
                raise
        self.wire.deadline = min(self.wire.deadline, time.monotonic() + patience)
        response = RawResponse(self.wire, method=method)  # type: ignore[arg-type]  # all that it asks of a socket
        try:
            response.begin()
        except BaseException:
            response.close()
            raise
        return response

    def _send(self, method: str, url: Url, headers: Mapping[str, str], body: Body) -> None:
        """Raises ValueError for what must not stand in a header."""
        fields = {"Host": url.authority, "Accept-Encoding": "identity", **headers}
        target = url.target
        if self._proxy:
            target = str(url)
            fields |= {"Proxy-Authorization": self._proxy.login} if self._proxy.login else {}
        if body is not None or method in ("POST", "PUT"):
            fields["Content-Length"] = str(body.size if isinstance(body, Upload) else len(body or b""))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        if " " in target or any(map(_CONTROL.search, lines)):
            raise ValueError(f"it has characters that no header may have: {target}")
        head = "\r\n".join([*lines, "", ""]).encode("iso-8859-1")
        if isinstance(body, Upload):
            self.wire.sendall(head)
            for piece in body.pieces():
                self.wire.sendall(piece)
        else:
            self.wire.sendall(head + body if body else head)

    def close(self) -> None:
        self.wire.close()

    def fail(self, error: BaseException, host: str) -> NoReturn:
        """Raise what ``error`` means."""
        self._interruption.check()
        if isinstance(error, TimeoutError):
            # The socket itself says "timed out", or "The read operation timed out".
            reason = str(error) if "takes" in str(error) else f"for {self.wire.patience:.0f} s"
            raise RegistryError(f"{host}: {Cause.STALLED.value}, {reason}", Cause.STALLED) from error
        if isinstance(error, http.client.IncompleteRead):
            missing = f"{bytes_text(error.expected)} are missing" if error.expected else "its end is missing"
            raise RegistryError(f"{host}: {Cause.NETWORK.value}: the answer breaks off, {missing}", Cause.NETWORK) from error
        if isinstance(error, (OSError, http.client.HTTPException)):
            raise _network(host, error) from error
        if isinstance(error, ValueError):
            raise RegistryError(f"{host}: it cannot be asked so: {redact(str(error))[:200]}", Cause.UNSUPPORTED) from error
        raise error


class Pool:
    """The connections to one host. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._idle: list[Connection] = []
        self._changed = threading.Condition()

    def take(self, interruption: Interruption) -> Connection | None:
        """A connection that is idle, or None for the right to make one; wait for that. Raises Interrupted."""
        while True:
            with self._changed:
                while not self._idle and self._free <= 0:
                    interruption.check()
                    self._changed.wait(POLL)
                if not self._idle:
                    self._free -= 1
                    return None
                line = self._idle.pop()
            # Not under the lock: others would wait for it and for the interpreter.
            if time.monotonic() - line.used < MAX_IDLE and not line.wire.is_stale():
                return line
            line.close()
            self.put(None)

    def put(self, line: Connection | None) -> None:
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


def connect(url: Url, tls: ssl.SSLContext | None, resolver: Resolver, interruption: Interruption) -> Plug:
    """A socket that speaks to ``url``'s host. Raises RegistryError, Interrupted."""
    proxy = proxy_for(url.scheme, url.host, url.port)
    place = (proxy.host, proxy.port) if proxy else (url.host, url.port)
    named = f"the proxy {proxy.host}:{proxy.port}" if proxy else url.authority
    try:
        plain = wire.connect(*place, resolver, interruption)
    except OSError as error:
        raise _unreachable(named, error) from error
    if url.scheme == "http":
        return Plug(Wire(plain), proxy)
    if proxy:
        _tunnel(plain, url, proxy, interruption)
    assert tls is not None, "https has a context"
    try:
        return Plug(Wire(wire.secure(plain, tls, url.host, interruption)), None)
    except ssl.SSLCertVerificationError as error:
        message = f"{url.authority}: {Cause.CERTIFICATE.value}: {error.verify_message or error}"
        raise RegistryError(message, Cause.CERTIFICATE) from error
    except ssl.SSLError as error:
        if (error.reason or "") in _NOT_TLS:
            raise NotTls(url.authority) from error
        raise _network(url.authority, error) from error
    except OSError as error:
        raise _network(url.authority, error) from error


def _tunnel(plain: socket.socket, url: Url, proxy: Proxy, interruption: Interruption) -> None:
    """Ask the proxy for a connection to the host (RFC 9110, section 9.3.6)."""
    line = Wire(plain)
    line.deadline = time.monotonic() + wire.CONNECT_TIMEOUT
    place = f"{f'[{url.host}]' if ':' in url.host else url.host}:{url.port}"
    login = f"Proxy-Authorization: {proxy.login}\r\n" if proxy.login else ""
    head = b""
    try:
        with interruption.stopping(line.shut):
            line.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: {AGENT}\r\n{login}\r\n".encode())
            # Byte by byte: what follows the head is the host's.
            while not head.endswith(b"\r\n\r\n") and len(head) < MAX_PROXY_HEAD:
                byte = bytearray(1)
                if not line.receive(byte):
                    raise OSError("it closes the connection")
                head += byte
    except OSError as error:
        plain.close()
        interruption.check()
        raise _network(f"the proxy {proxy.host}:{proxy.port}", error) from error
    status = head.split(b"\r\n", 1)[0].decode(errors="replace")
    if not re.match(r"HTTP/1\.[01] 2\d\d\b", status):
        plain.close()
        said = redact(ascii(status[:200]))
        cause = Cause.UNAUTHORIZED if " 407" in status[:12] else Cause.NETWORK
        raise RegistryError(f"the proxy {proxy.host}:{proxy.port} does not connect to {place}: {said}", cause)


def _unreachable(host: str, error: OSError) -> RegistryError:
    if isinstance(error, socket.gaierror):
        return Unreachable(f"{host}: the name does not resolve ({error.strerror or error})")
    return Unreachable(f"{host} cannot be reached: {error.strerror or error}")


def _network(host: str, error: Exception) -> RegistryError:
    words = redact(str(getattr(error, "strerror", None) or error) or type(error).__name__)
    return RegistryError(f"{host}: {Cause.NETWORK.value}: {words[:300]}", Cause.NETWORK)
