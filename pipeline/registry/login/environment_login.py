"""A login that the environment gives (``SOURCE_USERNAME``, ``SOURCE_PASSWORD``), for as long as a run lasts.

skopeo takes logins from a file. So the user's logins are copied into a private one (mode 0600), in which this login stands for
its registry and nothing else; it is removed at the end. The password is never on a command line, in a log or in an error.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core import files, reference
from pipeline.core.bundle import Access
from pipeline.core.errors import InputError, UsageError
from pipeline.core.reference import DEFAULT_REGISTRY

_PREFIX = "image-tools-login-"
_written: set[Path] = set()
"""Files that are to be removed, also where a run ends in the middle (``remove_all``)."""


@dataclass(frozen=True)
class EnvironmentLogin:
    """``registry`` is a host, with its port; ``repr`` shows no password."""

    registry: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"EnvironmentLogin({self.registry}, {self.user})"


def registry_of(prefix: str) -> str:
    """The registry that ``SOURCE_REGISTRY`` or ``DEST_REGISTRY`` names, or an empty text. Raises UsageError."""
    name = os.environ.get(f"{prefix}_REGISTRY", "")
    try:
        return reference.parse_source(name) if name else ""
    except InputError as error:
        raise UsageError(f"{prefix}_REGISTRY: {error}") from error


def login_of(prefix: str) -> EnvironmentLogin | None:
    """``PREFIX_USERNAME`` and ``PREFIX_PASSWORD``, for ``PREFIX_REGISTRY`` or else docker.io. Raises UsageError."""
    user, password = (os.environ.get(f"{prefix}_{name}", "") for name in ("USERNAME", "PASSWORD"))
    if not user and not password:
        return None
    if not user or not password or ":" in user:
        raise UsageError(f"{prefix}_USERNAME and {prefix}_PASSWORD go together, and a user's name holds no colon")
    return EnvironmentLogin((registry_of(prefix) or DEFAULT_REGISTRY).partition("/")[0], user, password)


@contextlib.contextmanager
def logged_in(access: Access, login: EnvironmentLogin | None) -> Iterator[Access]:
    """For the block, ``access`` with ``login``, and with the user's logins to all other registries."""
    if login is None:
        yield access
        return
    folder = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    _remove_orphans(Path(folder))
    prefix = f"{_PREFIX}{os.getpid()}-"
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".json", dir=folder)  # for the owner alone
    path = Path(name)
    _written.add(path)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(_document(access, login), file)
        yield replace(access, authfile=path)
    finally:
        _remove(path)


def _remove_orphans(folder: Path) -> None:
    """Remove what a killed run has left."""
    for path in folder.glob(f"{_PREFIX}*.json"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists() and Path("/proc/self").exists():
            _remove(path)


def remove_all() -> None:
    """Before the process ends without unwinding."""
    for path in tuple(_written):
        _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
    _written.discard(path)


def _document(access: Access, login: EnvironmentLogin) -> dict[str, Any]:
    """What skopeo would read, in one document; the first file that knows a registry wins. See containers-auth.json(5)."""
    from pipeline.registry.login import logins  # here, as most runs need no login of this kind, and it loads plumbum

    entries: dict[str, Any] = {}
    helpers: dict[str, Any] = {}
    store = ""
    for path in (access.authfile,) if access.authfile else logins.user_files():
        document = files.read_json(path)
        if isinstance(document, Mapping):
            found, asked = document.get("auths", document), document.get("credHelpers")
            entries = {**(found if isinstance(found, Mapping) else {}), **entries}
            helpers = {**(asked if isinstance(asked, Mapping) else {}), **helpers}
            store = store or document.get("credsStore", "")
    names = logins.DOCKER_HUB if login.registry in logins.DOCKER_HUB else {login.registry}
    entries = {name: entry for name, entry in entries.items() if logins.host_of(name) not in names}
    entries[login.registry] = {"auth": base64.b64encode(f"{login.user}:{login.password}".encode()).decode()}
    made = {"auths": entries, "credHelpers": {name: each for name, each in helpers.items() if name not in names}}
    return {**made, "credsStore": store} if store else made
