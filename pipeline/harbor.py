"""Harbor takes images only into projects: make those that are missing, through its API.

In come project names, out go projects that exist. The login is the one that docker or skopeo holds for the registry. Only this
module speaks HTTP to a registry; images go through skopeo.

API: https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml, ``HEAD /projects``, ``POST /projects``.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from . import logins
from .bundle import Access
from .contents import HeldImage
from .errors import Cause, EnvironmentProblem, RegistryError
from .interruption import Interruption
from .logs import log
from .reference import DEFAULT_REGISTRY, Reference

DEFAULT_PROJECT = "library"
TIMEOUT = 60.0
"""Seconds for one request."""
_SYSTEM_CERTIFICATES = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
_CREATED, _OK, _CONFLICT, _NOT_FOUND = 201, 200, 409, 404


class Harbor:
    """The projects of one Harbor. Thread-safe."""

    def __init__(self, registry: str, access: Access, interruption: Interruption, https: bool = True) -> None:
        self._host = registry.partition("/")[0]
        self._url = f"{'https' if https else 'http'}://{self._host}/api/v2.0/projects"
        self._access = access
        self._interruption = interruption
        self._login = logins.find(self._host, access.authfile)
        handlers = [urllib.request.HTTPSHandler(context=_context(self._host, access))] if https else []
        self._opener = urllib.request.build_opener(*handlers)

    def ensure(self, project: str) -> bool:
        """Make the project, private, unless it exists. Whether it was made. Raises RegistryError."""
        # HEAD asks for exactly this name; GET ?name= would match parts of others.
        if self._ask("HEAD", f"{self._url}?{urllib.parse.urlencode({'project_name': project})}", project) == _OK:
            return False
        body = json.dumps({"project_name": project, "metadata": {"public": "false"}}).encode()
        return self._ask("POST", self._url, project, body) == _CREATED

    def _ask(self, method: str, url: str, project: str, body: bytes | None = None) -> int:
        for number in range(1, self._access.retries + 2):
            self._interruption.check()
            try:
                status, words = self._request(method, url, body)
            except OSError as error:
                status, words = 0, str(getattr(error, "reason", error))
                if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                    raise RegistryError(f"{self._host}: {Cause.CERTIFICATE.value}: {words}", Cause.CERTIFICATE) from error
            except http.client.HTTPException as error:
                status, words = 0, f"this is no HTTP: {error!r}"
            if status in (_OK, _CREATED, _CONFLICT) or (status == _NOT_FOUND and method == "HEAD"):
                return status
            problem = _problem(method, self._host, project, status, words)
            if not problem.cause.can_pass or number > self._access.retries:
                raise problem
            pause = min(60.0, 2.0 ** (number - 1))
            log.warning("%s; trying again in %.0f s (%d of %d)", problem, pause, number, self._access.retries)
            self._interruption.sleep(pause)
        raise AssertionError("unreachable")

    def _request(self, method: str, url: str, body: bytes | None) -> tuple[int, str]:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
        if self._login:
            token = base64.b64encode(":".join(self._login).encode()).decode()
            # Not for where it may be redirected to.
            request.add_unredirected_header("Authorization", f"Basic {token}")
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _words(error.read(65536))


def place(image: HeldImage, registry: str, default: str) -> Reference:
    """Where ``image`` goes in a Harbor: what has no project of its own goes into ``default``.

    Docker Hub's ``library`` is no project but the way to write a name without one.
    """
    target = image.at(registry)
    if "/" in registry:
        return target
    name = image.reference.repository
    if image.reference.registry == DEFAULT_REGISTRY:
        name = name.removeprefix("library/")
    repository = name if "/" in name else f"{default}/{name}"
    return Reference(target.registry, repository, target.tag, target.digest)


def _problem(method: str, host: str, project: str, status: int, words: str) -> RegistryError:
    what = f"{host}: the project {project} cannot be {'looked for' if method == 'HEAD' else 'made'}"
    reason = words or (f"status {status}" if status else "no answer")
    if status in (401, 403):
        return RegistryError(f"{what}: {Cause.UNAUTHORIZED.value} ({reason})", Cause.UNAUTHORIZED)
    if status == 429:
        return RegistryError(f"{what}: {Cause.RATE_LIMITED.value}", Cause.RATE_LIMITED)
    if status == 0:
        return RegistryError(f"{what}: {reason}", Cause.NETWORK)
    if status >= 500:
        return RegistryError(f"{what}: {reason}", Cause.SERVER)
    return RegistryError(f"{what}: {reason}\nTIP: is this a Harbor 2? Without -repo-type no project is made", Cause.UNSUPPORTED)


def _words(body: bytes) -> str:
    """What Harbor says: ``{"errors": [{"code": …, "message": …}]}``."""
    try:
        return "; ".join(str(error["message"]) for error in json.loads(body)["errors"])
    except (ValueError, KeyError, TypeError):
        return ""


def _context(host: str, access: Access) -> ssl.SSLContext:
    """The certificates that skopeo would use: the system's, and those in ``-cert-dir`` or in the folders for the host.

    Raises EnvironmentProblem for one that cannot be read.
    """
    context = ssl.create_default_context()
    if not access.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    folders = [access.cert_dir] if access.cert_dir else [folder / host for folder in _SYSTEM_CERTIFICATES]
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
