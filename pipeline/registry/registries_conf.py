"""Where a repository is really asked for: what containers-registries.conf(5) says, as skopeo obeys it.

Takes a reference, reads the machine's configuration, and returns the endpoints to ask, in order: mirrors, then the registry
itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import Cause, EnvironmentProblem, RegistryError
from pipeline.core.reference import DEFAULT_REGISTRY, Reference

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SYSTEM = Path("/etc/containers")
_NAMED_BY = "CONTAINERS_REGISTRIES_CONF"
_DOCKER_HUB = "registry-1.docker.io"
"""Where ``docker.io`` answers."""


@dataclass(frozen=True)
class Endpoint:
    """``host`` (or ``host:port``) and the repository's name there. An insecure one may have a bad certificate, or no TLS."""

    host: str
    repository: str
    insecure: bool = False

    @property
    def address(self) -> str:
        """Where the host answers. Its logins, certificates and pauses are kept under its name."""
        return _DOCKER_HUB if self.host == DEFAULT_REGISTRY else self.host


class Registries:
    """The entries of the configuration, by prefix."""

    def __init__(self, entries: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._entries = dict(_read()) if entries is None else dict(entries)

    def endpoints(self, reference: Reference) -> tuple[Endpoint, ...]:
        """Where to pull from. Without an entry, the registry that the reference names. Raises RegistryError if blocked."""
        found = max(filter(lambda prefix: _covers(prefix, reference), self._entries), key=len, default=None)
        if found is None:
            return (Endpoint(reference.registry, reference.repository),)
        entry = self._entries[found]
        if entry.get("blocked"):
            raise RegistryError(
                f"{reference.name} is blocked in registries.conf", Cause.UNSUPPORTED, tip="see containers-registries.conf(5)"
            )
        places = [mirror for mirror in entry.get("mirror", ()) if _is_asked(mirror, entry, reference)]
        return tuple(_at(place, found, reference) for place in [*places, entry])


def _at(place: Mapping[str, Any], prefix: str, reference: Reference) -> Endpoint:
    """The reference with ``prefix`` replaced by the location; a wildcard prefix may have none."""
    location = place.get("location")
    whole = reference.name if not location else location + reference.name[len(_literal(prefix, reference)) :]
    host, _, repository = whole.partition("/")
    return Endpoint(host, repository, bool(place.get("insecure")))


def _covers(prefix: str, reference: Reference) -> bool:
    literal = _literal(prefix, reference)
    return bool(literal) and (reference.name == literal or reference.name.startswith(f"{literal}/"))


def _literal(prefix: str, reference: Reference) -> str:
    """``*.example.com`` stands for the host of the reference, if it lies below."""
    if not prefix.startswith("*."):
        return prefix
    host, slash, rest = prefix[1:].partition("/")
    return f"{reference.registry}{slash}{rest}" if reference.registry.endswith(host) else ""


def _is_asked(mirror: Mapping[str, Any], entry: Mapping[str, Any], reference: Reference) -> bool:
    kind = mirror.get("pull-from-mirror") or ("digest-only" if entry.get("mirror-by-digest-only") else "all")
    return kind == "all" or (kind == "digest-only") == (reference.digest is not None)


def credential_helpers() -> tuple[str, ...]:
    """Programs that keep logins, beside the files that do (``credential-helpers``)."""
    helpers: tuple[str, ...] = ()
    for _, document in _documents():
        named = document.get("credential-helpers")
        helpers = tuple(map(str, named)) if isinstance(named, list) else helpers
    return tuple(each for each in helpers if each != "containers-auth.json")


def _read() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Prefix and entry; a later file replaces what an earlier one says of a prefix."""
    for path, document in _documents():
        try:
            for entry in document.get("registry", ()):
                if prefix := entry.get("prefix") or entry.get("location"):
                    yield prefix, entry
        except (AttributeError, TypeError) as error:
            raise _unreadable(path, error) from error


def _documents() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in _paths():
        try:
            yield path, tomllib.loads(path.read_bytes().decode())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> EnvironmentProblem:
    return EnvironmentProblem(f"{path} cannot be read: {error}", tip="see containers-registries.conf(5)")


def _paths() -> Iterator[Path]:
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "containers")
    named = os.environ.get(_NAMED_BY)
    if named and not Path(named).exists():
        raise EnvironmentProblem(
            f"{_NAMED_BY} names {named}, which does not exist", tip=f"name the right file, or unset {_NAMED_BY}"
        )
    main = user / "registries.conf"
    is_users = not named and main.exists()
    yield Path(named) if named else main if is_users else _SYSTEM / "registries.conf"
    for folder in (user,) if is_users else (_SYSTEM, user):  # a user's own file stands for all of the system's
        yield from sorted((folder / "registries.conf.d").glob("*.conf"))
