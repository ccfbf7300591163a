"""SOURCE_REGISTRY, SOURCE_USERNAME, SOURCE_PASSWORD, and the same with DEST: a login for one registry, shown to nobody."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from pipeline.core.bundle import Access
from pipeline.registry.login.environment_login import EnvironmentLogin, logged_in
from tests.support.kinds import push_kind
from tests.support.push import PushedImage
from tests.support.registry import PASSWORD, USER, Registry
from tests.support.run import Result
from tests.system.save.saving import ARCHIVE, command, write_list

NAME = "environment/app:v1"


@pytest.fixture(scope="module")
def image(login_registry: Registry) -> PushedImage:
    return push_kind(login_registry, "docker-single", "environment/app")


def set_up(monkeypatch: pytest.MonkeyPatch, prefix: str, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"{prefix}_{name.upper()}", value)


def save(registry: Registry, *arguments: str | Path) -> Result:
    return command("save", "-f", write_list([NAME]), "-retry", "0", "-cert-dir", registry.cert_dir, *arguments)


def test_registry_and_login(image: PushedImage, login_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(monkeypatch, "SOURCE", registry=login_registry.host, username=USER, password=PASSWORD)
    result = save(login_registry, "-debug")
    assert result.code == 0, result
    secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert PASSWORD not in result.stderr + result.stdout and secret not in result.stderr + result.stdout
    left = [path for folder in ("XDG_RUNTIME_DIR", "TMPDIR") for path in Path(os.environ[folder]).rglob("*.json")]
    assert left == [], "the private file is gone"

    set_up(monkeypatch, "DEST", registry=login_registry.host, username=USER, password=PASSWORD)
    monkeypatch.delenv("SOURCE_PASSWORD")
    loaded = command("load", "-s", ARCHIVE, "-cert-dir", login_registry.cert_dir)
    assert loaded.code == 0, loaded
    assert "loaded 1 of 1 images" in loaded.stdout


def test_the_flag_goes_before_the_environment(
    image: PushedImage, login_registry: Registry, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(monkeypatch, "SOURCE", registry="nowhere.example.com")
    authfile = login_registry.auth_file(work)
    assert save(login_registry, "-s", login_registry.host, "-authfile", authfile).code == 0


def test_the_login_is_for_its_registry_alone(
    image: PushedImage, login_registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(monkeypatch, "SOURCE", username=USER, password=PASSWORD)
    result = save(login_registry, "-s", login_registry.host)
    assert result.code == 3 and "access denied" in result.stdout, "without SOURCE_REGISTRY it is for docker.io"


def test_the_users_other_logins_stay(
    image: PushedImage, login_registry: Registry, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(monkeypatch, "SOURCE", username="hub-user", password="hub-secret")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(login_registry.auth_file(work)))
    assert save(login_registry, "-s", login_registry.host).code == 0


@pytest.mark.parametrize("values", [{"username": "x"}, {"password": "x"}, {"username": "a:b", "password": "x"}])
def test_half_a_login(values: dict[str, str], login_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(monkeypatch, "SOURCE", **values)
    result = save(login_registry)
    assert result.code == 2 and "SOURCE_USERNAME and SOURCE_PASSWORD go together" in result.stderr


def test_the_private_file(work: Path) -> None:
    mine = work / "auth.json"
    mine.write_text(
        json.dumps(
            {
                "auths": {
                    "r.io/team": {"auth": "b2xk"},
                    "https://r.io/v1/": {"auth": "b2xk"},
                    "other.io": {"auth": "b3RoZXI="},
                },
                "credHelpers": {"r.io": "helper", "third.io": "helper"},
            }
        )
    )
    with logged_in(Access(authfile=mine), EnvironmentLogin("r.io", "user", "secret")) as access:
        assert access.authfile is not None and stat.S_IMODE(access.authfile.stat().st_mode) == 0o600
        assert json.loads(access.authfile.read_text()) == {
            "auths": {"other.io": {"auth": "b3RoZXI="}, "r.io": {"auth": base64.b64encode(b"user:secret").decode()}},
            "credHelpers": {"third.io": "helper"},
        }
    assert not access.authfile.exists()
    assert "secret" not in repr(EnvironmentLogin("r.io", "user", "secret"))


def test_what_a_killed_run_left_is_removed() -> None:
    folder = Path(os.environ["XDG_RUNTIME_DIR"])
    dead, alive = folder / "image-tools-login-4194305-x.json", folder / f"image-tools-login-{os.getppid()}-x.json"
    dead.touch()
    alive.touch()
    with logged_in(Access(), EnvironmentLogin("r.io", "user", "secret")):
        assert not dead.exists() and alive.exists(), "4194305 is more than any process has"
