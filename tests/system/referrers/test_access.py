"""Logins, certificates and tokens for what is asked without skopeo: those of skopeo; and no secret is told."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from tests.support.images import Content, image, layer
from tests.support.registry import PASSWORD, USER, Registry
from tests.support.run import Result
from tests.support.signatures import SPDX, cosign_tag, referrer, signature
from tests.system.load.loading import command
from tests.system.referrers.api_registry import IDENTITY_TOKEN, TOKEN, ApiRegistry
from tests.system.referrers.signed import KEY, Signed, push_small
from tests.system.referrers.test_choosing import DRY, found
from tests.system.save.saving import save, saved, write_list

WRONG = "wrong-horse-for-the-tests"


@pytest.fixture(scope="session")
def locked(login_registry: Registry) -> Signed:
    """In a registry with TLS and a login."""
    return push_small(login_registry, "signed/locked")


def auth_file(host: str, password: str = PASSWORD, **more: str) -> Path:
    token = base64.b64encode(f"{USER}:{password}".encode()).decode()
    path = Path("auth.json")
    path.write_text(json.dumps({"auths": {host: {"auth": token, **more}}}))
    return path


def assert_discreet(result: Result, *secrets: str) -> None:
    for secret in (PASSWORD, WRONG, TOKEN, IDENTITY_TOKEN, *secrets):
        for text in (secret, base64.b64encode(f"{USER}:{secret}".encode()).decode()):
            assert text not in result.stdout + result.stderr


def test_tls_and_a_login(login_registry: Registry, locked: Signed, work: Path) -> None:
    """From the same flags as skopeo's, for save, load and verify; the password goes nowhere else."""
    access = ("-cert-dir", login_registry.cert_dir, "-authfile", login_registry.auth_file(work / "login"))
    result = command("save", "-f", write_list([locked.image]), "-referrers", "-debug", *access)
    assert result.code == 0, result
    assert "1 image/arches, 2 referrers," in result.stdout
    assert_discreet(result)
    to = f"{login_registry.host}/loaded"
    result = command("load", "-s", "saved-images.tar.gz", "-d", to, "-debug", *access)
    assert result.code == 0, result
    assert_discreet(result)
    result = command("verify", "saved-images.tar.gz", "-registry", to, *access)
    assert "all is there, bit for bit: 1 images and 2 referrers" in result.stdout
    with login_registry.client() as client:
        fallback = client.manifest(f"loaded/{locked.repository}", locked.image.digest.replace(":", "-"))
        assert locked.along["sbom"].digest in fallback.body.decode()


def test_our_own_requests_are_refused_with_a_wrong_password(login_registry: Registry, locked: Signed, work: Path) -> None:
    """What skopeo fetched before is here, so that it is us who are asked: not retried, with a tip, and no secret in it."""
    pinned = (locked.image.pinned, "-referrers", "-dry-run", "-debug", "-cert-dir", login_registry.cert_dir)
    good = login_registry.auth_file(work / "good")
    bad = login_registry.auth_file(work / "bad", password=WRONG)
    assert command("save", "-f", write_list([pinned[0]]), *pinned[1:], "-authfile", good).code == 0
    login_registry.clear_requests()
    result = command("save", "-f", "list.txt", *pinned[1:], "-authfile", bad)
    assert "cannot be asked: access denied" in result.stdout
    assert "TIP: log in with 'skopeo login'" in result.stdout
    assert_discreet(result)
    asked = [request for request in login_registry.requests() if request.user_agent == "image-tools"]
    assert asked and {request.status for request in asked} == {401}
    assert len({request.path for request in asked}) * 2 >= len(asked), "the challenge and one answer to it"


