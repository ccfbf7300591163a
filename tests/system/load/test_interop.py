"""Other people's tools read what was unpacked."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest

from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import Result, run, skopeo
from tests.support.tools import require
from tests.system.load.loading import Bundle

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
RUNNABLE = ("oci-index", "oci-single", "mixed-layers", "attestations")
"""Images of OCI media types alone, which umoci demands."""


@pytest.fixture(scope="module")
def unpacked(volumes: Bundle, registries_folder: Path) -> Path:
    """The bundle, as the documents say to unpack it."""
    folder = Path(tempfile.mkdtemp(prefix="load-unpacked-", dir=registries_folder))
    script = f"cat {volumes.path}.part* | tar -xz -C {folder}"
    assert run("-c", script, command=("sh",)).code == 0
    return folder / "saved-image-cache"


def folder_of(image: PushedImage) -> str:
    return f"images/{image.reference.replace(':', '+')}"


def ok(result: Result) -> str:
    assert result.code == 0, result
    return result.stdout


def test_skopeo_reads_every_image(unpacked: Path, volumes: Bundle) -> None:
    for kind, image in volumes.images.items():
        raw = ok(skopeo("inspect", "--raw", f"oci:{folder_of(image)}", cwd=unpacked))
        if kind != "schema1":
            assert raw.encode() == image.raw


@pytest.mark.parametrize("kind", RUNNABLE)
def test_skopeo_finds_images_by_their_names(unpacked: Path, volumes: Bundle, kind: str) -> None:
    image = volumes.images[kind]
    assert ok(skopeo("inspect", "--raw", f"oci:.:{image.reference}", cwd=unpacked)).encode() == image.raw


@pytest.mark.parametrize("kind", ["oci-index", "oci-single", "docker-list", "docker-single"])
def test_skopeo_pushes_from_the_folder_of_an_image(unpacked: Path, volumes: Bundle, kind: str, registry: Registry) -> None:
    """What README and docs/load.md show for who has no image-tools; of OCI and of Docker types."""
    image, target = volumes.images[kind], f"interop/{kind}"
    options = ("--all", "--preserve-digests", "--dest-tls-verify=false")
    ok(skopeo("copy", *options, f"oci:{folder_of(image)}", f"docker://{registry.host}/{target}:v1", cwd=unpacked))
    with registry.client() as client:
        assert client.manifest(target, "v1").body == image.raw


def test_umoci(unpacked: Path, volumes: Bundle, work: Path) -> None:
    require("umoci")
    names = ok(run("ls", "--layout", ".", cwd=unpacked, command=("umoci",))).splitlines()
    assert names == [image.reference for image in volumes.images.values()]
    for kind in ("oci-index", "oci-single"):
        image = volumes.images[kind]
        place = f"{folder_of(image)}/linux-amd64:{image.reference}"
        ok(run("unpack", "--rootless", "--image", place, str(work / kind), cwd=unpacked, command=("umoci",)))
        assert list((work / kind / "rootfs" / "app").iterdir())


@pytest.fixture
def storage(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for an empty containers-storage, which buildah, podman and CRI-O share, and a policy that accepts all."""
    require("buildah")
    monkeypatch.delenv("_CONTAINERS_ROOTLESS_UID")
    (work / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    return work


def unpacking(storage: Path, *command: str, cwd: Path) -> str:
    """Run a command that unpacks layers into a containers-storage.

    It makes the root folder private to itself, which must be a mount point for that. In a chroot it is none, so that it is
    mounted once more, and the command run there.
    """
    if not re.search(r"^(\S+ ){4}/ ", Path("/proc/self/mountinfo").read_text(), re.MULTILINE):
        root = storage / "root"
        root.mkdir(exist_ok=True)
        script = 'mount --rbind / "$0"; chroot "$0" env -C "$@"; code=$?; umount -R -l "$0"; exit $code'
        # In a mount namespace, so that neither mounts the other's root with its own.
        private = ("unshare", "--mount", "--propagation", "unchanged")
        command = (*private, "sh", "-c", script, str(root), str(cwd), *command)
    return ok(run(*command[1:], cwd=cwd, command=command[:1]))


def buildah(storage: Path, *arguments: str, cwd: Path) -> str:
    options = ("--storage-driver", "vfs", "--root", str(storage / "storage"), "--runroot", str(storage / "run"))
    return unpacking(storage, "buildah", *options, *arguments, cwd=cwd)


def config_in(storage: Path, name: str) -> str:
    """The digest of the config of an image in the storage."""
    inspected = json.loads(buildah(storage, "inspect", "--type", "image", name, cwd=storage))
    return f"sha256:{inspected['FromImageID']}"


@pytest.mark.parametrize("kind", ["oci-index", "mixed-layers"])
def test_buildah(unpacked: Path, volumes: Bundle, storage: Path, kind: str) -> None:
    """It, and podman, which has the same code for this, bring an image of OCI types into their storage by its name."""
    image = volumes.images[kind]
    policy = ("--signature-policy", str(storage / "policy.json"))
    pulled = buildah(storage, "pull", *policy, f"oci:{unpacked.name}:{image.reference}", cwd=unpacked.parent)
    assert config_in(storage, pulled.strip()) == image.platform("linux/amd64").config


@pytest.mark.parametrize("kind", ["oci-index", "docker-list", "docker-single"])
def test_skopeo_brings_any_image_into_the_storage(unpacked: Path, volumes: Bundle, storage: Path, kind: str) -> None:
    image, name = volumes.images[kind], "docker.io/library/nginx:1.25"
    place = f"containers-storage:[vfs@{storage}/storage+{storage}/run]{name}"
    policy = ("--policy", str(storage / "policy.json"))
    unpacking(storage, "skopeo", *policy, "copy", f"oci:{folder_of(image)}", place, cwd=unpacked)
    assert config_in(storage, name) == image.platform("linux/amd64").config
