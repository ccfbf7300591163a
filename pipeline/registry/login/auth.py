"""What to send as ``Authorization``: passwords, and tokens with their scope and expiry.

``Authorizer.known`` is what a request may send at once, ``Authorizer.answer`` what to send after a 401. Guarantees: a token is
asked for once, however many workers need it, and again when it expires or is refused; a password goes to the registry or the
token server that it is for, and without TLS only where that was allowed; no secret stands in a log line or an error.

Sources: RFC 9110, section 11; RFC 6750; RFC 7617; docker.com "Token Authentication Specification" and "OAuth2".
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlencode
from urllib.request import parse_http_list, parse_keqv_list

from pipeline.core.bundle import Access
from pipeline.core.errors import Cause, RegistryError
from pipeline.registry.http.connections import AGENT
from pipeline.registry.http.message import Answer, Body, Url, parse_json
from pipeline.registry.login import logins
from pipeline.registry.login.logins import Login

DEFAULT_LIFETIME = 60.0
"""Seconds of a token that says nothing of it (the token specification)."""
MAX_LIFETIME = 24 * 3600.0
"""Seconds."""
SLACK = 0.1
"""Part of its lifetime before the end of which a token is not used any more."""

_CHALLENGE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+([^=\s].*))?", re.DOTALL)
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Site:
    """Where to ask. ``host`` answers; logins, certificates and pauses are kept under ``key``."""

    host: str
    key: str
    insecure: bool = False
    """Whether it may have any certificate, or no TLS."""
    scheme: str = ""
    """``http`` or ``https``; without it, what the ``Access`` allows."""
    repository: str = ""

    @property
    def login_name(self) -> str:
        """What a login is looked up for (containers-auth.json(5))."""
        return f"{self.key}/{self.repository}" if self.repository else self.key


class Challenge(NamedTuple):
    """One of those in ``WWW-Authenticate``. ``scheme`` and the names of parameters are lower case."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass
class _Grant:
    """What may be sent for a scope."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    header: str = ""
    ends: float = 0.0
    scope: str = ""
    """The one of the registry's own challenge."""
    has_worked: bool = False
    """Whether the registry has accepted such a header before."""

    @property
    def is_valid(self) -> bool:
        return bool(self.header) and time.monotonic() < self.ends


TokenRequest = Callable[[str, Site, Url, str, Mapping[str, str], Body], Answer]
"""Sends a request to a token server: method, the registry it is for, address, what fails, headers, body."""


