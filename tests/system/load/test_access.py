"""Logins, certificates, Harbor's projects, and registries that fail."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from pipeline.registry.login import logins
from pipeline.registry.login.logins import Login
from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Reset, Status
from tests.support.registry import PASSWORD, USER, Registry, RegistryFactory
from tests.system.load.harbor import PASSWORD as HARBOR_PASSWORD
from tests.system.load.harbor import Harbor
from tests.system.load.loading import FAILED, Bundle, assert_holds, command, load, loaded, make_bundle


def secure(bundle: Bundle, to: Registry, *arguments: str | Path) -> tuple[int, str, str]:
    result = command("load", "-s", bundle.path, "-d", to.host, *arguments)
    return result.code, result.stdout, result.stderr


def test_tls_and_login(small: Bundle, login_registry: Registry, work: Path) -> None:
    auth = login_registry.auth_file(work)
    code, _, err = secure(small, login_registry, "-authfile", auth, "-cert-dir", login_registry.cert_dir, "-debug")
    assert code == 0, err
    for image in small.images.values():
        assert_holds(login_registry, image)
    assert PASSWORD not in err
    assert "--src-authfile" in err
    assert "--src-creds" not in err


def test_without_a_login(small: Bundle, login_registry: Registry) -> None:
    code, out, err = secure(small, login_registry, "-cert-dir", login_registry.cert_dir)
    assert code == 3
    assert "TIP: log in with 'skopeo login'" in err
    assert "loaded 0 of 3 images" in out
    assert sorted(FAILED.read_text().split()) == sorted(image.reference for image in small.images.values())


def test_without_a_login_where_skopeo_is_told_something_else(small: Bundle, fresh_registry: RegistryFactory) -> None:
    """Debian's registry answers 400 to skopeo's HEAD of a blob: the reason is what we were told, and nothing is tried again."""
    registry = fresh_registry(login=True)
    result = load(small, registry.host, "-j", "2")
    assert result.code == 3
    assert "trying again" not in result.stderr
    assert f"access denied on {registry.host} (3):" in result.stdout and "400" not in result.stdout
    assert "These fail again until they are put right" in result.stdout and "Run the same command" not in result.stdout
    assert "TIP: log in with 'skopeo login'" in result.stderr and "OCI types" not in result.stderr


def test_without_the_certificate(small: Bundle, tls_registry: Registry) -> None:
    code, _, err = secure(small, tls_registry)
    assert code == 3
    assert "-cert-dir names the folder" in err


def test_what_passes_is_tried_again(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    with FaultProxy(registry.host) as proxy:
        proxy.fault(r"/blobs/uploads/", Status(503), times=1)
        proxy.fault(r"/manifests/", Reset(-1), method="PUT", times=1)
        result = loaded(small, proxy.host, "-j", "2")
    assert "trying again" in result.stderr
    for image in small.images.values():
        assert_holds(registry, image)


def test_an_image_that_fails_stops_no_other(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    with FaultProxy(registry.host) as proxy:
        proxy.fault(r"/small/shared-one/", Status(403), method="POST", times=None)
        result = load(small, proxy.host, "-retry", "0")
        assert result.code == 1
        assert FAILED.read_text() == f"{small.images['shared-one'].reference}\n"
        assert_holds(registry, small.images["shared-two"])
        proxy.clear()
        again = loaded(small, proxy.host)
    assert not FAILED.exists()
    assert "loaded 3 of 3 images" in again.stdout
    assert "2 were there already" in again.stdout


# Harbor


def harbor_load(bundle: Bundle, harbor: Harbor, *arguments: str | Path) -> tuple[int, str, str]:
    plain = ("-repo-type", "harbor", "-harbor-https=false", "-retry", "1")
    result = load(bundle, harbor.host, "-authfile", harbor.auth_file(Path.cwd()), *plain, *arguments)
    return result.code, result.stdout, result.stderr


def test_missing_projects_are_made(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    with Harbor(registry.host) as harbor:
        code, _, err = harbor_load(small, harbor, "-j", "3", "-debug")
        assert code == 0, err
        assert list(harbor.projects.values()) == [{"project_name": "small", "metadata": {"public": "false"}}]
        assert [(asked.method, asked.status) for asked in harbor.asked] == [("HEAD", 404), ("POST", 201)]
        assert HARBOR_PASSWORD not in err
        for image in small.images.values():
            assert_holds(registry, image)
        harbor.asked.clear()
        code, out, _ = harbor_load(small, harbor)
        assert (code, harbor.asked) == (0, []), "nothing is to be loaded, so no project is looked for"
        assert "3 were there already" in out


def test_verify_knows_the_names_that_images_have_in_a_harbor(registry: Registry, fresh_registry: RegistryFactory) -> None:
    bundle = make_bundle(Path("bundle"), [push_kind(registry, "oci-single", "bare")])
    with Harbor(fresh_registry().host) as harbor:
        options = ("-tls-verify=false", "-authfile", harbor.auth_file(Path.cwd()), "-repo-type=harbor", "-retry=0")
        project = ("-default-project", "elsewhere")
        loading = command("load", "-s", bundle.path, "-d", harbor.host, "-harbor-https=false", *options, *project)
        assert loading.code == 0, loading
        place = ("verify", bundle.path, "-registry", harbor.host, *options)
        assert command(*place, *project).code == 0
        assert command(*place).code == 1, "in 'library' it is not"
        refused = command(*place, "-default-project", "no/Name")
        assert (refused.code, "is not a name of a project" in refused.stderr) == (2, True)


def test_one_that_fails_first(small: Bundle, fresh_registry: RegistryFactory) -> None:
    with Harbor(fresh_registry().host) as harbor:
        harbor.failures = [503]
        code, _, err = harbor_load(small, harbor)
        assert code == 0, err
        assert "trying again" in err


def test_a_project_that_may_not_be_made(small: Bundle, fresh_registry: RegistryFactory) -> None:
    with Harbor(fresh_registry().host) as harbor:
        harbor.may_create = False
        code, out, err = harbor_load(small, harbor)
        assert code == 3
        assert "the project small cannot be made: access denied (only system admin can create project)" in err
        assert out.count("the project small cannot be made") == 3


def test_the_certificates_of_skopeo(small: Bundle, tls_registry: Registry, fresh_registry: RegistryFactory) -> None:
    certificate = (tls_registry.folder / "server.pem", tls_registry.folder / "server.key")
    with Harbor(fresh_registry().host, tls=certificate) as harbor:
        place = ("load", "-s", small.path, "-d", harbor.host, "-repo-type=harbor", "-retry=0", "-authfile")
        refused = command(*place, harbor.auth_file(Path.cwd()))
        assert refused.code == 3
        result = command(*place, harbor.auth_file(Path.cwd()), "-cert-dir", tls_registry.cert_dir)
        assert result.code == 0, result
        assert list(harbor.projects) == ["small"]


def test_this_is_no_harbor(small: Bundle, fresh_registry: RegistryFactory) -> None:
    result = load(small, fresh_registry().host, "-repo-type=harbor", "-harbor-https=false", "-retry=0")
    assert result.code == 3
    assert "the project small cannot be" in result.stderr


# Logins as docker and skopeo keep them


def entry(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("key", ["r.io", "https://r.io/v2/", "https://r.io", "r.io/team"])
def test_logins_are_found_by_any_form_of_the_host(work: Path, key: str) -> None:
    path = work / "auth.json"
    path.write_text(json.dumps({"auths": {"other.io": entry("x", "y"), key: entry("me", "pass:word")}}))
    assert logins.find("r.io", path) == Login("me", "pass:word")
    assert logins.find("r.io:5000", path) is None


def test_logins_are_looked_up_where_skopeo_looks(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(work))
    places = [
        work / ".docker" / "config.json",
        work / ".config" / "containers" / "auth.json",
        Path(os.environ["XDG_RUNTIME_DIR"], "containers", "auth.json"),
    ]
    for number, path in enumerate(places):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"auths": {"r.io": entry(f"user{number}", "x")}}))
        assert logins.find("r.io", None) == Login(f"user{number}", "x"), "the later ones come first"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(places[0]))
    assert logins.find("r.io", None) == Login("user0", "x")


@pytest.mark.parametrize("text", ["", "[]", '{"auths": []}', '{"auths": {"r.io": {"auth": "%%%"}}}', '{"auths": {"r.io": {}}}'])
def test_files_without_a_login(work: Path, text: str) -> None:
    (work / "auth.json").write_text(text)
    assert logins.find("r.io", work / "auth.json") is None


def test_a_helper_is_asked(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = work / "docker-credential-tests"
    helper.write_text(f'#!/bin/sh\nread host\n[ "$1 $host" = "get r.io" ] && echo \'{{"Username":"{USER}","Secret":"s"}}\'\n')
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{work}:{os.environ['PATH']}")
    for document in ({"credHelpers": {"r.io": "tests"}}, {"credsStore": "tests", "auths": {"r.io": {}}}):
        (work / "config.json").write_text(json.dumps(document))
        assert logins.find("r.io", work / "config.json") == Login(USER, "s")
        assert logins.find("other.io", work / "config.json") is None
    (work / "config.json").write_text(json.dumps({"credHelpers": {"r.io": "../evil"}}))
    assert logins.find("r.io", work / "config.json") is None
