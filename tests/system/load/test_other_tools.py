"""What other tools write is read as it is: skopeo's archives, ``docker save`` old and new, a hauler store."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import Image, Index, digest_of, image, index, layer
from tests.support.registry import Registry, RegistryFactory
from tests.support.run import run, skopeo
from tests.system.load.loading import command, flip, json_of, loaded
from tests.system.test_serve import write_layout

SINGLE = image("linux/amd64", [layer("other/base", 90_000, text=True), layer("other/top", text=True)])
PAIR = index(SINGLE, image("linux/arm64", [layer("other/arm")]))


def layout(folder: Path, made: Image | Index = SINGLE, name: str = "v1") -> Path:
    return write_layout(folder, {name: made})


def packed(folder: Path, path: Path, *options: str) -> Path:
    """As ``docker save`` packs a folder: its files are the root."""
    members = sorted(each.name for each in folder.iterdir())
    result = run(*options, "-cf", str(path), "-C", str(folder), *members, command=("tar",))
    assert result.code == 0, result
    return path


def held_by(registry: Registry, repository: str, tag: str) -> tuple[dict[str, Any], bytes, list[bytes]]:
    """A manifest, its config, and its layers, unpacked."""
    with registry.client() as client:
        manifest = json.loads(client.manifest(repository, tag).body)
        config = client.blob(repository, manifest["config"]["digest"]).body
        layers = [client.blob(repository, each["digest"]).body for each in manifest["layers"]]
    return manifest, config, [gzip.decompress(each) if each.startswith(b"\x1f\x8b") else each for each in layers]


def check_single(registry: Registry, repository: str, tag: str) -> dict[str, Any]:
    """The registry has the config and the content of the layers of ``SINGLE``."""
    manifest, config, layers = held_by(registry, repository, tag)
    assert digest_of(config) == SINGLE.config.digest
    assert [digest_of(each) for each in layers] == json.loads(config)["rootfs"]["diff_ids"]
    return manifest


def test_docker_archive_of_skopeo(fresh_registry: RegistryFactory, work: Path) -> None:
    layout(work / "made")
    archive = work / "app.tar"
    assert skopeo("copy", "-q", "oci:made:v1", f"docker-archive:{archive}:example.com/team/app:1.0", cwd=work).code == 0
    (listed,) = json_of("ls", archive)["images"]
    assert (listed["reference"], listed["platforms"][0]["platform"]) == ("example.com/team/app:1.0", "linux/amd64")
    assert command("verify", archive).code == 0
    registry = fresh_registry()
    result = loaded(archive, registry.host)
    assert "unpacking" not in result.stderr, "a plain tar is read in place"
    manifest = check_single(registry, "team/app", "1.0")
    assert {each["mediaType"] for each in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}
    assert (
        skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{registry.host}/team/app:1.0", "oci:back", cwd=work).code == 0
    )
    assert "1 were there already" in loaded(archive, registry.host).stdout


@pytest.mark.parametrize("how", ["folder", "compressed", "volumes"])
def test_docker_archive_in_other_forms(fresh_registry: RegistryFactory, work: Path, how: str) -> None:
    layout(work / "made")
    assert skopeo("copy", "-q", "oci:made:v1", f"docker-archive:{work}/app.tar:app:1.0", cwd=work).code == 0
    registry = fresh_registry()
    (work / "folder").mkdir()
    assert run("-xf", "app.tar", "-C", "folder", command=("tar",)).code == 0
    source = work / "folder"
    if how == "compressed":
        source = work / "app.tar.gz"
        packed(work / "folder", source, "-z")
        assert command("ls", source).code == 3
    elif how == "volumes":
        assert run("-b", "50K", "-d", "app.tar", "x.tar.part", command=("split",)).code == 0
        for path in work.glob("x.tar.part0*"):
            path.rename(path.with_name(path.name.replace("part0", "part")))
        source = work / "x.tar"
    loaded(source, registry.host)
    check_single(registry, "library/app", "1.0")
    if how != "compressed":
        assert command("verify", source).code == 0


def legacy(work: Path) -> Path:
    """As Docker wrote before 25: a layer that two images share is a link in the second, and one layer is compressed."""
    layers = [gzip.decompress(each.data) for each in SINGLE.layers]
    buffer = tarfile.open(work / "old.tar", "w")  # noqa: SIM115
    config = f"{SINGLE.config.digest[7:]}.json"
    files = {config: SINGLE.config.data, "aaa/layer.tar": layers[0], "bbb/layer.tar": gzip.compress(layers[1])}
    listed = [
        {"Config": config, "RepoTags": ["app:one", "example.com/app:two"], "Layers": ["aaa/layer.tar", "bbb/layer.tar"]},
        {"Config": config, "RepoTags": None, "Layers": ["ccc/layer.tar", "bbb/layer.tar"]},
    ]
    with buffer as tar:
        link = tarfile.TarInfo("ccc/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../aaa/layer.tar"
        tar.addfile(link)
        for name, data in {**files, "manifest.json": json.dumps(listed).encode()}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return work / "old.tar"


@pytest.mark.parametrize("compressed", [False, True])
def test_old_docker_save(fresh_registry: RegistryFactory, work: Path, compressed: bool) -> None:
    archive = legacy(work)
    if compressed:
        assert run("-q", "old.tar", command=("gzip",)).code == 0
        archive = work / "old.tar.gz"
    else:
        assert command("verify", archive).code == 0
    registry = fresh_registry()
    loaded(archive, registry.host)
    for repository, tag in (("library/app", "one"), ("app", "two")):
        manifest = check_single(registry, repository, tag)
        assert [each["mediaType"].rpartition(".")[2] for each in manifest["layers"]] == ["tar", "tar+gzip"]
    with registry.client() as client:
        raw = client.manifest("library/app", "one").body
        # The image without a tag is the same; it has the name of the file, and its digest.
        assert client.manifest("old", digest_of(raw)).body == raw


def test_new_docker_save_of_one_platform(fresh_registry: RegistryFactory, work: Path) -> None:
    """Docker 25 and later: the index names a platform that was never pulled."""
    folder = layout(work / "made", PAIR)
    arm = PAIR.images()[1]
    for content in (arm.manifest, arm.config, *arm.layers):
        (folder / "blobs" / content.digest.replace(":", "/")).unlink()
    document = json.loads((folder / "index.json").read_text())
    document["manifests"][0]["annotations"] |= {"io.containerd.image.name": "docker.io/library/app:1.0"}
    (folder / "index.json").write_text(json.dumps(document))
    layers = [f"blobs/{each.digest.replace(':', '/')}" for each in SINGLE.layers]
    config = f"blobs/{SINGLE.config.digest.replace(':', '/')}"
    (folder / "manifest.json").write_text(json.dumps([{"Config": config, "RepoTags": ["app:1.0"], "Layers": layers}]))
    registry = fresh_registry()
    archive = packed(folder, work / "app.tar")
    result = loaded(archive, registry.host)
    assert "app.tar holds only linux/amd64 of sha256:" in result.stderr
    with registry.client() as client:
        assert client.manifest("library/app", "1.0").body == SINGLE.manifest.data
    assert command("verify", archive).code == 0


@pytest.mark.parametrize("made", [SINGLE, PAIR])
def test_oci_archive_of_skopeo(fresh_registry: RegistryFactory, work: Path, made: Image | Index) -> None:
    """Its images have bare tags: they are named after the file."""
    layout(work / "made", made)
    assert skopeo("copy", "-q", "--all", "oci:made:v1", "oci-archive:My_App.tar:v1", cwd=work).code == 0
    registry = fresh_registry()
    (listed,) = json_of("ls", work / "My_App.tar")["images"]
    assert listed["reference"] == "localhost/my-app:v1"
    assert command("verify", work / "My_App.tar").code == 0
    loaded(work / "My_App.tar", registry.host)
    content = made.content if isinstance(made, Index) else made.manifest
    with registry.client() as client:
        assert client.manifest("my-app", "v1").body == content.data
    (work / "there").mkdir()
    assert run("-q", "My_App.tar", command=("gzip",)).code == 0
    other = fresh_registry()
    result = loaded(work / "My_App.tar.gz", other.host)
    assert "unpacking" in result.stderr
    with other.client() as client:
        assert client.manifest("my-app", "v1").body == content.data


def test_a_hauler_store(fresh_registry: RegistryFactory, work: Path) -> None:
    """No oci-layout file; the name without its registry is one annotation, the whole name another."""
    folder = layout(work / "store", PAIR, "team/app:1.0")
    (folder / "oci-layout").unlink()
    document = json.loads((folder / "index.json").read_text())
    document["manifests"][0]["annotations"] |= {"io.containerd.image.name": "example.com/team/app:1.0"}
    (folder / "index.json").write_text(json.dumps(document))
    haul = packed(folder, work / "haul.tar.zst", "--zstd")
    assert [each["reference"] for each in json_of("ls", folder)["images"]] == ["example.com/team/app:1.0"]
    assert command("verify", folder).code == 0
    for source in (folder, haul):
        registry = fresh_registry()
        loaded(source, registry.host)
        with registry.client() as client:
            assert client.manifest("team/app", "1.0").body == PAIR.content.data


def test_a_dir_of_skopeo_is_named(work: Path) -> None:
    layout(work / "made")
    assert skopeo("copy", "-q", "oci:made:v1", "dir:copied", cwd=work).code == 0
    for name in ("ls", "verify"):
        result = command(name, work / "copied")
        assert result.code == 3
        assert "copied was written by 'skopeo copy … dir:', which keeps no names" in result.stderr
        assert "TIP: copy it with 'skopeo copy dir:… oci:FOLDER:TAG' and name that folder" in result.stderr


def test_messages_name_the_file_of_the_user(fresh_registry: RegistryFactory, work: Path) -> None:
    folder = layout(work / "made")
    damaged = folder / "blobs" / SINGLE.layers[0].digest.replace(":", "/")
    flip(damaged, 100)
    archive = packed(folder, work / "app.tar.gz", "-z")
    result = command("load", "-s", archive, "-d", fresh_registry().host, "-tls-verify=false")
    assert result.code == 3, result
    assert f"{SINGLE.layers[0].digest[7:]} in {archive} is damaged" in result.stdout
    assert "unpacked" not in result.stdout
    plain = packed(folder, work / "app.tar")
    result = command("verify", plain)
    assert result.code == 1
    assert f"{SINGLE.layers[0].digest[7:]} in {plain} is damaged" in result.stdout


def test_a_layer_that_is_a_link_out_of_the_folder(work: Path) -> None:
    """What a folder links to is not pushed to a registry, whatever its manifest.json says."""
    secret = work / "secret.gz"
    secret.write_bytes(gzip.compress(b"secret"))
    folder = work / "folder"
    folder.mkdir()
    diff = f"sha256:{hashlib.sha256(b'secret').hexdigest()}"
    (folder / "config.json").write_text(json.dumps({"rootfs": {"diff_ids": [diff]}, "architecture": "amd64", "os": "linux"}))
    (folder / "layer.tar").symlink_to(secret)
    (folder / "manifest.json").write_text(json.dumps([{"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}]))
    result = command("verify", folder)
    assert result.code == 1
    assert f"{diff}: is missing" in result.stdout
    shutil.rmtree(folder)
