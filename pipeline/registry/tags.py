"""All tags of a repository.

Source: distribution-spec 1.1, "Listing Tags".
"""

from __future__ import annotations

from pipeline.core import oci
from pipeline.core.errors import Cause, RegistryError
from pipeline.core.reference import Reference
from pipeline.registry.pages import next_path
from pipeline.registry.registries_conf import Endpoint
from pipeline.registry.routes import Routes, scope, site
from pipeline.registry.session import Session

AT_ONCE = 1000
"""Tags of a page."""
MAX_PAGES = 200


class Tags:
    """Of all registries in one run. Thread-safe."""

    def __init__(self, session: Session, routes: Routes) -> None:
        self._session = session
        self._routes = routes

    def of(self, name: Reference) -> list[str] | None:
        """None where there is no such repository. Raises RegistryError, ContentError."""
        return self._routes.first(name, lambda endpoint: self._list(endpoint, name))

    def _list(self, endpoint: Endpoint, name: Reference) -> list[str] | None:
        what = f"the tags of {name.name} cannot be listed"
        path = f"/v2/{endpoint.repository}/tags/list?n={AT_ONCE}"
        found: list[str] = []
        for _ in range(MAX_PAGES):
            answer = self._session.ask("GET", site(endpoint), path, what, scope=scope(endpoint))
            if answer.status == 404:
                return None
            tags = oci.load_json(answer.data).get("tags") if answer.ok else None
            if not answer.ok:
                raise RegistryError(f"{what}: {answer.words or f'status {answer.status}'}", Cause.UNSUPPORTED)
            found += [tag for tag in tags or () if isinstance(tag, str)]
            following = next_path(path, answer.headers.get("link", ""), what)
            if following is None:
                return found
            path = following
        raise RegistryError(f"{what}: there are more than {len(found):,}", Cause.UNSUPPORTED)
