"""Redirects, plain HTTP, pauses and probes."""

from __future__ import annotations

import email.utils
import json
import socket
import ssl
import time
from pathlib import Path

import pytest

from pipeline.core.bundle import Access
from pipeline.core.errors import Cause, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.reference import parse
from pipeline.registry import session
from pipeline.registry.distribution import Distribution
from pipeline.registry.http import wire
from pipeline.registry.http.message import Answer
from pipeline.registry.login.auth import Site
from pipeline.registry.throttle import GivenUp
from tests.unit.registry.servers import Reply, Request, Server, authority, read_head, silent_port, talking


def make(retries: int = 0, tls_verify: bool = False, cert_dir: Path | None = None) -> Distribution:
    access = Access(tls_verify=tls_verify, retries=retries, cert_dir=cert_dir)
    return Distribution(access, Interruption(), connections=2)


def ask(host: str, distribution: Distribution | None = None, path: str = "/v2/x") -> Answer:
    return (distribution or make()).session.ask("GET", Site(host, host), path, "it")


# Redirects


def test_no_more_redirects_than_allowed() -> None:
    def reply(request: Request) -> Reply:
        number = int(request.path.rpartition("/")[2])
        return (307, {"Location": f"{number - 1}"}, b"") if number else (200, {}, b"there")

    with Server(reply) as server:
        assert ask(server.host, path="/v2/5").data == b"there"
        with pytest.raises(RegistryError, match="network error: more than 5 redirects"):
            ask(server.host, path="/v2/6")


@pytest.mark.parametrize("location", ["", "http://[::1", "ftp://x/", "http://x:port/", "http://a b/", "http://x/\u00e4"])
def test_a_location_that_leads_nowhere(location: str) -> None:
    with Server(lambda request: (302, {"Location": location}, b"")) as server:
        with pytest.raises(RegistryError, match="leads to an address that cannot be used") as caught:
            ask(server.host)
        assert not caught.value.cause.can_pass
        assert len(server.seen) == 1


def test_a_redirect_takes_no_login_to_another_host() -> None:
    with (
        Server(lambda request: (200, {}, b"")) as other,
        Server(lambda request: (307, {"Location": f"http://{other.host}/x"}, b"")) as server,
    ):
        headers = {"Authorization": "Basic x", "Accept": "y"}
        make().session.ask("GET", Site(server.host, server.host, scheme="http"), "/", "it", headers=headers)
        assert server.seen[0].headers["authorization"] == "Basic x"
        assert "authorization" not in other.seen[0].headers and other.seen[0].headers["accept"] == "y"


def test_from_tls_to_plain_http(tmp_path: Path) -> None:
    """Only where plain HTTP is allowed."""
    ca, context = authority()
    (tmp_path / "ca.crt").write_bytes(ca.cert_pem.bytes())
    with (
        Server(lambda request: (200, {}, b"plain")) as plain,
        Server(lambda request: (302, {"Location": f"http://{plain.host}/x"}, b""), tls=context) as server,
    ):
        with pytest.raises(RegistryError, match="leads from https to plain http"):
            ask(server.host, make(tls_verify=True, cert_dir=tmp_path))
        assert not plain.seen
        assert ask(server.host).data == b"plain"


