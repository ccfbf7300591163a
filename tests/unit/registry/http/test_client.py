"""Connections and their limits: kept alive, broken off, dripping, interrupted."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.core.errors import Cause, Interrupted, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.registry.http import client as http
from pipeline.registry.http import wire
from pipeline.registry.http.client import Http
from pipeline.registry.http.connections import NotTls, Unreachable
from pipeline.registry.http.message import Answer, Upload, Url
from tests.unit.registry.servers import Reply, Request, Server, authority, read_head, silent_port, talking


def url(host: str, path: str = "/", scheme: str = "http") -> Url:
    return Url.parse(f"{scheme}://{host}{path}")


def get(client: Http, host: str, path: str = "/", whole: float = 10.0) -> Answer:
    with client.send("GET", url(host, path), None, {}, whole=whole) as response:
        return response.read()


@pytest.fixture
def client() -> Http:
    return Http(Interruption(), 2)


def test_connections_are_used_again(client: Http) -> None:
    with Server(lambda request: (200, {}, b"x" * 100_000)) as server:
        assert [len(get(client, server.host).data) for _ in range(5)] == [100_000] * 5
        assert len({each.peer for each in server.seen}) == 1
        assert (client.count, client.connected) == (5, 1)


def test_no_more_connections_than_allowed(client: Http) -> None:
    def slowly(request: Request) -> Reply:
        time.sleep(0.02)
        return 200, {}, b""

    with Server(slowly) as server:
        threads = [threading.Thread(target=get, args=(client, server.host)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.seen) == 10
        assert len({each.peer for each in server.seen}) <= 2


def test_a_connection_that_was_closed_meanwhile(client: Http) -> None:
    """Before, or just as the next request comes: a GET is sent again."""

    def talk(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        if number == 2:
            read_head(connection)

    with talking(talk) as host:
        for _ in range(4):
            assert get(client, host).data == b"x"
            time.sleep(0.05)


@pytest.mark.parametrize("more", [b'{"a": 1}\n', b"x" * 100_000], ids=["a line", "a long line"])
def test_a_connection_on_which_more_comes_than_an_answer(client: Http, more: bytes) -> None:
    """A body after HEAD, just as the next request comes: what is asked then is asked again."""

    def talk(connection: socket.socket, number: int) -> None:
        if read_head(connection).startswith(b"HEAD"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(more))
            read_head(connection)
            connection.sendall(more)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    with talking(talk) as host:
        client.send("HEAD", url(host), None, {}).close()
        assert get(client, host).data == b"x"
        assert client.connected == 2


@pytest.mark.parametrize("how", ["length", "chunks", "close"])
def test_bodies(client: Http, how: str) -> None:
    data = bytes(range(256)) * 4000
    head = {
        "length": b"Content-Length: %d" % len(data),
        "chunks": b"Transfer-Encoding: chunked",
        "close": b"Connection: close",
    }[how]

    def talk(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        if how == "chunks":
            for at in range(0, len(data), 10_000):
                piece = data[at : at + 10_000]
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")
            read_head(connection)
        connection.sendall(b"" if how == "chunks" else data)

    with talking(talk) as host, client.send("GET", url(host), None, {}, whole=None) as response:
        buffer = memoryview(bytearray(300_000))
        found = b""
        while count := response.readinto(buffer):
            found += buffer[:count]
        assert found == data
        assert response.readinto(buffer) == 0


@pytest.mark.parametrize("end", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 99])
def test_an_answer_that_breaks_off(client: Http, end: bytes) -> None:
    """What came is given; then comes the error."""

    def talk(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(end)

    buffer = memoryview(bytearray(1000))

    def read(host: str) -> None:
        with client.send("GET", url(host), None, {}, whole=None) as response:
            assert response.readinto(buffer) == 99
            response.readinto(buffer)

    with talking(talk) as host, pytest.raises(RegistryError) as caught:
        read(host)
    assert caught.value.cause is Cause.NETWORK
    assert not end or "breaks off, 1 B are missing" in str(caught.value)


def dripping(head: bytes) -> Callable[[socket.socket, int], None]:
    def talk(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(head)
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    return talk


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
)
def test_a_byte_now_and_then_is_not_an_answer(client: Http, head: bytes) -> None:
    """In the head or the body: a small answer has a limit as a whole."""
    started = time.monotonic()
    with talking(dripping(head)) as host, pytest.raises(RegistryError, match="no data came any more") as caught:
        get(client, host, whole=0.2)
    assert caught.value.cause is Cause.STALLED
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_the_head_of_a_blob_has_a_limit(client: Http, head: bytes) -> None:
    with talking(dripping(head)) as host, pytest.raises(RegistryError, match="no data came any more"):
        client.send("GET", url(host), None, {}, whole=None, first_byte=0.2)


def test_a_blob_may_drip_but_not_stall(client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "NEXT_BYTE_TIME", 0.3)

    def talk(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(10):
            connection.sendall(b"x")
            time.sleep(0.06)
        time.sleep(5)

    buffer, counts = memoryview(bytearray(1000)), [1]

    def read(host: str) -> None:
        with client.send("GET", url(host), None, {}, whole=None) as response:
            while counts[-1]:
                counts.append(response.readinto(buffer))

    with talking(talk) as host, pytest.raises(RegistryError, match="no data came any more, for 0 s"):
        read(host)
    assert sum(counts) == 1 + 10


def test_an_answer_that_is_too_large(client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_MANIFEST_SIZE", 1000)
    with Server(lambda request: (200, {}, b"x" * int(request.path[1:]))) as server:
        assert len(get(client, server.host, "/1000").data) == 1000
        with pytest.raises(RegistryError, match="answers with more than any manifest has"):
            get(client, server.host, "/1001")


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"\0" * 70_000])
def test_what_is_not_http(client: Http, head: bytes) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(head)

    with talking(talk) as host, pytest.raises(RegistryError) as caught:
        get(client, host)
    assert caught.value.cause is Cause.NETWORK


@pytest.mark.parametrize("value", ["a\r\nb: c", "\u20ac"])
def test_headers_that_cannot_be_sent(client: Http, value: str) -> None:
    with Server(lambda request: (200, {}, b"")) as server, pytest.raises(RegistryError) as caught:
        client.send("GET", url(server.host), None, {"X": value})
    assert caught.value.cause is Cause.UNSUPPORTED


def test_nobody_listens(client: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(Unreachable, match=rf"^{host} cannot be reached: Connection refused$"):
        get(client, host)


def test_a_name_that_nobody_has(client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*ignored: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unreachable, match=r"^r\.invalid: the name does not resolve \(Name or service not known\)$"):
        get(client, "r.invalid")


def test_an_address_that_is_silent_holds_nobody_up(client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address of the name does not answer, the second one does."""
    real = socket.getaddrinfo
    with Server(lambda request: (200, {}, b"here")) as server, silent_port() as port_without_answers:

        def both(host: str, port: int, **more: int) -> list[object]:
            return [*real("127.0.0.1", port_without_answers, **more), *real("127.0.0.1", port, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", both)
        started = time.monotonic()
        assert get(client, server.host.replace("127.0.0.1", "r.example")).data == b"here"
        assert time.monotonic() - started < 5


# TLS


def test_certificates(client: Http) -> None:
    ca, context = authority()
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    with Server(lambda request: (200, {}, b"x"), tls=context) as server:
        for _ in range(2):
            with client.send("GET", url(server.host, scheme="https"), trusting, {}) as response:
                assert response.read().data == b"x"
        assert client.connected == 1
        with pytest.raises(RegistryError, match=r"bad certificate: .*(self-signed|local issuer)") as caught:
            client.send("GET", url(server.host, scheme="https"), ssl.create_default_context(), {})
        assert caught.value.cause is Cause.CERTIFICATE
        named = url(server.host.replace("127.0.0.1", "localhost"), scheme="https")
        with pytest.raises(RegistryError, match="bad certificate: Hostname mismatch"):
            client.send("GET", named, trusting, {})


def test_plain_http_where_tls_was_expected(client: Http) -> None:
    with Server(lambda request: (200, {}, b"x")) as server:
        with pytest.raises(NotTls, match="answers with plain HTTP where TLS was expected") as caught:
            client.send("GET", url(server.host, scheme="https"), ssl.create_default_context(), {})
        assert "-tls-verify=false" in caught.value.tip


# Uploads


def test_an_upload(client: Http) -> None:
    with Server(lambda request: (201, {}, b"")) as server:
        upload = Upload(300_000, lambda: iter([b"a" * 100_000, b"b" * 200_000]))
        with client.send("PUT", url(server.host), None, {}, upload) as response:
            assert response.read().status == 201
        assert server.seen[0].body == b"a" * 100_000 + b"b" * 200_000


def test_who_refuses_an_upload_may_say_why(client: Http) -> None:
    """Although the connection breaks while we send."""

    def talk(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(b'HTTP/1.1 413 No\r\nContent-Length: 35\r\n\r\n{"errors":[{"message":"too large"}]}')
        connection.shutdown(socket.SHUT_RD)
        time.sleep(0.5)

    def pieces() -> Iterator[bytes]:
        for _ in range(400):
            yield b"x" * 65536

    with talking(talk) as host, client.send("PUT", url(host), None, {}, Upload(400 * 65536, pieces)) as response:
        assert response.status == 413


# Proxies


def test_a_proxy_is_asked_for_everything(client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(lambda request: (200, {}, b"x")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{proxy.host}")
        assert get(client, "r.example", "/v2/").ok
        assert proxy.asked() == ["GET http://r.example/v2/"]
        assert proxy.seen[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
        assert proxy.seen[0].headers["host"] == "r.example"


def test_a_tunnel_through_a_proxy(client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    ca, context = authority()
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    heads: list[bytes] = []

    def talk(connection: socket.socket, number: int) -> None:
        heads.append(read_head(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as secure:
            heads.append(read_head(secure))
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
            read_head(secure)

    with talking(talk) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"me:secret@{proxy}")
        trusting.check_hostname = False
        with client.send("GET", url("r.example", "/v2/", scheme="https"), trusting, {"Authorization": "Basic x"}) as response:
            assert response.read().data == b"x"
    assert heads[0].startswith(b"CONNECT r.example:443 HTTP/1.1\r\n") and b"Proxy-Authorization: Basic bWU6" in heads[0]
    assert b"Authorization: Basic x" not in heads[0] and b"Proxy-" not in heads[1]


@pytest.mark.parametrize(("status", "cause"), [(407, Cause.UNAUTHORIZED), (503, Cause.NETWORK)])
def test_a_proxy_that_refuses(client: Http, monkeypatch: pytest.MonkeyPatch, status: int, cause: Cause) -> None:
    with Server(lambda request: (status, {}, b"")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.host)
        with pytest.raises(RegistryError, match=rf"the proxy {proxy.host} does not connect to r\.example:443: ") as caught:
            client.send("GET", url("r.example", scheme="https"), ssl.create_default_context(), {})
        assert caught.value.cause is cause


# Interruptions


def silent(connection: socket.socket, number: int) -> None:
    read_head(connection)
    time.sleep(20)


def half(connection: socket.socket, number: int) -> None:
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
    time.sleep(20)


def interrupted(work: Callable[[Http], object], connections: int = 2) -> None:
    """``work`` ends within a second of the interruption, as Interrupted."""
    interruption = Interruption()
    client = Http(interruption, connections)
    timer = threading.Timer(0.2, interruption.request, args=(15,))
    timer.start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        work(client)
    assert time.monotonic() - started < 0.2 + 1
    timer.join()


@pytest.mark.parametrize("talk", [silent, half])
def test_an_interruption_shuts_the_socket(talk: Callable[[socket.socket, int], None]) -> None:
    with talking(talk) as host:
        interrupted(lambda client: get(client, host))


def test_an_interruption_in_a_handshake() -> None:
    with talking(lambda connection, number: time.sleep(20)) as host:
        context = ssl.create_default_context()
        interrupted(lambda client: client.send("GET", url(host, scheme="https"), context, {}))


def test_an_interruption_while_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *ignored, **more: [] if over.wait(20) else None)
    interrupted(lambda client: get(client, "r.example"))
    over.set()


def test_an_interruption_while_others_have_the_connections() -> None:
    def work(client: Http) -> None:
        with client.send("GET", url(host), None, {}, whole=None):
            get(client, host)

    with talking(half) as host:
        interrupted(work, connections=1)


def test_a_lookup_is_shared_and_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = socket.getaddrinfo

    def count(host: str, port: int, **more: int) -> object:
        asked.append(host)
        return real("127.0.0.1", port, **more)

    monkeypatch.setattr(socket, "getaddrinfo", count)
    resolver = wire.Resolver()
    for _ in range(3):
        assert resolver.addresses("r.example", 80, Interruption())[0][3] == ("127.0.0.1", 80)
    assert asked == ["r.example"]


def test_addresses_as_they_are_sent() -> None:
    assert Url.parse("https://r.io:443/a?b#c") == Url("https", "r.io", 443, "/a?b")
    assert Url.parse("http://[::1]:5000").authority == "[::1]:5000"
    assert str(Url.parse("HTTP://R.io")) == "http://r.io/"


def test_encodings_are_not_asked_for(client: Http) -> None:
    with Server(lambda request: (200, {"Content-Encoding": "gzip"}, b"as it came")) as server:
        assert get(client, server.host).data == b"as it came"
        assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"A: 1\r\nB: 2\r\nA: 3\r\n", {"a": "1, 3", "b": "2"}),
        (b"A: 1\r\n  and 2\r\nB:3\r\n", {"a": "1 and 2", "b": "3"}),
        (b"Content-Length: 99999999999999999999\r\nConnection: close\r\n", {"content-length": "99999999999999999999"}),
        (b"no colon\r\n: no name\r\nA:\r\n", {"a": ""}),
    ],
)
def test_fields_of_a_header(client: Http, head: bytes, expected: dict[str, str]) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n" + head + b"\r\nbody")
        connection.shutdown(socket.SHUT_WR)

    with talking(talk) as host:
        answer = get(client, host)
    assert answer.data == b"body"
    assert {name: value for name, value in answer.headers.items() if name != "connection"} == expected
