"""The logins that ``docker login`` and ``skopeo login`` keep, for what is asked of a registry's host without skopeo.

Takes the name of a registry or a repository, returns a ``Login`` or None. Files are looked up where skopeo looks for them, and
entries matched as it matches them; helper programs are asked. A password never stands in a log line or an error.

Sources: containers-auth.json(5); Docker's config.json, "Credential stores".
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.core import files
from pipeline.registry.login.login_helper import ask_helper
from pipeline.registry.registries_conf import credential_helpers

AskHelper = Callable[[str, str], tuple[str, str] | None]

DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
"""The names that logins to Docker Hub are kept under."""
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"


class Login(NamedTuple):
    """User and password; or, where there is one, an identity token, which is exchanged for a token."""

    user: str
    password: str
    token: str = ""


def find(name: str, authfile: Path | None, ask: AskHelper = ask_helper) -> Login | None:
    """The login for ``name``: a registry (``host`` or ``host:port``), or a repository on it, whose longest namespace wins.

    From ``authfile`` alone where it is given; otherwise from the first file that has one.
    """
    registry = name.partition("/")[0]
    for path in (authfile,) if authfile else user_files():
        document = files.read_json(path) if path else None
        if isinstance(document, Mapping):
            # Entries before the store of all logins, as skopeo, which knows no such store, has it.
            helpers = document.get("credHelpers")
            login = _from_helper(helpers.get(registry) if isinstance(helpers, Mapping) else None, registry, ask)
            login = login or _from_entries(document.get("auths", document), name)
            # docker keeps its login to Docker Hub there under an address.
            key = _DOCKER_HUB_KEY if registry in DOCKER_HUB else registry
            login = login or _from_helper(document.get("credsStore"), key, ask)
            if login is not None:
                return login
    for helper in () if authfile else credential_helpers():
        if login := _from_helper(helper, registry, ask):
            return login
    return None


def user_files() -> Iterator[Path]:
    """Where logins of the user are kept, in the order in which skopeo looks."""
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named).expanduser()
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    yield Path(runtime or f"/run/containers/{os.getuid()}", "containers" if runtime else "", "auth.json")
    home = Path.home()
    yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "containers", "auth.json")
    yield Path(os.environ.get("DOCKER_CONFIG") or home / ".docker", "config.json").expanduser()
    yield home / ".dockercfg"


def _from_helper(name: object, registry: str, ask: AskHelper) -> Login | None:
    answer = ask(name, registry) if isinstance(name, str) and name else None
    if answer is None:
        return None
    # docker-credential-helpers, "Development": under this name, the secret is an identity token.
    return Login("", "", answer[1]) if answer[0] == "<token>" else Login(*answer)


def _from_entries(entries: object, name: str) -> Login | None:
    if not isinstance(entries, Mapping):
        return None
    registry = name.partition("/")[0]
    logins = {str(key): login for key, entry in entries.items() if (login := _login(entry)) is not None}
    namespace = name
    while "/" in namespace:  # a namespace is written without a scheme, and matches as it stands
        if namespace in logins:
            return logins[namespace]
        namespace = namespace.rpartition("/")[0]
    hosts = {key: host_of(key) for key in logins if "://" in key or "/" not in key or name == registry}
    exact = next((key for key, host in hosts.items() if key == registry or host == registry), None)
    found = exact or next((key for key, host in hosts.items() if {host, registry} <= DOCKER_HUB), None)
    return logins[found] if found else None


def _login(entry: object) -> Login | None:
    if not isinstance(entry, Mapping):
        return None
    if isinstance(token := entry.get("identitytoken"), str) and token:
        return Login("", "", token)
    try:
        user, colon, password = base64.b64decode(entry.get("auth") or "", validate=True).decode().partition(":")
    except (ValueError, TypeError):
        return None
    return Login(user, password.strip("\0")) if colon else None


def host_of(key: str) -> str:
    """``https://host:port/v1/`` is an entry for ``host:port``; so is ``host:port/namespace`` where no repository is named."""
    return key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0]