def test_a_redirect_with_a_body_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read."""
    with Server(lambda request: (200, {}, b"there")) as other:

        def talk(connection: socket.socket, number: int) -> None:
            read_head(connection)
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: http://{other.host}/\r\n\r\n".encode())
            while True:
                connection.sendall(b"x" * 1000)

        with talking(talk) as host:
            site = Site(host, host, scheme="http")
            assert make().session.ask("GET", site, "/", "it").data == b"there"


def test_an_error_with_a_body_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SMALL_ANSWER_TIME", 0.4)

    def talk(connection: socket.socket, number: int) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 500 Oh\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    started = time.monotonic()
    with talking(talk) as host, pytest.raises(RegistryError):
        make().session.ask("GET", Site(host, host, scheme="http"), "/", "it")
    assert time.monotonic() - started < 5


def test_words_that_are_too_deep() -> None:
    with Server(lambda request: (403, {}, b"[" * 200_000)) as server:
        with pytest.raises(RegistryError, match=r"^it: access denied \(status 403 of ") as caught:
            ask(server.host)
        assert caught.value.cause is Cause.UNAUTHORIZED


# Pauses


@pytest.mark.parametrize("kind", ["digits", "seconds", "date"])
def test_a_pause_that_is_too_long(kind: str) -> None:
    wait = {"digits": "9" * 5000, "seconds": "121", "date": email.utils.formatdate(time.time() + 3600, usegmt=True)}[kind]
    with Server(lambda request: (429, {"Retry-After": wait}, b"")) as server:
        with pytest.raises(GivenUp, match="it asks to wait for"):
            ask(server.host, make(retries=3))
        assert len(server.seen) == 1


@pytest.mark.parametrize(("status", "reason"), [(429, "too many requests"), (503, "server error")])
def test_a_pause_is_said_with_its_reason(status: int, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    with Server(lambda request: (status, {"Retry-After": "2"}, b"")) as server, pytest.raises(RegistryError):
        ask(server.host)
    assert f"{server.host}: {reason}; asking nothing more of it for 2 s" in caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "0"},
        {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Retry-After": "soon"},
        {"Retry-After": "\u00b2"},
        {},
    ],
)
def test_pauses_that_are_short_or_nonsense(headers: dict[str, str]) -> None:
    with Server(lambda request: (503, headers, b"")) as server, pytest.raises(RegistryError) as caught:
        ask(server.host)
    assert caught.value.cause is Cause.SERVER and not isinstance(caught.value, GivenUp)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500", 500), ("241.291\u00b5s", pytest.approx(0.000241291)), ("1.5m", 90), ("2h", 7200), ("x", None)]
)
def test_a_pause_in_the_words(text: str, seconds: float | None) -> None:
    """As ghcr.io says it."""
    words = {"errors": [{"code": "TOOMANYREQUESTS", "message": f"retry-after: {text}, allowed: 44000/minute"}]}
    assert session._seconds(Answer(429, {}, json.dumps(words).encode())) == seconds


# Plain HTTP


def test_a_tls_server_in_trouble_is_not_taken_for_one_without() -> None:
    """With -tls-verify=false: plain HTTP is a way out only where it works."""
    _, context = authority()
    kinds: list[str] = []

    def talk(connection: socket.socket, number: int) -> None:
        kinds.append("tls" if connection.recv(1, socket.MSG_PEEK) == b"\x16" else "plain")
        if number == 1:
            return
        if kinds[-1] == "tls":
            with context.wrap_socket(connection, server_side=True) as secure:
                read_head(secure)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            read_head(connection)
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")

    with talking(talk) as host:
        assert ask(host, make(retries=1)).status == 200
    assert kinds == ["tls", "plain", "tls"]


def test_the_scheme_is_remembered() -> None:
    with Server(lambda request: (200, {}, b"")) as server:
        distribution = make()
        for _ in range(3):
            assert ask(server.host, distribution).ok
        assert server.asked() == ["GET /v2/x"] * 3
        assert len({each.peer for each in server.seen}) == 1
        assert distribution.session.http.count == 1 + 3, "the first one was an attempt with TLS"


# Probes


def probe(host: str, tls_verify: bool = True) -> RegistryError:
    started = time.monotonic()
    with pytest.raises(RegistryError) as caught:
        make(retries=3, tls_verify=tls_verify).probe(parse(f"{host}/app:v1"))
    assert time.monotonic() - started < 3
    return caught.value


def test_a_registry_that_answers() -> None:
    with Server(lambda request: (200, {}, b"{}")) as server:
        make().probe(parse(f"{server.host}/app:v1"))
        assert server.asked() == ["GET /v2/"]


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*ignored: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = probe("r.invalid")
    assert error.cause is Cause.UNREACHABLE and "r.invalid: the name does not resolve" in str(error)


@pytest.mark.parametrize("tls_verify", [True, False])
def test_nobody_listens(tls_verify: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        host = f"127.0.0.1:{unused.getsockname()[1]}"
    error = probe(host, tls_verify)
    assert error.cause is Cause.UNREACHABLE and str(error) == f"{host} cannot be reached: Connection refused"


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall that drops what comes."""
    monkeypatch.setattr(wire, "CONNECT_TIMEOUT", 0.3)
    with silent_port() as port:
        error = probe(f"127.0.0.1:{port}")
    assert error.cause is Cause.UNREACHABLE and "no answer for 0 s" in str(error)


def test_plain_http_where_tls_was_expected() -> None:
    with Server(lambda request: (200, {}, b"{}")) as server:
        error = probe(server.host)
        assert error.cause is Cause.CERTIFICATE and "answers with plain HTTP where TLS was expected" in error.message


def test_a_certificate_that_is_not_trusted() -> None:
    _, context = authority()
    with Server(lambda request: (200, {}, b"{}"), tls=context) as server:
        error = probe(server.host)
        assert error.cause is Cause.CERTIFICATE and "bad certificate" in error.message


def test_a_login_that_is_needed() -> None:
    with Server(lambda request: (401, {"WWW-Authenticate": "Basic realm=x"}, b"{}")) as server:
        assert probe(server.host, False).cause is Cause.UNAUTHORIZED
        assert server.asked() == ["GET /v2/"]


def test_what_can_pass_is_tried_again() -> None:
    answers: list[Reply] = [(503, {}, b""), (200, {}, b"{}")]
    with Server(lambda request: answers.pop(0)) as server:
        make(retries=1).probe(parse(f"{server.host}/app:v1"))
        assert server.asked() == ["GET /v2/"] * 2


def test_client_certificates_lie_beside_those_of_authorities(tmp_path: Path) -> None:
    ca, context = authority()
    client = ca.issue_cert("client@example.org")
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ca.crt").write_bytes(ca.cert_pem.bytes())
    with Server(lambda request: (200, {}, b"known"), tls=context) as server:
        with pytest.raises(RegistryError):
            ask(server.host, make(tls_verify=True, cert_dir=tmp_path / "certs"))
        (tmp_path / "certs" / "client.cert").write_bytes(client.cert_chain_pems[0].bytes())
        (tmp_path / "certs" / "client.key").write_bytes(client.private_key_pem.bytes())
        assert ask(server.host, make(tls_verify=True, cert_dir=tmp_path / "certs")).data == b"known"
