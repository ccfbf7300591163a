"""Where a repository is asked for: ``registries_conf.conf`` as skopeo obeys it (containers-registries_conf.conf(5))."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import EnvironmentProblem
from pipeline.core.reference import parse
from pipeline.registry import registries_conf
from pipeline.registry.registries_conf import Endpoint, Registries
from tests.support.registry import Registry
from tests.system.referrers.api_registry import ApiRegistry
from tests.system.referrers.signed import Signed
from tests.system.referrers.test_choosing import found
from tests.system.save.saving import command, save, saved, write_list

DIGEST = "sha256:" + "0" * 64
MIRROR = "[[registry.mirror]]\n"


@pytest.fixture(autouse=True)
def no_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder in place of the system's."""
    monkeypatch.setattr(registries_conf, "_SYSTEM", tmp_path / "system")
    (tmp_path / "system" / "registries.conf.d").mkdir(parents=True)
    return tmp_path / "system"


def write(text: str, path: Path = Path("registries.conf")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def asked(monkeypatch: pytest.MonkeyPatch, text: str, name: str) -> list[str]:
    """The places, in order; an ``!`` behind those that are insecure."""
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(write(text)))
    endpoints = Registries().endpoints(parse(name))
    return [f"{each.host}/{each.repository}{'!' if each.insecure else ''}" for each in endpoints]


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("", "r.io/team/app:v1", ["r.io/team/app"]),
        ('location = "r.io"\ninsecure = true', "r.io/team/app:v1", ["r.io/team/app!"]),
        ('location = "r.io"', "r.io:5000/team/app:v1", ["r.io:5000/team/app"]),
        ('prefix = "r.io"\nlocation = "m.io/r"', "r.io/team/app:v1", ["m.io/r/team/app"]),
        ('prefix = "r.io/team"\nlocation = "m.io"', "r.io/team/app:v1", ["m.io/app"]),
        ('prefix = "r.io/team"\nlocation = "m.io"', "r.io/teams/app:v1", ["r.io/teams/app"]),
        ('prefix = "r.io/team/app"\nlocation = "m.io/x/y"', "r.io/team/app:v1", ["m.io/x/y"]),
        ('prefix = "*.r.io"\ninsecure = true', "eu.r.io/app:v1", ["eu.r.io/app!"]),
        ('prefix = "*.r.io"\nlocation = "m.io"', "a.eu.r.io/app:v1", ["m.io/app"]),
        ('prefix = "*.r.io"\nlocation = "m.io"', "r.io/app:v1", ["r.io/app"]),
        ('prefix = "docker.io"\nlocation = "m.io/hub"', "nginx:1", ["m.io/hub/library/nginx"]),
        (
            f'location = "r.io"\n{MIRROR}location = "m.io/r"\ninsecure = true\n{MIRROR}location = "n.io"',
            "r.io/team/app:v1",
            ["m.io/r/team/app!", "n.io/team/app", "r.io/team/app"],
        ),
        (
            f'location = "r.io"\nmirror-by-digest-only = true\n{MIRROR}location = "m.io"',
            "r.io/app:v1",
            ["r.io/app"],
        ),
        (
            f'location = "r.io"\nmirror-by-digest-only = true\n{MIRROR}location = "m.io"',
            f"r.io/app@{DIGEST}",
            ["m.io/app", "r.io/app"],
        ),
        (
            f'location = "r.io"\n{MIRROR}location = "m.io"\npull-from-mirror = "tag-only"',
            f"r.io/app@{DIGEST}",
            ["r.io/app"],
        ),
        (f'location = "r.io"\n{MIRROR}location = "m.io"\npull-from-mirror = "all"', "r.io/app:v1", ["m.io/app", "r.io/app"]),
    ],
)
def test_endpoints(monkeypatch: pytest.MonkeyPatch, text: str, name: str, expected: list[str]) -> None:
    assert asked(monkeypatch, f"[[registry]]\n{text}" if text else "", name) == expected


