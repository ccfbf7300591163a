"""What a load counts as present was read, what is put arrives with its own bytes, and a refusal keeps its reason."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path

import pytest

from tests.support.images import OCI_INDEX, image, index, layer
from tests.support.proxy import FaultProxy, Status
from tests.support.push import PushedImage, push
from tests.support.registry import Registry, RegistryFactory
from tests.system.load.loading import FAILED, PLAIN, Bundle, assert_holds, command, load, loaded

PLATFORMS = ("linux/amd64", "linux/arm64")


def two_platforms(registry: Registry, repository: str, seed: str) -> PushedImage:
    made = index(*(image(each, [layer(f"{seed}/{each}", 20_000)]) for each in PLATFORMS))
    return push(registry, repository, "v1", made)


def saved(folder: Path, reference: str) -> Path:
    (folder / "list.txt").write_text(f"{reference}\n")
    result = command("save", "-f", folder / "list.txt", PLAIN, "-a", "all", "-d", folder / "saved.tar.gz")
    assert result.code == 0, result
    return folder / "saved.tar.gz"


@pytest.mark.parametrize("field", ["artifactType", "data", "size"])
def test_an_index_with_fields_that_skopeo_does_not_carry_arrives_as_it_is(
    field: str, registry: Registry, fresh_registry: RegistryFactory, work: Path
) -> None:
    pushed = two_platforms(registry, f"proof/{field.lower()}", field)
    document = json.loads(pushed.raw)
    document["manifests"][0][field] = {"artifactType": "application/vnd.tests", "data": "e30=", "size": 7}[field]
    raw = json.dumps(document).encode()
    with registry.client() as client:
        client.put_manifest(pushed.repository, "v2", raw, OCI_INDEX)
    target = fresh_registry()
    path = saved(work, f"{registry.host}/{pushed.repository}:v2")
    loaded(path, target.host)
    with target.client() as client:
        assert client.manifest(pushed.repository, "v2").body == raw
        for platform in pushed.platforms:
            for digest in platform.fetched_layers:
                assert client.blob(pushed.repository, digest).body == pushed.contents[digest]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "access denied"),
        (404, "not found"),
        (409, "409"),
        (412, "412"),
        (429, "too many requests"),
        (502, "server error"),
        (503, "server error"),
    ],
)
def test_a_refusal_of_a_tag_keeps_its_reason(small: Bundle, proxy: FaultProxy, status: int, words: str) -> None:
    proxy.fault(r"/docker-list/manifests/", Status(status), method="PUT", times=None)
    result = load(small, f"{proxy.host}/refused{status}", "-retry", "0", "-j", "4")
    assert result.code == 1
    [reference] = FAILED.read_text().split()
    assert reference == small.images["docker-list"].reference
    assert words in result.stdout
    assert "must be converted" not in result.stdout


@pytest.mark.parametrize(
    ("kind", "hint"), [("docker-list", "docker2s2"), ("windows", "refuse layers that stay where they are")]
)
def test_a_registry_that_refuses_a_kind_is_said_to(volumes: Bundle, proxy: FaultProxy, kind: str, hint: str) -> None:
    image = volumes.images[kind]
    Path("list.txt").write_text(f"{image.reference}\n")
    proxy.fault(f"/manifests/{image.platforms[-1].manifest}", Status(415), method="PUT", times=None)
    result = load(volumes.files[0], f"{proxy.host}/kinds", "-f", "list.txt", "-retry", "0")
    assert result.code == 3
    [tip] = re.findall("TIP: (.*)", result.stdout)
    assert hint in tip


def test_what_a_garbage_collection_removed_is_sent_again(small: Bundle, registries_folder: Path) -> None:
    """Debian's registry goes on to claim that it has it: HEAD 200, mount 201, PUT of a manifest 201."""
    with Registry(registries_folder / "collected", cached=True) as registry:
        loaded(small, registry.host)
        image = small.images["shared-one"]
        with registry.client() as client:
            for each in (*small.images.values(),):
                for digest in {each.digest, *(platform.manifest for platform in each.platforms)}:
                    client.delete(each.repository, "manifests", digest)
        registry.collect_garbage()
        with registry.client() as client:
            lost = sorted(image.layers)[0]
            assert client.request("HEAD", f"/v2/{image.repository}/blobs/{lost}").status == 200
            with pytest.raises(http.client.IncompleteRead):
                client.blob(image.repository, lost)
        loaded(small, registry.host)
        for each in small.images.values():
            assert_holds(registry, each)


def test_what_is_there_but_cannot_be_read_is_loaded_again_and_named_by_verify(small: Bundle, registries_folder: Path) -> None:
    with Registry(registries_folder / "lost", cached=True) as registry:
        loaded(small, registry.host)
        image = small.images["shared-one"]
        lost = sorted(image.layers)[0]
        registry.blob_path(lost).unlink()
        result = command("verify", small.path, "-registry", registry.host, PLAIN, "-json")
        assert result.code == 1
        assert f"{registry.host}/{image.repository}@{lost}" in {fault["what"] for fault in json.loads(result.stdout)["faults"]}
        assert "were there already" in loaded(small, registry.host).stdout
        assert_holds(registry, image)
        assert command("verify", small.path, "-registry", registry.host, PLAIN).code == 0


def test_verify_deep_reads_every_byte(small: Bundle, registries_folder: Path) -> None:
    with Registry(registries_folder / "flipped") as registry:
        loaded(small, registry.host)
        image = small.images["shared-one"]
        damaged = registry.blob_path(sorted(image.layers)[0])
        data = bytearray(damaged.read_bytes())
        data[len(data) // 2] ^= 1
        damaged.write_bytes(data)
        assert command("verify", small.path, "-registry", registry.host, PLAIN).code == 0
        result = command("verify", small.path, "-registry", registry.host, PLAIN, "-deep")
        assert result.code == 1
        assert "other bytes" in result.stdout


def test_a_blob_that_another_repository_has_is_mounted(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    loaded(small, registry.host, "-j", "1")
    shared = small.images["shared-one"].layers & small.images["shared-two"].layers
    assert shared
    uploads = [request for request in registry.requests() if request.method == "POST" and "mount=" in request.query]
    assert {digest for digest in shared if any(digest.partition(":")[2] in request.query for request in uploads)} == shared
    assert [request.status for request in uploads if request.status == 201]
