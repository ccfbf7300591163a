"""Registries with TLS and a login: found where the user put certificates and logins, or a clear reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.kinds import push_kind
from tests.support.push import PushedImage
from tests.support.registry import PASSWORD, Registry
from tests.support.run import Result, run
from tests.system.save.saving import ARCHIVE, CACHE, FAILED, command, lines, unpack, write_list


@pytest.fixture(scope="session")
def behind_tls(tls_registry: Registry) -> PushedImage:
    return push_kind(tls_registry, "docker-single", "access/tls")


@pytest.fixture(scope="session")
def behind_login(login_registry: Registry) -> PushedImage:
    return push_kind(login_registry, "docker-single", "access/login")


def save(image: PushedImage, *arguments: str | Path) -> Result:
    """With TLS verified, as it is by default."""
    return command("save", "-f", write_list([image]), "-retry", "0", *arguments)


def check(result: Result, image: PushedImage) -> None:
    assert result.code == 0, result
    assert unpack().entry(image.reference)


def test_a_private_authority(tls_registry: Registry, behind_tls: PushedImage) -> None:
    check(save(behind_tls, "-cert-dir", tls_registry.cert_dir), behind_tls)


def test_a_relative_folder_of_certificates(tls_registry: Registry, behind_tls: PushedImage) -> None:
    shutil.copytree(tls_registry.cert_dir, "my certs")
    check(save(behind_tls, "-cert-dir", "my certs"), behind_tls)


def test_an_unknown_authority_fails_and_says_so(behind_tls: PushedImage) -> None:
    result = save(behind_tls)
    assert result.code == 3
    for text in (result.stdout, result.stderr):
        assert "bad certificate: unable to get local issuer certificate" in text
        assert "-cert-dir" in text, "what to do next"
    assert FAILED.read_text() == lines([behind_tls])
    assert not ARCHIVE.exists()


def test_without_verification(behind_tls: PushedImage) -> None:
    check(save(behind_tls, "-tls-verify=false"), behind_tls)


def test_a_registry_without_tls_says_what_to_do(registry: Registry) -> None:
    result = save(push_kind(registry, "oci-single"))
    assert result.code == 3
    assert "answers with plain HTTP where TLS was expected" in result.stderr
    assert "-tls-verify=false" in result.stderr


def test_a_missing_folder_of_certificates(behind_tls: PushedImage) -> None:
    result = save(behind_tls, "-cert-dir", "nowhere")
    assert result.code == 2
    assert "nowhere" in result.stderr
    assert not CACHE.exists()


# Logins


def options(registry: Registry) -> tuple[str | Path, ...]:
    return ("-cert-dir", registry.cert_dir)


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_authfile(login_registry: Registry, behind_login: PushedImage, work: Path, absolute: bool) -> None:
    login_registry.auth_file(Path("logins"))
    place = Path("logins/config.json")
    result = save(behind_login, *options(login_registry), "-authfile", work / place if absolute else place)
    check(result, behind_login)


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
@pytest.mark.parametrize(("variable", "place"), [("REGISTRY_AUTH_FILE", "logins/config.json"), ("DOCKER_CONFIG", "logins")])
def test_variables(
    login_registry: Registry,
    behind_login: PushedImage,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    place: str,
    absolute: bool,
) -> None:
    login_registry.auth_file(Path("logins"))
    monkeypatch.setenv(variable, str(work / place) if absolute else place)
    check(save(behind_login, *options(login_registry)), behind_login)


def test_where_docker_login_puts_it(login_registry: Registry, behind_login: PushedImage) -> None:
    login_registry.auth_file(Path.home() / ".docker")
    check(save(behind_login, *options(login_registry)), behind_login)


def test_authfile_wins_over_the_variable(
    login_registry: Registry, behind_login: PushedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    login_registry.auth_file(Path("right"))
    login_registry.auth_file(Path("wrong"), password="wrong")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "wrong/config.json")
    check(save(behind_login, *options(login_registry), "-authfile", "right/config.json"), behind_login)


@pytest.mark.parametrize("password", ["", "wrong-pony"])
def test_no_login_or_a_wrong_one(login_registry: Registry, behind_login: PushedImage, password: str) -> None:
    arguments = [*options(login_registry), "-debug"]
    if password:
        login_registry.auth_file(Path("logins"), password=password)
        arguments += ["-authfile", "logins/config.json"]
    login_registry.clear_requests()
    result = save(behind_login, *arguments, "-retry", "3")
    assert result.code == 3
    for text in (result.stdout, result.stderr):
        assert "authentication required" in text or "invalid username/password" in text
        assert "login" in text, "what to do next"
    assert "trying again" not in result.stderr
    assert FAILED.read_text() == lines([behind_login])
    if password:
        assert password not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [(["-authfile", "none.json"], {}), ([], {"REGISTRY_AUTH_FILE": "none.json"}), ([], {"DOCKER_CONFIG": "none.json"})],
    ids=["authfile", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG"],
)
def test_a_login_that_is_not_there_is_refused(
    behind_login: PushedImage, monkeypatch: pytest.MonkeyPatch, arguments: list[str], variables: dict[str, str]
) -> None:
    """To skopeo a missing one silently means: anonymous."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = save(behind_login, *arguments)
    assert result.code == (2 if arguments else 3)
    assert "none.json" in result.stderr
    assert "login" in result.stderr
    assert not ARCHIVE.exists()


def test_a_login_is_in_no_output(login_registry: Registry, behind_login: PushedImage) -> None:
    """Nor in the list, the state or the bundle."""
    login_registry.auth_file(Path("logins"))
    arguments = ["-cert-dir", str(login_registry.cert_dir), "-authfile", "logins/config.json", "-debug"]
    result = run("save", "-f", write_list([behind_login]), *arguments)
    assert result.code == 0, result
    secrets = (PASSWORD, "dGVzdGVyOm")  # the second is how the basic form begins
    assert secrets[1] in Path("logins/config.json").read_text()
    assert not any(secret in result.stdout + result.stderr for secret in secrets)
    for path in Path().rglob("*"):
        if path.is_file() and path.parent.name != "logins":
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path
