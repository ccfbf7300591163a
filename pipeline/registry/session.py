"""The one way to ask a registry without skopeo: logins, certificates, redirects, plain HTTP, and trying again.

``Session.ask`` returns a small ``Answer``, ``Session.open`` a ``Response`` to be streamed. Guarantees: logins, certificates and
proxies are those of skopeo; what can pass is tried again, in step with what skopeo asks (``Attempts``); what means "no" (404,
say) is an answer, what means "not now" or "who are you" is a ``RegistryError`` with the registry's own words; a login never
follows a redirect to another host, and nothing follows one from https to http.

Source: distribution-spec 1.1, "Endpoints".
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import urljoin

from pipeline.core.bundle import Access
from pipeline.core.errors import Cause, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.core.redact import redact
from pipeline.registry.http.client import SMALL_ANSWER_TIME, Http, Response
from pipeline.registry.http.connections import NotTls, Unreachable
from pipeline.registry.http.message import Answer, Body, Url
from pipeline.registry.http.tls import Certificates
from pipeline.registry.login.auth import Authorizer, Site
from pipeline.registry.retry import LONGEST_WAIT, Attempts, TokenRefused, WrongBytes
from pipeline.registry.throttle import GivenUp

MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PLAIN_PATH = re.compile(r"/v2/[A-Za-z0-9._/:-]+")
"""A path that needs no look at what it may mean."""
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_WAIT = re.compile(rf"retry-after:\s*([0-9]{{1,9}}(?:\.[0-9]+)?)({'|'.join(_UNITS)})?\b", re.IGNORECASE)
"""As Go writes a duration: ghcr.io says "retry-after: 241.291µs, allowed: 44000/minute"."""


class QuotaWatch(Protocol):
    """Told what registries say of their quota."""

    def saw(self, registry: str, headers: Mapping[str, str], status: int, text: str) -> None:
        """Of a manifest's answer, or a 429, whose ``text`` is what it says. May raise RegistryError, to end the request."""


class Refused(RegistryError):
    """An answer that is neither yes nor no: 401, 403, 429, 5xx."""

    def __init__(self, message: str, cause: Cause, status: int) -> None:
        super().__init__(message, cause)
        self.status = status