class Authorizer:
    """The logins and tokens of one run. Thread-safe."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._grants: dict[tuple[str, str, str], _Grant] = {}
        self._challenges: dict[str, Challenge] = {}
        """By host: the last one whose scope was the one that we would have asked for."""
        self._logins: dict[str, Login | None] = {}

    def known(self, site: Site, scope: str, request: TokenRequest) -> str:
        """What to send with a first request; empty where that is nothing. May ``request`` a token."""
        grant = self._grant(site, scope)
        if grant.is_valid:
            return grant.header
        if not scope:
            login = self._login(site)
            return basic(login) if login is not None and not login.token else ""
        challenge = self._challenges.get(site.host)
        return self._renew(grant, "", site, scope, challenge, request) if challenge else ""

    def answer(self, site: Site, scope: str, header: str, refused: str, request: TokenRequest) -> str:
        """What to send after a 401 whose ``WWW-Authenticate`` is ``header``; ``refused`` was sent. Empty: nothing helps."""
        challenges = list(parse_challenges(header))
        chosen = next((each for kind in ("bearer", "basic") for each in challenges if each.scheme == kind), None)
        if chosen is None:
            return ""
        grant = self._grant(site, scope)
        fresh = self._renew(grant, refused, site, scope, chosen, request)
        if chosen.scheme == "basic" or chosen.parameters.get("scope", scope) == scope:
            # Of another repository, it would ask for that one's scope.
            unscoped = {name: value for name, value in chosen.parameters.items() if name != "scope"}
            self._challenges[site.host] = Challenge(chosen.scheme, unscoped)
        # A password that was refused is wrong; a token may be good now.
        return "" if fresh == refused and chosen.scheme == "basic" else fresh

    def accepted(self, site: Site, scope: str) -> None:
        """Remember that what was sent for the scope was good."""
        self._grant(site, scope).has_worked = True

    def has_worked(self, site: Site, scope: str) -> bool:
        """Whether something that was sent for the scope was good."""
        return self._grant(site, scope).has_worked

    def _grant(self, site: Site, scope: str) -> _Grant:
        with self._lock:
            return self._grants.setdefault((site.host, site.login_name, scope), _Grant())

    def _renew(self, grant: _Grant, refused: str, site: Site, scope: str, challenge: Challenge, request: TokenRequest) -> str:
        with grant.lock:
            if grant.is_valid and grant.header != refused:
                return grant.header  # another worker was quicker
            login = self._login(site)
            if challenge.scheme == "basic":
                grant.header = basic(login) if login is not None and not login.token else ""
                grant.ends = float("inf")
            else:
                grant.scope = challenge.parameters.get("scope") or grant.scope or scope
                grant.header, lifetime = self._token(site, challenge, grant.scope, login, request)
                grant.ends = time.monotonic() + lifetime * (1 - SLACK)
            return grant.header

    def _login(self, site: Site) -> Login | None:
        with self._lock:
            if site.login_name in self._logins:
                return self._logins[site.login_name]
        found = logins.find(site.login_name, self._access.authfile)
        with self._lock:
            return self._logins.setdefault(site.login_name, found)

    def _token(
        self, site: Site, challenge: Challenge, scope: str, login: Login | None, request: TokenRequest
    ) -> tuple[str, float]:
        """``Bearer …`` and the seconds for which it is good. Raises RegistryError."""
        service = challenge.parameters.get("service", "")
        what = f"{site.key} gives no token for {service or scope or 'it'}"
        realm = challenge.parameters.get("realm", "")
        try:
            url = Url.parse(realm)
        except ValueError as error:
            raise RegistryError(
                f"{what}: its token server's address {realm!a:.200} is wrong: {error}", Cause.UNSUPPORTED
            ) from error
        if url.scheme != "https" and login is not None and self._access.tls_verify and not site.insecure:
            raise RegistryError(
                f"{what}: its token server {url.authority} has no TLS; no password is sent there", Cause.CERTIFICATE
            )
        query = {"service": service} if service else {}
        if login is not None and login.token:
            # An identity token is not a password: it is exchanged (RFC 6749, "Refreshing an Access Token").
            form = {**query, "scope": scope, "grant_type": "refresh_token", "client_id": AGENT, "refresh_token": login.token}
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = request("POST", site, url, what, headers, urlencode(form).encode())
        else:
            if login is not None:
                query["account"] = login.user
            pairs = [*query.items(), *(("scope", each) for each in scope.split())]
            address = url._replace(target=f"{url.target}{'&' if '?' in url.target else '?'}{urlencode(pairs)}")
            answer = request("GET", site, address, what, {"Authorization": basic(login)} if login else {}, None)
        return _parse_token(answer, what)


def parse_challenges(header: str) -> Iterator[Challenge]:
    """The challenges of ``WWW-Authenticate``, whose lines were joined with commas (RFC 9110, section 11.6.1)."""
    scheme, parameters = "", list[str]()
    for part in parse_http_list(header):
        match = _CHALLENGE.fullmatch(part.strip())
        if match:  # a token and a space begin the next challenge
            if scheme:
                yield _challenge(scheme, parameters)
            scheme, parameters = match[1], [match[2]] if match[2] else []
        else:
            parameters.append(part)
    if scheme:
        yield _challenge(scheme, parameters)


def basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _challenge(scheme: str, parts: list[str]) -> Challenge:
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (part.partition("=") for part in parts)]
    # What remains of a "token68" is padding.
    found = parse_keqv_list([f"{name}={value}" for name, value in pairs if name and value.strip("=")])
    return Challenge(scheme.lower(), {name: value for name, value in found.items() if value})


def _parse_token(answer: Answer, what: str) -> tuple[str, float]:
    document = parse_json(answer.data)
    if not isinstance(document, Mapping):
        raise RegistryError(f"{what}: the answer is not JSON", Cause.SERVER)
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        said = "what its token server gives is not a token" if token else "there is none in the answer"
        raise RegistryError(f"{what}: {said}", Cause.SERVER)
    lifetime = document.get("expires_in")
    if isinstance(lifetime, (int, float)) and not isinstance(lifetime, bool) and lifetime > 0:
        # Compared before it becomes a float: JSON has larger numbers.
        return f"Bearer {token}", MAX_LIFETIME if lifetime > MAX_LIFETIME else float(lifetime)
    return f"Bearer {token}", DEFAULT_LIFETIME
