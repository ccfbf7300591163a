"""Other people's tools read what was unpacked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.push import PushedImage
from tests.support.run import Result, run, skopeo
from tests.support.tools import require
from tests.system.load.loading import Bundle

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
RUNNABLE = ("oci-index", "oci-single", "mixed-layers", "attestations")
"""Images of OCI media types alone, which umoci demands."""


@pytest.fixture(scope="module")
def unpacked(volumes: Bundle, registries_folder: Path) -> Path:
    """The bundle, as the documents say to unpack it."""
    folder = registries_folder / "load-unpacked"
    folder.mkdir()
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


def test_umoci(unpacked: Path, volumes: Bundle, work: Path) -> None:
    require("umoci")
    names = ok(run("ls", "--layout", ".", cwd=unpacked, command=("umoci",))).splitlines()
    assert names == [image.reference for image in volumes.images.values()]
    for kind in ("oci-index", "oci-single"):
        image = volumes.images[kind]
        place = f"{folder_of(image)}/linux-amd64:{image.reference}"
        ok(run("unpack", "--rootless", "--image", place, str(work / kind), cwd=unpacked, command=("umoci",)))
        assert list((work / kind / "rootfs" / "app").iterdir())


@pytest.mark.parametrize("kind", ["oci-index", "mixed-layers"])
def test_buildah(unpacked: Path, volumes: Bundle, work: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It, and podman, which has the same code for this, bring an image into their storage."""
    require("buildah")
    monkeypatch.delenv("_CONTAINERS_ROOTLESS_UID")
    image = volumes.images[kind]
    storage = ("--storage-driver", "vfs", "--root", str(work / "storage"), "--runroot", str(work / "run"))
    (work / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    policy = ("--signature-policy", str(work / "policy.json"))
    source = f"oci:{unpacked.name}:{image.reference}"
    pulled = ok(run(*storage, "pull", *policy, source, cwd=unpacked.parent, command=("buildah",)))
    inspected = json.loads(ok(run(*storage, "inspect", "--type", "image", pulled.strip(), command=("buildah",))))
    assert inspected["FromImageID"] == image.platform("linux/amd64").config.removeprefix("sha256:")
