"""Challenges and tokens: what is parsed, what is asked of a token server, and what is never sent."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.core.bundle import Access
from pipeline.core.errors import Cause, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.reference import parse
from pipeline.registry.distribution import Distribution
from pipeline.registry.login import auth
from pipeline.registry.login.auth import parse_challenges
from tests.unit.registry.servers import Reply, Request, Server

BEARER = ("bearer", {"realm": "https://t.io/token", "service": "r.io", "scope": "repository:a:pull,push"})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="r"', [("basic", {"realm": "r"})]),
        ("Basic realm=r", [("basic", {"realm": "r"})]),
        ('BEARER Realm="https://t.io/token",service="r.io",scope="repository:a:pull,push"', [BEARER]),
        ('Bearer realm = "https://t.io/token" , service=r.io, scope="repository:a:pull,push"', [BEARER]),
        (
            'Basic realm="a, Bearer realm=b", Bearer realm="https://t.io/token",service="r.io",scope="repository:a:pull,push"',
            [("basic", {"realm": "a, Bearer realm=b"}), BEARER],
        ),
        (
            'Negotiate, NTLM dGVzdA==, Bearer realm="https://t.io/token", service=r.io,scope="repository:a:pull,push", Basic',
            [("negotiate", {}), ("ntlm", {}), BEARER, ("basic", {})],
        ),
        ('Bearer realm="x",,', [("bearer", {"realm": "x"})]),
        ('realm="nobody"', []),
        ('Bearer realm="open', [("bearer", {"realm": '"open'})]),
        ("Bearer =,==,x=", []),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(each.scheme, dict(each.parameters)) for each in parse_challenges(header)] == expected


class TokenRegistry:
    """A registry whose tokens are good for so many requests; the token server's answers can be replaced."""

    def __init__(self, uses: int = 1000, challenge: str = "", **more: object) -> None:
        self.uses, self.challenge, self.more = uses, challenge, more
        self.left: dict[str, int] = {}
        self.lock = threading.Lock()
        self.server = Server(self.reply)

    def reply(self, request: Request) -> Reply:
        if request.path.startswith("/token"):
            with self.lock:
                token = f"token{len(self.left)}"
                self.left[f"Bearer {token}"] = self.uses
            return 200, {}, json.dumps({"token": token, **self.more}).encode()
        with self.lock:
            given = request.headers.get("authorization", "")
            if self.left.get(given, 0) > 0:
                self.left[given] -= 1
                return 200, {"Docker-Content-Digest": "sha256:" + "0" * 64}, b"{}"
        default = f'Bearer realm="http://{self.server.host}/token",service="tests",scope="repository:app:pull"'
        return 401, {"WWW-Authenticate": (self.challenge or default).replace("HOST", self.server.host)}, b"{}"

    def tokens(self) -> list[dict[str, list[str]]]:
        return [parse_qs(urlsplit(each.path).query) for each in self.server.seen if each.path.startswith("/token")]

    def __enter__(self) -> TokenRegistry:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.server.close()


def ask(host: str, count: int = 1, authfile: Path | None = None, tls_verify: bool = False, repository: str = "app") -> None:
    distribution = Distribution(Access(authfile=authfile, tls_verify=tls_verify, retries=0), Interruption(), connections=2)
    for _ in range(count):
        assert distribution.head(parse(f"{host}/{repository}:v1")) is not None


def login(host: str, password: str = "s3cret-word", **more: str) -> Path:
    path = Path("auth.json")
    path.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(f"me:{password}".encode()).decode(), **more}}}))
    return path


def test_one_token_serves_many_requests() -> None:
    with TokenRegistry() as registry:
        ask(registry.server.host, 5)
        assert registry.tokens() == [{"service": ["tests"], "scope": ["repository:app:pull"]}]


def test_a_token_that_is_refused_is_asked_for_anew() -> None:
    """At every third request."""
    with TokenRegistry(uses=3) as registry:
        ask(registry.server.host, 9)
        assert len(registry.tokens()) == 3


def test_fresh_tokens_that_are_refused_are_tried_again() -> None:
    """Within -retry, where the registry accepted others before: its servers may not agree yet."""
    with TokenRegistry() as registry:
        distribution = Distribution(Access(tls_verify=False, retries=1), Interruption(), connections=2)
        name = parse(f"{registry.server.host}/app:v1")
        assert distribution.head(name) is not None
        registry.left["Bearer token0"] = 0
        refused = iter([0, 1000])
        before = registry.reply

        def reply(request: Request) -> Reply:
            if request.path.startswith("/token"):
                registry.uses = next(refused)
            return before(request)

        registry.server.reply = reply
        assert distribution.head(name) is not None
        assert len(registry.tokens()) == 3


def test_a_token_that_expires_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "SLACK", 1.0)
    with TokenRegistry(expires_in=300) as registry:
        ask(registry.server.host, 3)
        assert len(registry.tokens()) == 3
        assert [each for each in registry.server.asked() if "/v2/" in each] == ["HEAD /v2/app/manifests/v1"] * 4, "one 401"


