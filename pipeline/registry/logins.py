"""The logins that ``docker login`` and ``skopeo login`` keep, for what is asked of a registry's host without skopeo.

In comes a registry's host, out goes a ``Login``, or None. Files are looked up where skopeo looks for them, and entries
matched as it matches them; helper programs are asked. A password never stands in a log line or an error.

Sources: containers-auth.json(5); Docker's config.json, "Credential stores".
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core import files
from pipeline.registry.login_helper import ask_helper

AskHelper = Callable[[str, str], tuple[str, str] | None]

_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
"""The names that logins to Docker Hub are kept under."""


class Login(NamedTuple):
    """User and password; or, where there is one, an identity token, which is exchanged for a token."""

    user: str
    password: str
    token: str = ""


def find(registry: str, authfile: Path | None, ask: AskHelper = ask_helper) -> Login | None:
    """The login to ``registry`` (``host`` or ``host:port``); from ``authfile`` alone where it is given."""
    for path in (authfile,) if authfile else _files():
        document = files.read_json(path) if path else None
        if isinstance(document, Mapping):
            login = _from_helpers(document, registry, ask) or _from_entries(document.get("auths", document), registry)
            if login is not None:
                return login
    return None


def _files() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named).expanduser()
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    yield Path(runtime or f"/run/containers/{os.getuid()}", "containers" if runtime else "", "auth.json")
    home = Path.home()
    yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "containers", "auth.json")
    yield Path(os.environ.get("DOCKER_CONFIG") or home / ".docker", "config.json").expanduser()
    yield home / ".dockercfg"


def _from_helpers(document: Mapping[str, Any], registry: str, ask: AskHelper) -> Login | None:
    helpers = document.get("credHelpers")
    name = helpers.get(registry) if isinstance(helpers, Mapping) else None
    name = name or document.get("credsStore")
    answer = ask(name, registry) if isinstance(name, str) and name else None
    if answer is None:
        return None
    # docker-credential-helpers, "Development": under this name, the secret is an identity token.
    return Login("", "", answer[1]) if answer[0] == "<token>" else Login(*answer)


def _from_entries(entries: object, registry: str) -> Login | None:
    for key, entry in entries.items() if isinstance(entries, Mapping) else ():
        if not isinstance(entry, Mapping) or not _is_for(_host(str(key)), registry):
            continue
        if isinstance(token := entry.get("identitytoken"), str) and token:
            return Login("", "", token)
        if isinstance(entry.get("auth"), str):
            try:
                user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
            except ValueError:
                continue
            if colon:
                return Login(user, password.strip("\0"))
    return None


def _is_for(host: str, registry: str) -> bool:
    return host == registry or (host in _DOCKER_HUB and registry in _DOCKER_HUB)


def _host(key: str) -> str:
    """``https://host:port/v1/`` and ``host:port/namespace`` are entries for ``host:port``."""
    return key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0]
