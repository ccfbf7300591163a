"""All that a registry lists: its repositories, and their tags.

Source: distribution's HTTP API V2, "Listing Repositories" (not in distribution-spec: many registries deny it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.core import oci
from pipeline.core.errors import Cause, InputError, RegistryError
from pipeline.core.reference import Reference, parse_source
from pipeline.registry.pages import next_path
from pipeline.registry.routes import Routes, site
from pipeline.registry.session import Session
from pipeline.registry.tags import AT_ONCE, MAX_PAGES, Tags

_SCOPE = "registry:catalog:*"


class Catalogue:
    """Of all registries in one run. Thread-safe."""

    def __init__(self, session: Session, routes: Routes, tags: Tags) -> None:
        self._session = session
        self._routes = routes
        self._tags = tags

    def of(self, registry: str, repositories: Iterable[str] | None = None) -> list[Reference]:
        """Every tag below ``registry`` (host or host/path), of its ``repositories`` where these are known.

        Raises RegistryError, and InputError where it does not list them.
        """
        host, _, path = parse_source(registry).partition("/")
        found: list[Reference] = []
        for name in self._repositories(host) if repositories is None else repositories:
            if path and not name.startswith(f"{path}/"):
                continue
            repository = Reference(host, name)
            found += [repository.by_tag(tag) for tag in self._tags.of(repository) or ()]
        return found

    def _repositories(self, host: str) -> Iterator[str]:
        what = f"the repositories of {host} cannot be listed"
        endpoint = self._routes.home(Reference(host, "catalog"))
        path = f"/v2/_catalog?n={AT_ONCE}"
        for _ in range(MAX_PAGES):
            try:
                answer = self._session.ask("GET", site(endpoint), path, what, scope=_SCOPE)
            except RegistryError as error:
                if error.cause in (Cause.UNAUTHORIZED, Cause.NOT_FOUND):
                    raise _denied(what) from error
                raise
            if not answer.ok:
                raise _denied(what)
            names = oci.load_json(answer.data).get("repositories")
            yield from (name for name in names or () if isinstance(name, str))
            following = next_path(path, answer.headers.get("link", ""), what)
            if following is None:
                return
            path = following
        raise RegistryError(f"{what}: there are more than {MAX_PAGES * AT_ONCE:,}", Cause.UNSUPPORTED)


def _denied(what: str) -> InputError:
    return InputError([what], tip="name the images with -f LIST")