def test_a_certificate_that_is_not_trusted(tls_registry: Registry, work: Path) -> None:
    """Without -cert-dir the image fails; with -tls-verify=false it does not matter. The folders of containers and Docker
    are looked at, too."""
    signed = push_small(tls_registry, "signed/tls")
    saved([signed.image.pinned], *DRY)
    strict = ("save", "-f", "list.txt", *DRY)
    result = command(*strict)
    assert "bad certificate" in result.stdout
    assert "TIP: -cert-dir names the folder" in result.stdout
    folder = Path.home() / ".config" / "containers" / "certs.d" / tls_registry.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes((tls_registry.cert_dir / "ca.crt").read_bytes())
    assert found(command(*strict).stdout) == 2
    (folder / "ca.crt").write_text("nothing")
    result = command(*strict)
    assert result.code == 3
    assert "ca.crt is not a certificate that can be used" in result.stderr


def fill(api: ApiRegistry) -> str:
    """An image with a signature and an SBOM; its name by digest."""
    top = image("linux/amd64", [layer("tokens", 100)])
    digest = api.put(top, "v1")
    api.put(signature(digest, "app", KEY), cosign_tag(digest))
    api.put(referrer(top.manifest.descriptor(), SPDX, [Content(SPDX, b"x")]))
    return f"{api.host}/app@{digest}"


@pytest.mark.parametrize("kind", ["password", "identity token"])
def test_bearer_tokens(api: ApiRegistry, kind: str) -> None:
    """A password is sent to the token server alone, once for a repository; an identity token is exchanged by POST."""
    api.tokens = True
    login = auth_file(api.host) if kind == "password" else auth_file(api.host, identitytoken=IDENTITY_TOKEN)
    result = saved([fill(api)], *DRY, "-authfile", login, "-debug")
    assert found(result.stdout) == 2
    assert_discreet(result)
    assert {each.partition(" ")[0] for each in api.asked("^/token")} == {"GET" if kind == "password" else "POST"}
    assert not [path for _, path, given in api.log if given.startswith("Basic") and not path.startswith("/token")]
    probes = [given for method, path, given in api.log if "/referrers/" in path]
    assert probes and set(probes) <= {"", f"Bearer {TOKEN}"}


@pytest.mark.parametrize("kind", ["password", "identity token", "none"])
def test_a_token_that_is_not_given(api: ApiRegistry, kind: str) -> None:
    name = fill(api)
    saved([name], *DRY)
    api.tokens = True
    login = {
        "password": lambda: auth_file(api.host, WRONG),
        "identity token": lambda: auth_file(api.host, identitytoken=WRONG),
        "none": lambda: auth_file("other.example"),
    }[kind]()
    result = save([name], *DRY, "-debug", "-authfile", login)
    assert f"{api.host} gives no token for tests: access denied (who are you?)" in result.stdout
    assert_discreet(result)


def test_a_token_that_expires_is_fetched_again(api: ApiRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    name = fill(api)
    saved([name], *DRY)
    api.tokens = True
    answer, served = api.answer, [0]

    def forgetful(method: str, target: str, authorization: str, body: bytes) -> tuple[int, object, bytes]:
        served[0] += 1
        if served[0] == 5 and authorization == f"Bearer {TOKEN}":
            authorization = "Bearer of-yesterday"
        return answer(method, target, authorization, body)

    monkeypatch.setattr(api, "answer", forgetful)
    assert found(saved([name], *DRY, "-authfile", auth_file(api.host)).stdout) == 2


def test_a_helper_program_has_the_login(api: ApiRegistry, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = fill(api)
    saved([name], *DRY)
    api.tokens = True
    program = work / "docker-credential-tests"
    program.write_text(f'#!/bin/sh\ncat >asked\necho \'{{"Username": "<token>", "Secret": "{IDENTITY_TOKEN}"}}\'\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(work), prepend=":")
    Path("config.json").write_text(json.dumps({"credHelpers": {api.host: "tests"}}))
    assert found(saved([name], *DRY, "-authfile", "config.json").stdout) == 2
    assert Path("asked").read_text() == api.host
