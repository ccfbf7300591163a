"""Slips: who signed, over what, and that nothing is pushed without one where it is demanded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE
from tests.support.images import image, layer
from tests.support.push import push
from tests.support.registry import Registry, RegistryFactory
from tests.support.run import Result
from tests.system.bundles.helpers import image_tools

NAME = "saved-images.tar.gz"
SLIP = Path(f"{NAME}.slip.json")


@pytest.fixture(autouse=True)
def keys(work: Path) -> None:
    """Two keys; ``allowed`` names the first."""
    for name in ("key", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name, "-C", name], check=True)
    Path("allowed").write_text(f'ops@example.com namespaces="image-tools-slip" {Path("key.pub").read_text()}')


@pytest.fixture
def saved(registry: Registry, work: Path) -> str:
    push(registry, "slip/app", "v1", image("linux/amd64", [layer("slip/app", size=60_000)]))
    return f"{registry.host}/slip/app:v1"


def save(name: str, *arguments: str) -> Result:
    result = image_tools("save", name, "-tls-verify=false", "-a=amd64", "-sign", "key", "-note", "change 4711", *arguments)
    assert result.code == EXIT_OK, result
    return result


def load(target: Registry, source: str = NAME) -> Result:
    return image_tools("load", source, "-d", target.host, "-tls-verify=false", "-require-slip", "allowed")


def refused(target: Registry, said: str, source: str = NAME) -> None:
    """Nothing was asked of the registry, let alone sent."""
    result = load(target, source)
    assert result.code != EXIT_OK and said in result.stderr, result
    with target.client() as client:
        assert client.request("GET", "/v2/_catalog").body.strip() == b'{"repositories":[]}'
    looked = image_tools("verify", source, "-require-slip", "allowed")
    assert looked.code in (EXIT_SOME_FAILED, EXIT_COULD_NOT), looked


def test_a_slip_says_what_is_carried_and_lets_it_in(saved: str, fresh_registry: RegistryFactory) -> None:
    save(saved)
    slip = json.loads(SLIP.read_text())
    assert (slip["note"], slip["images"], slip["archive"]) == ("change 4711", 1, NAME)
    assert slip["volumes"][0]["sha256"] == Path(f"{NAME}.sha256").read_text().split()[0] == slip["stream"]["sha256"]
    looked = image_tools("verify", NAME, "-require-slip", "allowed")
    assert looked.code == EXIT_OK and "slip: signed by ops@example.com" in looked.stderr and "change 4711" in looked.stderr
    result = load(fresh_registry())
    assert result.code == EXIT_OK and "signed by ops@example.com" in result.stderr
    before = SLIP.stat().st_mtime_ns
    save(saved)
    assert SLIP.stat().st_mtime_ns == before, "a rerun signs nothing again"


def test_changed_missing_and_foreign_slips_stop_a_load(
    saved: str, registry: Registry, fresh_registry: RegistryFactory, work: Path
) -> None:
    save(saved)
    target = fresh_registry()
    good, signature = SLIP.read_bytes(), Path(f"{SLIP}.sig").read_bytes()
    SLIP.write_bytes(good.replace(b"4711", b"4712"))
    refused(target, "was changed after it was signed")
    SLIP.write_bytes(good)
    Path(f"{SLIP}.sig").unlink()
    refused(target, "is missing, and a signature is demanded")
    Path(f"{SLIP}.sig").write_bytes(b"nonsense")
    refused(target, "its signer is not in")
    Path(f"{SLIP}.sig").write_bytes(signature)
    SLIP.unlink()
    refused(target, "is missing, and a signature is demanded")
    SLIP.write_bytes(good)

    allowed = Path("allowed").read_text()
    Path("allowed").write_text(f"ops@example.com {Path('other.pub').read_text()}")
    refused(target, "its signer is not in")
    Path("allowed").write_text(f"* {Path('key.pub').read_text()}")
    refused(target, "stands for anybody")
    Path("allowed").write_text(f'ops@example.com namespaces="file" {Path("key.pub").read_text()}')
    refused(target, "")
    Path("allowed").write_text(allowed)

    push(registry, "slip/other", "v1", image("linux/amd64", [layer("slip/other", size=60_000)]))
    assert image_tools("save", f"{registry.host}/slip/other:v1", "-tls-verify=false", "-d", "other.tar.gz").code == EXIT_OK
    for suffix in ("", ".sig"):
        shutil.copy(f"{SLIP}{suffix}", f"other.tar.gz.slip.json{suffix}")
    refused(target, "is of another archive", "other.tar.gz")
    refused(target, "is no archive of this program", "saved-image-cache")
    data = bytearray(Path(NAME).read_bytes())
    data[len(data) // 2] ^= 1
    Path(NAME).write_bytes(data)
    refused(target, "is of another archive")


def test_it_stays_valid_in_other_volumes_and_after_repair(saved: str, fresh_registry: RegistryFactory) -> None:
    save(saved, "-parity=20%")
    assert image_tools("volumes", NAME, "-part-size=20000", "-d", "discs").code == EXIT_OK
    assert image_tools("verify", f"discs/{NAME}", "-require-slip", "allowed").code == EXIT_OK
    data = bytearray(Path(NAME).read_bytes())
    data[9000:9400] = bytes(400)
    Path(NAME).write_bytes(data)
    assert image_tools("repair", NAME, "-d", "mended").code == EXIT_OK
    assert load(fresh_registry(), f"mended/{NAME}").code == EXIT_OK


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, work: Path) -> Iterator[None]:
    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    values = dict(part.split(";")[0].split("=", 1) for part in said.splitlines() if "=" in part)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    yield
    subprocess.run(["ssh-agent", "-k"], capture_output=True, check=False, env={**os.environ, **values})


def test_a_new_slip_replaces_an_older_one_and_an_agent_signs(saved: str, agent: None, fresh_registry: RegistryFactory) -> None:
    save(saved)
    old = Path(f"{SLIP}.sig").read_bytes()
    subprocess.run(["ssh-add", "-q", "other"], check=True)
    Path("other").unlink()
    result = image_tools("save", saved, "-tls-verify=false", "-a=amd64", "-sign", "other.pub", "-note", "by agent")
    assert result.code == EXIT_OK, result
    assert Path(f"{SLIP}.sig").read_bytes() != old
    refused(fresh_registry(), "its signer is not in")
    Path("allowed").write_text(f"agent@example.com {Path('other.pub').read_text()}")
    assert "signed by agent@example.com" in load(fresh_registry()).stderr


def test_another_archive_takes_the_slip_away(saved: str, registry: Registry) -> None:
    save(saved)
    push(registry, "slip/next", "v1", image("linux/amd64", [layer("slip/next")]))
    assert image_tools("save", f"{registry.host}/slip/next:v1", "-tls-verify=false", "-a=amd64", "-force").code == EXIT_OK
    assert not SLIP.exists() and not Path(f"{SLIP}.sig").exists()


def test_what_cannot_be_is_refused(saved: str) -> None:
    for arguments, said in (
        (["save", saved, "-sign", "key", "-compress=dir"], "a folder has no slip"),
        (["save", saved, "-sign", "nokey"], "there is no such file"),
        (["verify", NAME, "-require-slip", "nobody"], "there is no such file"),
    ):
        result = image_tools(*arguments)
        assert result.code == EXIT_USAGE and said in result.stderr, result
