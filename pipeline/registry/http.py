"""The edge to HTTP: what is asked of a registry's host without skopeo, as skopeo would ask it.

In come a method, a host and a path, out goes an ``Answer``. Promises: logins, certificates, ``registries.conf`` and proxies are
those of skopeo; what can pass is tried again, in step with what skopeo asks (``Attempts``); what means "no" (404, say) is an
answer, what means "not now" or "who are you" is a ``RegistryError``; no answer is larger than a manifest may be; an
interruption waits for nobody; no secret stands in a log line or an error.

Sources: distribution-spec 1.1, "Endpoints"; docker.com "Token Authentication Specification"; RFC 6750, RFC 7617.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

from pipeline.core.bundle import Access
from pipeline.core.errors import Cause, ContentError, EnvironmentProblem, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import MAX_MANIFEST_SIZE, Digest
from pipeline.core.redact import redact
from pipeline.registry import logins
from pipeline.registry.retry import LONGEST_WAIT, Attempts, WrongBytes
from pipeline.registry.throttle import GivenUp

if TYPE_CHECKING:  # most runs ask nothing without skopeo, and do not load it
    import urllib3

CONNECT_TIMEOUT, READ_TIMEOUT = 30.0, 60.0
"""Seconds for a connection, and between two pieces of an answer."""
AGENT = "image-tools"
_SYSTEM_CERTIFICATES = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')

_T = TypeVar("_T")


@dataclass(frozen=True)
class Answer:
    """Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def words(self) -> str:
        """What a registry says: ``{"errors": [{"code": …, "message": …}]}`` (distribution-spec, "Error Codes")."""
        try:
            return redact("; ".join(str(error["message"]) for error in json.loads(self.data)["errors"]))[:300]
        except (ValueError, KeyError, TypeError):
            return ""


@dataclass(frozen=True)
class Site:
    """A host (or ``host:port``) to ask. ``key`` is what its logins and its pauses are kept under."""

    host: str
    key: str
    insecure: bool = False
    scheme: str = ""
    """``http`` or ``https``; without it, what the ``Access`` allows."""


