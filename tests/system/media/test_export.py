"""Archives for nodes, read by their consumers: containerd, podman, skopeo."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import EXIT_OK, EXIT_USAGE
from tests.support.images import helm_chart, image, index, layer
from tests.support.push import push
from tests.support.registry import Registry
from tests.support.tools import require
from tests.system.bundles.helpers import image_tools

SAVED = "saved-images.tar.gz"


@pytest.fixture(autouse=True)
def consumers() -> None:
    require("containerd", "ctr", "podman", "skopeo")


@pytest.fixture
def bundle(registry: Registry, work: Path) -> dict[str, str]:
    """Several images in one bundle: name as containerd has it, and digest."""
    digests: dict[str, str] = {}
    names = []
    for name in ("export/web", "export/api"):
        both = (image(f"linux/{arch}", [layer(f"{name}/{arch}"), layer("export/base")]) for arch in ("amd64", "arm64"))
        digests[f"{registry.host}/{name}:v1"] = push(registry, name, "v1", index(*both)).digest
    single = push(registry, "export/zstd", "v1", image("linux/amd64", [layer("export/zstd", compression="zstd")]))
    digests[f"{registry.host}/export/zstd:v1"] = single.digest
    docker = push(registry, "export/docker", "v1", image("linux/amd64", [layer("export/docker")], docker=True))
    digests[f"{registry.host}/export/docker:v1"] = docker.digest
    pinned = push(registry, "export/pinned", "v1", image("linux/amd64", [layer("export/pinned")]))
    digests[f"{registry.host}/export/pinned@{pinned.digest}"] = pinned.digest
    names = list(digests)
    result = image_tools("save", *names, "-tls-verify=false")
    assert result.code == EXIT_OK, result
    return digests


def export(*arguments: str) -> str:
    result = image_tools("export", SAVED, *arguments)
    assert result.code == EXIT_OK, result
    return result.stdout


@contextlib.contextmanager
def containerd() -> Iterator[tuple[str, ...]]:
    """A daemon of its own; how to call ctr."""
    with tempfile.TemporaryDirectory(prefix="ctr-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "config.toml").write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "{folder}/sock"\n'
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["containerd", "-c", folder / "config.toml"], stdout=log, stderr=log)
        try:
            ctr = ("ctr", "-a", f"{folder}/sock")
            for _ in range(100):
                if subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.1)
            yield ctr
        finally:
            process.terminate()
            process.wait()


@pytest.mark.parametrize("arguments", [("-for", "containerd"), ("-for", "k3s", "-a", "amd64")], ids=["all", "one platform"])
def test_containerd_has_every_image_with_its_digest(bundle: dict[str, str], arguments: tuple[str, ...]) -> None:
    export(*arguments, "-d", "images.tar")
    with containerd() as ctr:
        done = subprocess.run(
            [*ctr, "images", "import", "--snapshotter", "native", "images.tar"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        listed = subprocess.run([*ctr, "images", "ls"], capture_output=True, text=True, check=True).stdout
    found = {line.split()[0]: line.split()[2] for line in listed.splitlines()[1:]}
    assert found == bundle


def podman(folder: Path, *arguments: str) -> str:
    store = ("--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs")
    done = subprocess.run(["podman", *store, *arguments], capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_podman_has_every_image_with_its_digest(bundle: dict[str, str]) -> None:
    said = export("-for", "podman", "-d", "archives")
    archives = sorted(Path("archives").iterdir())
    assert len(archives) == len(bundle) and said.count("1 image,") == len(bundle)
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as store:
        for archive in archives:
            podman(Path(store), "load", "-i", str(archive))
        listed = json.loads(podman(Path(store), "images", "--format", "json"))
    names = {name: each["Digest"] for each in listed for name in each.get("Names") or [f"{each['Id']}"]}
    assert set(bundle.values()) == set(names.values())
    assert {name: digest for name, digest in bundle.items() if "@" not in name}.items() <= names.items()
    index_digest = bundle[next(iter(bundle))]
    shown = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci-archive:{next(a for a in archives if 'export_web' in a.name)}"],
        capture_output=True,
        check=True,
    ).stdout
    assert f"sha256:{hashlib.sha256(shown).hexdigest()}" == index_digest


def test_one_platform_of_an_index_is_said_to_lose_it(bundle: dict[str, str]) -> None:
    said = export("-for", "podman", "-a", "arm64", "-d", "archives")
    web = next(name for name in bundle if "export/web" in name)
    assert f"{web}: one platform is exported, and its index {bundle[web]} is not" in said
    assert "export/zstd:v1 has no platform arm64, and is left out" in said
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as store:
        for archive in Path("archives").iterdir():
            podman(Path(store), "load", "-i", str(archive))
        assert len(json.loads(podman(Path(store), "images", "--format", "json"))) == 2


def test_docker_archives_are_read(bundle: dict[str, str]) -> None:
    refused = image_tools("export", SAVED, "-for", "docker", "-d", "docker.tar")
    assert refused.code == EXIT_USAGE and "has 2 platforms, and an archive for Docker holds one" in refused.stderr
    said = export("-for", "docker", "-a", "amd64", "-d", "docker.tar")
    assert "'docker load' keeps no digests" in said and "Docker reads from version 23 on" in said
    with tarfile.open("docker.tar") as archive:
        names = archive.getnames()
        assert len(names) == len(set(names)), "what is shared is in it once"
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as store:
        podman(Path(store), "load", "-i", "docker.tar")
        assert len(json.loads(podman(Path(store), "images", "--format", "json"))) == len(bundle)
    for name in (name for name in bundle if "@" not in name):
        subprocess.run(["skopeo", "inspect", f"docker-archive:docker.tar:{name}"], capture_output=True, check=True)


def test_the_same_bytes_come_again_from_a_folder_and_a_list_chooses(bundle: dict[str, str], work: Path) -> None:
    export("-for", "rke2", "-d", "one.tar")
    assert image_tools("export", "saved-image-cache", "-for", "rke2", "-d", "two.tar").code == EXIT_OK
    assert Path("one.tar").read_bytes() == Path("two.tar").read_bytes()
    Path("list.txt").write_text(f"{next(iter(bundle))}\n")
    assert "1 image," in export("-for", "containerd", "-f", "list.txt", "-d", "few.tar")
    assert not list(work.glob(".tmp*"))


def test_what_cannot_be_is_refused(registry: Registry, bundle: dict[str, str], work: Path) -> None:
    push(registry, "export/chart", "v1", helm_chart("chart"))
    for arguments, said in (
        (["export", SAVED, "-for", "podman", "-d", SAVED], "is a file, and each image gets an archive"),
        (["export", SAVED, "-for", "k3s", "-d", "x.tar.gz"], "the archive is a plain tar"),
        (["export", SAVED, "-d", "x"], "-for is missing"),
        (["export", SAVED, "-for", "nomad", "-d", "x"], "use one of containerd, k3s, rke2, docker, podman"),
        (["export", SAVED, "-for", "k3s", "-a", "s390x", "-d", "x.tar"], "there is no image to export"),
    ):
        result = image_tools(*arguments)
        assert result.code == EXIT_USAGE and said in result.stderr, result
    Path("list.txt").write_text(f"{registry.host}/export/chart:v1\n")
    assert image_tools("save", "-f", "list.txt", "-tls-verify=false", "-d", "chart.tar.gz").code == EXIT_OK
    result = image_tools("export", "chart.tar.gz", "-for", "k3s", "-d", "x.tar")
    assert "is no container image, and left out" in result.stderr
