"""Which login is taken for which name (containers-auth.json(5))."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from pipeline.registry.login import logins


def find(name: str, *keys: str) -> str | None:
    """The key whose login is found for ``name``."""
    entries = {key: {"auth": base64.b64encode(f"{number}:x".encode()).decode()} for number, key in enumerate(keys)}
    Path("auth.json").write_text(json.dumps({"auths": entries}))
    login = logins.find(name, Path("auth.json"))
    return None if login is None else keys[int(login.user)]


@pytest.mark.parametrize(
    ("name", "keys", "expected"),
    [
        ("r.io/a/b/c", ["r.io", "r.io/a", "r.io/a/b", "r.io/a/b/c", "r.io/a/b/c/d"], "r.io/a/b/c"),
        ("r.io/a/b/c", ["r.io", "r.io/a", "r.io/a/b"], "r.io/a/b"),
        ("r.io/a/bc", ["r.io", "r.io/a/b"], "r.io"),
        ("r.io/x", ["r.io/a", "https://r.io/v2/"], "https://r.io/v2/"),
        ("r.io/x", ["r.io/a", "other.io"], None),
        ("r.io", ["r.io/a"], "r.io/a"),
        ("r.io:5000/x", ["r.io"], None),
        ("docker.io/library/nginx", ["https://index.docker.io/v1/"], "https://index.docker.io/v1/"),
        ("docker.io/me/app", ["https://index.docker.io/v1/", "docker.io/me"], "docker.io/me"),
        ("docker.io/me/app", ["registry-1.docker.io", "docker.io"], "docker.io"),
    ],
)
def test_the_longest_namespace_wins(name: str, keys: list[str], expected: str | None) -> None:
    assert find(name, *keys) == expected


def test_helpers_are_asked_for_the_host() -> None:
    Path("auth.json").write_text(json.dumps({"credHelpers": {"r.io": "tests"}}))
    asked: list[tuple[str, str]] = []

    def ask(name: str, registry: str) -> tuple[str, str]:
        asked.append((name, registry))
        return "me", "x"

    assert logins.find("r.io/team/app", Path("auth.json"), ask) == logins.Login("me", "x")
    assert asked == [("tests", "r.io")]


def test_helpers_of_registries_conf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file has a login."""
    Path("registries.conf").write_text('credential-helpers = ["containers-auth.json", "one", "two"]')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", "registries.conf")
    asked: list[tuple[str, str]] = []

    def ask(name: str, registry: str) -> tuple[str, str] | None:
        asked.append((name, registry))
        return ("me", "x") if name == "two" else None

    assert logins.find("r.io/app", None, ask) == logins.Login("me", "x")
    assert asked == [("one", "r.io"), ("two", "r.io")]
    Path("auth.json").write_text("{}")
    assert logins.find("r.io/app", Path("auth.json"), ask) is None


def test_docker_hubs_key_in_a_store() -> None:
    Path("auth.json").write_text(json.dumps({"credsStore": "desktop"}))
    asked: list[tuple[str, str]] = []
    logins.find("docker.io/library/nginx", Path("auth.json"), lambda *names: asked.append(names))
    assert asked == [("desktop", "https://index.docker.io/v1/")]