class Web:
    """HTTP with one ``Access``. Thread-safe; connections are kept and used again."""

    def __init__(self, access: Access, attempts: Attempts, interruption: Interruption) -> None:
        self._access = access
        self._attempts = attempts
        self._interruption = interruption
        self._lock = threading.Lock()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._schemes: dict[str, str] = {}
        self._credentials: dict[tuple[str, str], str] = {}
        self.count = 0
        """Requests so far, tokens included."""

    def ask(
        self,
        method: str,
        site: Site,
        path: str,
        what: str,
        *,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        digest: Digest | None = None,
    ) -> Answer:
        """The answer, whatever it is, but for those that mean "not now" and "who are you": RegistryError.

        ``what`` says what cannot be done then. ``scope`` is what a token must be good for, ``repository:NAME:pull``; without
        one there are no tokens, and a password is sent at once. Bytes that do not have the ``digest`` that they must have, or
        that the registry itself names, are asked for once more, then ContentError.
        """

        def attempt() -> Answer:
            answer = self._authorized(method, site, path, scope, headers or {}, body)
            self._check(site, answer, what)
            expected = digest or (_named_digest(answer) if method == "GET" else None)
            if expected is not None and answer.ok and Digest.of(answer.data, expected.algorithm) != expected:
                raise WrongBytes(f"{what}: the bytes that came are not those of {expected}")
            return answer

        return self._attempts.until_it_works(site.key, what, attempt)

    def _check(self, site: Site, answer: Answer, what: str) -> None:
        """Raises RegistryError for what is neither yes nor no. A registry that asks for it is left alone, by all."""
        cause = _cause(answer.status)
        if cause is None:
            return
        said = f"{what}: {cause.value} ({answer.words or f'status {answer.status} of {site.host}'})"
        wait = answer.headers.get("retry-after", "")
        if cause.can_pass and wait.isdecimal():
            if int(wait) > LONGEST_WAIT:
                raise GivenUp(f"{said}; it asks to wait for {int(wait)} s", cause)
            self._attempts.throttle.hold(site.key, float(wait))
        raise RegistryError(said, cause)

    def _authorized(
        self, method: str, site: Site, path: str, scope: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        known = self._credentials.get((site.host, scope))
        if known is None and not scope and (login := logins.find(site.key, self._access.authfile)):
            known = self._credentials[site.host, scope] = _basic(login)
        answer = self._send(method, site, path, {**headers, **_authorization(known)}, body)
        if answer.status != 401:
            return answer
        fresh = self._log_in(site, scope, answer.headers.get("www-authenticate", ""))
        if fresh is None:
            return answer
        self._credentials[site.host, scope] = fresh
        return self._send(method, site, path, {**headers, **_authorization(fresh)}, body)

    def _log_in(self, site: Site, scope: str, challenge: str) -> str | None:
        """What to send as ``Authorization`` after a 401; None where there is nothing."""
        scheme, _, rest = challenge.partition(" ")
        login = logins.find(site.key, self._access.authfile)
        if scheme.lower() == "basic":
            return _basic(login) if login else None
        if scheme.lower() != "bearer":
            return None
        parameters = dict(_PARAMETER.findall(rest))
        return self._token(parameters.get("realm", ""), parameters.get("service", ""), scope, login)

    def _token(self, realm: str, service: str, scope: str, login: logins.Login | None) -> str | None:
        # A password goes without TLS only where that was said.
        if not realm.startswith("https://") and (self._access.tls_verify or not realm.startswith("http://")):
            return None
        query = {"service": service, "scope": scope}
        site = Site(realm.split("/")[2], realm.split("/")[2], not self._access.tls_verify)
        if login is not None and login.token:
            # An identity token is no password: it is exchanged (OAuth2, RFC 6749, "Refreshing an Access Token").
            form = urlencode({**query, "grant_type": "refresh_token", "client_id": AGENT, "refresh_token": login.token})
            answer = self._request("POST", site, realm, {"Content-Type": "application/x-www-form-urlencoded"}, form.encode())
        else:
            given = _authorization(_basic(login)) if login else {}
            answer = self._request("GET", site, f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", given, None)
        self._check(site, answer, f"{site.host} gives no token for {service}")
        try:
            document = json.loads(answer.data)
            return f"Bearer {document.get('token') or document['access_token']}"
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _send(self, method: str, site: Site, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Over TLS; where that need not be, and nothing else works, without it, as skopeo does."""
        insecure = site.insecure or not self._access.tls_verify
        known = site.scheme or self._schemes.get(site.host)
        schemes = [known] if known else ["https", "http"] if insecure else ["https"]
        over_tls: RegistryError | None = None
        for scheme in schemes:
            try:
                answer = self._request(method, site, f"{scheme}://{site.host}{path}", headers, body)
            except RegistryError as error:
                if scheme == schemes[-1]:
                    raise
                over_tls = error
                continue
            if over_tls is not None and answer.status == 400:
                # So a server with TLS answers who speaks without: it was only in trouble a moment ago.
                raise over_tls
            self._schemes[site.host] = scheme
            return answer
        raise AssertionError("unreachable")

    def _request(self, method: str, site: Site, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        import urllib3
        from urllib3.exceptions import HTTPError, SSLError

        pool = self._pool(site, url)
        # Redirects are followed, without the login where they lead to another host; trying again is up to ``Attempts``.
        retries = urllib3.Retry(connect=0, read=0, redirect=5, status=0, other=0, respect_retry_after_header=False)

        def talk() -> Answer:
            response = pool.request(
                method,
                url,
                headers={"User-Agent": AGENT, **headers},
                body=body,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
                retries=retries,
                preload_content=False,
            )
            data = response.read(MAX_MANIFEST_SIZE + 1)
            if len(data) > MAX_MANIFEST_SIZE:
                response.close()
            response.release_conn()
            return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, data)

        started = time.monotonic()
        with self._lock:
            self.count += 1
        try:
            answer = self._abandonable(talk)
        except (SSLError, ssl.SSLError) as error:
            raise _certificate(site, error) from error
        except HTTPError as error:
            if isinstance(reason := getattr(error, "reason", None), SSLError):
                raise _certificate(site, reason) from error
            words = redact(str(getattr(error, "reason", None) or error))
            raise RegistryError(f"{site.host}: {Cause.NETWORK.value}: {words}", Cause.NETWORK) from error
        except OSError as error:
            raise RegistryError(f"{site.host}: {Cause.NETWORK.value}: {error}", Cause.NETWORK) from error
        log.debug("%s %s: %d, %.2f s", method, redact(url), answer.status, time.monotonic() - started)
        if len(answer.data) > MAX_MANIFEST_SIZE:
            raise RegistryError(f"{site.host} answers with more than any manifest has", Cause.UNSUPPORTED)
        return answer

    def _abandonable(self, talk: Callable[[], _T]) -> _T:
        """The result of ``talk``, which an interruption leaves behind: nothing can wake who waits for a name or a byte."""
        done = threading.Event()
        results: list[_T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(talk())
            except BaseException as error:
                errors.append(error)
            finally:
                done.set()

        self._interruption.check()
        threading.Thread(target=work, name="http", daemon=True).start()
        with self._interruption.stopping(done.set):
            done.wait()
        self._interruption.check()
        if errors:
            raise errors[0]
        return results[0]

    def _pool(self, site: Site, url: str) -> urllib3.PoolManager:
        key = f"{url.partition('://')[0]}://{site.host}"
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._make_pool(site, url)
            return self._pools[key]

    def _make_pool(self, site: Site, url: str) -> urllib3.PoolManager:
        import urllib3

        context = _context(site, self._access)
        # Who says -tls-verify=false knows it.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        scheme, host = url.partition("://")[0], site.host.rpartition(":")[0] or site.host
        proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        if proxy:
            parsed = urllib3.util.parse_url(proxy)
            secret = urllib3.make_headers(proxy_basic_auth=parsed.auth) if parsed.auth else None
            return urllib3.ProxyManager(proxy, proxy_headers=secret, ssl_context=context, maxsize=20)
        return urllib3.PoolManager(ssl_context=context, maxsize=20)


def _cause(status: int) -> Cause | None:
    """What an answer means that is neither yes nor no."""
    if status in (401, 403):
        return Cause.UNAUTHORIZED
    if status == 429:
        return Cause.RATE_LIMITED
    return Cause.SERVER if status >= 500 else None


def _named_digest(answer: Answer) -> Digest | None:
    with suppress(ContentError):
        return Digest.parse(answer.headers.get("docker-content-digest", ""))
    return None


def _certificate(site: Site, error: Exception) -> RegistryError:
    return RegistryError(f"{site.host}: {Cause.CERTIFICATE.value}: {error}", Cause.CERTIFICATE)


def _authorization(value: str | None) -> dict[str, str]:
    return {"Authorization": value} if value else {}


def _basic(login: logins.Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _context(site: Site, access: Access) -> ssl.SSLContext:
    """The certificates that skopeo would use: the system's, and those in ``-cert-dir`` or in the folders for the host.

    Raises EnvironmentProblem for one that cannot be read.
    """
    context = ssl.create_default_context()
    if site.insecure or not access.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    user = Path.home() / ".config" / "containers" / "certs.d"
    folders = [access.cert_dir] if access.cert_dir else [folder / site.key for folder in (user, *_SYSTEM_CERTIFICATES)]
    for folder in folders:
        for path in sorted(folder.glob("*")):
            try:
                if path.suffix == ".crt":
                    context.load_verify_locations(path)
                elif path.suffix == ".cert" and path.with_suffix(".key").exists():
                    context.load_cert_chain(path, path.with_suffix(".key"))
            except (OSError, ssl.SSLError) as error:
                raise EnvironmentProblem(f"{path} is no certificate that can be used: {error}") from error
    return context