def test_the_longest_prefix_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"r.io": "a.io", "r.io/team": "b.io", "*.io": "c.io"}
    text = "".join(f'[[registry]]\nprefix = "{prefix}"\nlocation = "{place}"\n' for prefix, place in places.items())
    assert asked(monkeypatch, text, "r.io/team/app:v1") == ["b.io/app"]
    assert asked(monkeypatch, text, "r.io/app:v1") == ["a.io/app"]
    assert asked(monkeypatch, text, "x.io/app:v1") == ["c.io/app"]


def test_docker_hub() -> None:
    """It answers elsewhere; its logins and pauses are kept under its name, as skopeo's are."""
    [hub] = Registries({}).endpoints(parse("nginx:1"))
    assert (hub.host, hub.repository, hub.address) == ("docker.io", "library/nginx", "registry-1.docker.io")
    assert Endpoint("r.io", "x").address == "r.io"


def test_which_files_are_read(no_system: Path) -> None:
    """The user's own file stands for all of the system's; what lies in registries.conf.d replaces what a file said before."""

    def place() -> str:
        return Registries().endpoints(parse("r.io/app:v1"))[-1].host

    def entry(location: str) -> str:
        return f'[[registry]]\nprefix = "r.io"\nlocation = "{location}"\n'

    user = Path.home() / ".config" / "containers"
    assert place() == "r.io"
    write(entry("system.io"), no_system / "registries.conf")
    assert place() == "system.io"
    write(entry("dropin.io"), no_system / "registries.conf.d" / "10.conf")
    assert place() == "dropin.io"
    write(entry("user-dropin.io"), user / "registries.conf.d" / "10.conf")
    assert place() == "user-dropin.io"
    (user / "registries.conf.d" / "10.conf").unlink()
    write(entry("user.io"), user / "registries.conf")
    assert place() == "user.io", "nothing of the system's counts"


@pytest.mark.parametrize("text", ["[[registry", "registry = 7", "registry = [7]", "\0"])
def test_nonsense(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(EnvironmentProblem, match=r"registries\.conf cannot be read"):
        asked(monkeypatch, text, "r.io/app:v1")


# End to end: skopeo and we ask the same place


@pytest.mark.parametrize("how", ["variable", "home"])
def test_another_location(registry: Registry, small: Signed, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Without TLS, as the entry says so."""
    home = Path.home() / ".config" / "containers" / "registries.conf"
    entry = f'[[registry]]\nprefix = "r.example/signed"\nlocation = "{registry.host}/signed"\ninsecure = true\n'
    path = write(entry, Path("registries.conf") if how == "variable" else home)
    if how == "variable":
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))
    result = command("save", "-f", write_list(["r.example/signed/small:v1"]), "-referrers", "-dry-run")
    assert result.code == 0, result
    assert found(result.stdout) == 2


def test_a_mirror(registry: Registry, api: ApiRegistry, small: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked first; what it lacks, refuses, or has no list of, the registry has."""
    text = f'[[registry]]\nlocation = "{registry.host}"\n[[registry.mirror]]\nlocation = "{api.host}"\n'
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(write(text)))
    place = f"/v2/{small.repository}"
    api.answers[f"{place}/manifests/{small.along['sig'].tag}"] = (403, {}, b"")
    api.answers[f"{place}/referrers/{small.image.digest}"] = (200, {}, b'{"manifests": []}')
    assert found(saved([small.image], "-referrers", "-dry-run", "-retry", "0").stdout) == 2
    assert api.asked(f"{place}/manifests/{small.along['sig'].tag}") and api.asked("/referrers/")
    api.answers[f"{place}/referrers/{small.image.digest}"] = (500, {}, b"")
    assert found(saved([small.image], "-referrers", "-dry-run", "-retry", "0").stdout) == 2


def test_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch, small: Signed) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", "gone.conf")
    result = save([small.image], "-referrers", "-retry", "0")
    assert result.code == 3
    assert "Traceback" not in result.stderr
