"""Which images a signature policy asks something of: skopeo, which checks signatures, must copy those from their registry.

Reads a policy file as skopeo does and says whether it asks more of a name than ``insecureAcceptAnything``. What cannot be
understood counts as asking more, so that skopeo decides. Nothing is verified here.

Source: containers-policy.json(5), "docker:"; containers/image ``docker/policyconfiguration/naming.go``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.core import files
from pipeline.core.reference import Reference

SYSTEM_POLICY = Path("/etc/containers/policy.json")
ACCEPT_ANYTHING = "insecureAcceptAnything"


class SignaturePolicy:
    """One policy file; None for the one that skopeo reads where it is told none: the user's, else the machine's."""

    def __init__(self, path: Path | None) -> None:
        self._path = path or _default_policy()
        self._document = files.read_json(self._path) if self._path else None

    def asks_for_more(self, name: Reference) -> bool:
        """Whether it asks more of an image, named as it is fetched, than to accept anything.

        Where there is no policy at all, nobody asks for anything: it is only skopeo that cannot work without one.
        """
        if self._path is None:
            return False
        requirements = self._requirements(name)
        if not isinstance(requirements, list) or not requirements:
            return True
        return any(not isinstance(each, dict) or each.get("type") != ACCEPT_ANYTHING for each in requirements)

    def _requirements(self, name: Reference) -> Any:
        """Those of the most specific scope alone: requirements of wider scopes are not added to them."""
        if not isinstance(self._document, dict):
            return None
        transports = self._document.get("transports", {})
        scopes = transports.get("docker", {}) if isinstance(transports, dict) else None
        if not isinstance(scopes, dict):
            return None
        return next((scopes[scope] for scope in _scopes(name) if scope in scopes), self._document.get("default"))


def _default_policy() -> Path | None:
    candidates = (Path.home() / ".config" / "containers" / "policy.json", SYSTEM_POLICY)
    return next((path for path in candidates if path.exists()), None)


def _scopes(name: Reference) -> Iterator[str]:
    """From the whole name to its registry, then wildcards of the registry's domain, then the transport as a whole."""
    yield str(name)
    place = name.name
    while place:
        yield place
        place = place.rpartition("/")[0]
    domain = name.registry.partition(":")[0]
    while "." in domain:
        domain = domain.partition(".")[2]
        yield f"*.{domain}"
    yield ""