@pytest.mark.parametrize("lifetime", [None, "soon", -1, True, 10**400, 0])
def test_odd_lifetimes(lifetime: object) -> None:
    with TokenRegistry(expires_in=lifetime) as registry:
        ask(registry.server.host, 2)
        assert len(registry.tokens()) == 1


def test_the_registrys_own_scope_counts() -> None:
    own = 'Basic realm="x"\nBearer realm="http://HOST/token?a=b",scope="registry:catalog:* repository:other:pull"'
    with TokenRegistry(challenge=own) as registry:
        ask(registry.server.host, 2)
        assert registry.tokens() == [{"a": ["b"], "scope": ["registry:catalog:*", "repository:other:pull"]}]


def test_a_second_repository_needs_no_challenge() -> None:
    with TokenRegistry() as registry:
        distribution = Distribution(Access(tls_verify=False, retries=0), Interruption(), connections=2)
        for name in ("app", "other"):
            assert distribution.head(parse(f"{registry.server.host}/{name}:v1")) is not None
        assert [each["scope"] for each in registry.tokens()] == [["repository:app:pull"], ["repository:other:pull"]]
        assert len([each for each in registry.server.seen if "authorization" not in each.headers]) == 3, "one challenge"


def test_workers_share_a_token() -> None:
    with TokenRegistry() as registry:
        distribution = Distribution(Access(tls_verify=False, retries=0), Interruption(), connections=8)
        name = parse(f"{registry.server.host}/app:v1")
        threads = [threading.Thread(target=distribution.head, args=(name,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(registry.tokens()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 7}',
        b'{"token": "a\\r\\nX-Evil: 1"}',
        '{"token": "pässwort"}'.encode(),
        b"[" * 200_000,
        b'{"access_token": "with space"}',
    ],
)
def test_what_is_not_a_token(answer: bytes) -> None:
    """One clear error, and nothing of it is sent."""
    with TokenRegistry() as registry:
        before = registry.reply
        registry.server.reply = lambda request: (200, {}, answer) if "/token" in request.path else before(request)
        with pytest.raises(RegistryError, match="gives no token for tests: ") as caught:
            ask(registry.server.host)
        assert caught.value.cause is Cause.SERVER
        assert not [each for each in registry.server.seen if "authorization" in each.headers]


@pytest.mark.parametrize("realm", ["", "nonsense", "ftp://x/", "http://[::1/", "http://x y/", "http://x:port/", "//host/token"])
def test_a_token_server_without_an_address(realm: str) -> None:
    with TokenRegistry(challenge=f'Bearer realm="{realm}",service="tests"') as registry:
        with pytest.raises(RegistryError, match=r"its token server's address .* is wrong") as caught:
            ask(registry.server.host)
        assert not caught.value.cause.can_pass


def test_a_password_is_not_sent_without_tls() -> None:
    """To a token server to which a registry with TLS leads; -tls-verify=false allows it."""
    with TokenRegistry() as registry:
        site = auth.Site(registry.server.host, registry.server.host, scheme="http")
        path = login(registry.server.host)
        session = Distribution(Access(authfile=path, retries=0), Interruption(), connections=2).session
        with pytest.raises(RegistryError, match="has no TLS; no password is sent there"):
            session.ask("GET", site, "/v2/app/manifests/v1", "it", scope="repository:app:pull")
        assert not [each for each in registry.server.seen if "authorization" in each.headers]
        ask(registry.server.host, authfile=path)
        assert registry.tokens()[-1]["account"] == ["me"]


def test_a_wrong_password_is_sent_once() -> None:
    with Server(lambda request: (401, {"WWW-Authenticate": "Basic realm=tests"}, b"{}")) as server:
        with pytest.raises(RegistryError, match="access denied"):
            ask(server.host, authfile=login(server.host))
        assert [("authorization" in each.headers) for each in server.seen] == [False, True]


def test_logins_of_two_namespaces() -> None:
    """Each repository with its own (containers-auth.json(5))."""

    def reply(request: Request) -> Reply:
        user = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode().partition(":")[0]
        if f"/v2/{user}/" not in request.path:
            return 401, {"WWW-Authenticate": "Basic realm=tests"}, b"{}"
        return 200, {"Docker-Content-Digest": "sha256:" + "0" * 64}, b"{}"

    with Server(reply) as server:
        entries = {f"{server.host}/{team}": {"auth": base64.b64encode(f"{team}:x".encode()).decode()} for team in ("a", "b")}
        Path("auth.json").write_text(json.dumps({"auths": entries}))
        distribution = Distribution(
            Access(authfile=Path("auth.json"), tls_verify=False, retries=0), Interruption(), connections=2
        )
        for team in ("a", "b"):
            assert distribution.head(parse(f"{server.host}/{team}/app:v1")) is not None
        with pytest.raises(RegistryError, match="access denied"):
            distribution.head(parse(f"{server.host}/c/app:v1"))
