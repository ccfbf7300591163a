"""Harbor takes images only into projects: make those that are missing, through its API.

Takes the names of projects and makes those that do not exist. The login is the one that docker or skopeo holds for the
registry; images go through skopeo.

API: https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml, ``HEAD /projects``, ``POST /projects``,
``GET /repositories``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlencode

from pipeline.core.errors import Cause, RegistryError
from pipeline.registry.login.auth import Site
from pipeline.registry.session import Session

PROJECTS = "/api/v2.0/projects"
REPOSITORIES = "/api/v2.0/repositories"
PAGE, MAX_PAGES = 100, 500
_CREATED, _OK, _CONFLICT, _NOT_FOUND = 201, 200, 409, 404


class Harbor:
    """The projects of one Harbor. Thread-safe."""

    def __init__(self, registry: str, session: Session, https: bool = True) -> None:
        host = registry.partition("/")[0]
        self._site = Site(host, host, scheme="https" if https else "http")
        self._session = session

    def ensure(self, project: str) -> bool:
        """Make the project, private, unless it exists. Whether it was made. Raises RegistryError."""
        # HEAD asks for exactly this name; GET ?name= would match parts of others.
        query = urlencode({"project_name": project})
        if self._ask("HEAD", f"{PROJECTS}?{query}", f"the project {project} cannot be looked for", _NOT_FOUND) == _OK:
            return False
        body = json.dumps({"project_name": project, "metadata": {"public": "false"}}).encode()
        return self._ask("POST", PROJECTS, f"the project {project} cannot be made", _CONFLICT, body) == _CREATED

    def repositories(self) -> Iterator[str]:
        """Names of all repositories that the login may see. Raises RegistryError."""
        what = f"{self._site.host}: the repositories cannot be listed"
        for page in range(1, MAX_PAGES + 1):
            path = f"{REPOSITORIES}?{urlencode({'page': page, 'page_size': PAGE})}"
            answer = self._session.ask("GET", self._site, path, what)
            try:
                names = [entry["name"] for entry in json.loads(answer.data)] if answer.ok else None
            except (ValueError, TypeError, KeyError):
                names = None
            if names is None:
                reason = answer.words or f"status {answer.status}"
                raise RegistryError(
                    f"{what}: {reason}", Cause.UNSUPPORTED, tip="is this a Harbor 2? Or name the images with -f"
                )
            yield from (name for name in names if isinstance(name, str))
            if len(names) < PAGE:
                return
        raise RegistryError(f"{what}: there are more than {MAX_PAGES * PAGE:,}", Cause.UNSUPPORTED)

    def _ask(self, method: str, path: str, what: str, other: int, body: bytes | None = None) -> int:
        """The status: yes, or the ``other`` that means something here."""
        said = f"{self._site.host}: {what}"
        answer = self._session.ask(method, self._site, path, said, headers={"Content-Type": "application/json"}, body=body)
        if answer.ok or answer.status == other:
            return answer.status
        reason = answer.words or f"status {answer.status}"
        raise RegistryError(
            f"{said}: {reason}", Cause.UNSUPPORTED, tip="is this a Harbor 2? Without -repo-type no project is made"
        )