class Session:
    """One run's way to all registries. Thread-safe."""

    def __init__(self, access: Access, attempts: Attempts, interruption: Interruption, connections: int) -> None:
        self.attempts = attempts
        self.http = Http(interruption, connections)
        self.quota: QuotaWatch | None = None
        self._access = access
        self._certificates = Certificates(access.cert_dir)
        self._authorizer = Authorizer(access)
        self._schemes: dict[str, str] = {}
        self._homes: dict[str, Url] = {}
        """Parsed addresses of registries."""

    def ask(
        self,
        method: str,
        site: Site,
        path: str,
        what: str,
        *,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        digest: Digest | None = None,
    ) -> Answer:
        """Send one request, again where that may help. Returns any answer except 401, 403, 429 and 5xx: RegistryError.

        ``what`` says what cannot be done then. ``scope`` is what a token must be good for, ``repository:NAME:pull``; without
        one there are no tokens, and a password is sent at once. Bytes that do not have the ``digest`` are asked for once more,
        then ContentError.
        """

        def attempt() -> Answer:
            answer = self.ask_once(method, site, path, what, scope=scope, headers=headers, body=body)
            if digest is not None and answer.ok and Digest.of(answer.data, digest.algorithm) != digest:
                raise WrongBytes(f"{what}: the bytes that came are not those of {digest}")
            return answer

        return self.attempts.until_it_works(site.key, what, attempt)

    def ask_once(
        self,
        method: str,
        site: Site,
        path: str,
        what: str,
        *,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Answer:
        """As ``ask``, but without trying again."""
        with self._authorized(method, site, path, what, scope, headers or {}, body, SMALL_ANSWER_TIME) as response:
            answer = response.read()
        if method != "HEAD" or answer.status != 501:  # this one is a clear no: HEAD is not implemented
            self.check(site, answer, what)
        return answer

    def open(
        self,
        method: str,
        site: Site,
        path: str,
        what: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        first_byte: float | None = None,
    ) -> Response:
        """Send one request, once. The response, to be closed by the caller, whose body has no limit in time as a whole.

        Raises RegistryError as ``ask`` does.
        """
        response = self._authorized(method, site, path, what, scope, headers or {}, body, None, first_byte)
        if _cause(response.status) is not None:
            with response:
                self.check(site, response.read(), what)
        return response

    def check(self, site: Site, answer: Answer, what: str) -> None:
        """Raises RegistryError for what is neither yes nor no. A registry that asks for it is left alone, by all."""
        cause = _cause(answer.status)
        if cause is None:
            return
        words = answer.words
        if answer.status == 429 and self.quota is not None:
            self.quota.saw(site.key, answer.headers, answer.status, words or answer.data[:1000].decode(errors="replace"))
        said = f"{what}: {cause.value} ({words or f'status {answer.status} of {site.host}'})"
        wait = _seconds(answer) if cause.can_pass else None
        if wait is not None:
            if wait > LONGEST_WAIT:
                raise GivenUp(f"{said}; it asks to wait for {wait:.0f} s", cause)
            self.attempts.throttle.hold(site.key, wait, cause)
        raise Refused(said, cause, answer.status)

    def probe(self, site: Site, scope: str) -> None:
        """Find out whether the registry answers and lets us in. Raises RegistryError; only what can pass is tried again."""
        what = f"{site.key} cannot be asked"

        def attempt() -> None:
            try:
                self.ask_once("GET", site, "/v2/", what, scope=scope)
            except Unreachable as error:
                raise RegistryError(error.message, Cause.UNREACHABLE) from error

        self.attempts.until_it_works(site.key, what, attempt)

    # One request, with all that surrounds it

    def _authorized(
        self,
        method: str,
        site: Site,
        path: str,
        what: str,
        scope: str,
        headers: Mapping[str, str],
        body: Body,
        whole: float | None,
        first_byte: float | None = None,
    ) -> Response:
        """The response to a request with a login or a token, where the registry wants one. Raises RegistryError after a 401."""
        sent = self._authorizer.known(site, scope, self._request_token)
        response = self._by_scheme(method, site, path, _with(headers, sent), body, whole, first_byte)
        if response.status != 401:
            if sent:
                self._authorizer.accepted(site, scope)
            return response
        # Read before anything else is asked, so that who asks holds one connection at a time.
        with response:
            answer = response.read()
        fresh = self._authorizer.answer(site, scope, response.headers.get("www-authenticate", ""), sent, self._request_token)
        if not fresh:
            self.check(site, answer, what)
        response = self._by_scheme(method, site, path, _with(headers, fresh), body, whole, first_byte)
        if response.status != 401:
            self._authorizer.accepted(site, scope)
        elif self._authorizer.has_worked(site, scope):
            response.close()
            raise TokenRefused(f"{what}: {Cause.UNAUTHORIZED.value} (a token of a moment ago is refused)")
        return response

    def _by_scheme(
        self,
        method: str,
        site: Site,
        path: str,
        headers: Mapping[str, str],
        body: Body,
        whole: float | None,
        first_byte: float | None,
    ) -> Response:
        """Over TLS; where that need not be, and nothing else works, without it, as skopeo does."""
        known = site.scheme or self._schemes.get(site.host)
        schemes = [known] if known else ["https", "http"] if self._is_insecure(site) else ["https"]
        over_tls: RegistryError | None = None
        for scheme in schemes:
            try:
                response = self._follow(method, site, f"{scheme}://{site.host}", path, headers, body, whole, first_byte)
            except RegistryError as error:
                if scheme == schemes[-1] or (isinstance(error, Unreachable) and ":" in site.host):
                    raise
                over_tls = error
                continue
            if over_tls is not None and not isinstance(over_tls, NotTls) and response.status == 400:
                # So a server with TLS answers who speaks without: it was only in trouble a moment ago.
                response.close()
                raise over_tls
            self._schemes[site.host] = scheme
            return response
        raise AssertionError("unreachable")

    def _follow(
        self,
        method: str,
        site: Site,
        origin: str,
        path: str,
        headers: Mapping[str, str],
        body: Body,
        whole: float | None,
        first_byte: float | None,
    ) -> Response:
        """The response after redirects, which a GET or HEAD follows, without the login where they leave the host."""
        home = self._homes.get(origin) or self._homes.setdefault(origin, self._target(site, None, origin))
        url = home._replace(target=path) if _PLAIN_PATH.fullmatch(path) else self._target(site, home, path)
        ends = time.monotonic() + whole if whole is not None else None
        for _ in range(MAX_REDIRECTS + 1):
            left = max(1.0, ends - time.monotonic()) if ends is not None else None
            is_home = url[:3] == home[:3]
            given = headers if is_home else {name: value for name, value in headers.items() if name != "Authorization"}
            response = self.http.send(method, url, self._tls(site, url), given, body, whole=left, first_byte=first_byte)
            if response.status not in _REDIRECTS or method not in ("GET", "HEAD"):
                return response
            response.close()
            url = self._target(site, url, response.headers.get("location", ""))
        raise RegistryError(f"{site.host}: {Cause.NETWORK.value}: more than {MAX_REDIRECTS} redirects", Cause.NETWORK)

    def _target(self, site: Site, url: Url | None, location: str) -> Url:
        """The address that ``location`` means at ``url``."""
        try:
            if not location:
                raise ValueError("it is empty")
            target = Url.parse(urljoin(str(url), location) if url else location)
        except ValueError as error:
            shown = ascii(redact(location[:200]))
            raise RegistryError(
                f"{site.host} leads to an address that cannot be used, {shown}: {error}", Cause.UNSUPPORTED
            ) from error
        if url is not None and url.scheme == "https" and target.scheme == "http" and not self._is_insecure(site):
            raise RegistryError(f"{site.host} leads from https to plain http, at {target.authority}", Cause.CERTIFICATE)
        return target

    def _tls(self, site: Site, url: Url) -> ssl.SSLContext | None:
        if url.scheme != "https":
            return None
        host = site.key if url.authority == site.host else url.authority
        return self._certificates.context(site.key, host, self._is_insecure(site))

    def _is_insecure(self, site: Site) -> bool:
        return site.insecure or not self._access.tls_verify

    def _request_token(self, method: str, site: Site, url: Url, what: str, headers: Mapping[str, str], body: Body) -> Answer:
        with self.http.send(method, url, self._tls(site, url), headers, body) as response:
            answer = response.read()
        self.check(Site(url.authority, site.key), answer, what)
        return answer


def _with(headers: Mapping[str, str], authorization: str) -> dict[str, str]:
    return {**headers, "Authorization": authorization} if authorization else dict(headers)


def _cause(status: int) -> Cause | None:
    """What an answer means that is neither yes nor no."""
    if status in (401, 403):
        return Cause.UNAUTHORIZED
    if status == 429:
        return Cause.RATE_LIMITED
    return Cause.SERVER if status >= 500 else None


def _seconds(answer: Answer) -> float | None:
    """How long to wait, as ``Retry-After`` says it (RFC 9110, section 10.2.3) or, without one, the message."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:10]) if len(text) <= 10 else float("inf")
    with suppress(ValueError, OverflowError):
        if text:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    said = _WAIT.search(answer.words)
    return float(said[1]) * _UNITS[said[2] or "s"] if said else None
