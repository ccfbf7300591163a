"""Manifests and indexes that state wrong sizes of right digests. The digest decides: what one image claims of a layer does no
harm to another that has it, and the image that is wrong is saved as it is, with a warning, as crane and skopeo do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.images import Content, Image, Index, image, index, layer
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import skopeo
from tests.system.save.saving import ARCHIVE, CACHE, FAILED, cached, command, layer_gets, save, saved, sha256, unpack

SHARED = layer("wrong-sizes/shared", 5000)
HONEST = image("linux/amd64", [SHARED, layer("wrong-sizes/own")])


def claiming(made: Image, size: Callable[[int], int], what: str = "layers") -> Image:
    """The image, whose manifest states another size of its first layer, or of its config."""
    document = json.loads(made.manifest.data)
    entry = document["layers"][0] if what == "layers" else document["config"]
    entry["size"] = size(entry["size"])
    return replace(made, manifest=Content(made.manifest.media_type, json.dumps(document).encode()))


def index_claiming(made: Index, **more: object) -> Index:
    document = json.loads(made.content.data)
    document["manifests"] = [{**entry, **more} for entry in document["manifests"]]
    return replace(made, content=Content(made.content.media_type, json.dumps(document).encode()))


@pytest.fixture(scope="session")
def honest(registry: Registry) -> PushedImage:
    return push(registry, "wrong-sizes/honest", "v1", HONEST)


LIES = {
    "nothing": lambda size: 0,
    "less": lambda size: size - 7,
    "more": lambda size: size + 7,
    "far more": lambda size: 1 << 50,
}


@pytest.fixture(params=LIES)
def liar(registry: Registry, request: pytest.FixtureRequest) -> PushedImage:
    made = claiming(image("linux/amd64", [SHARED, layer("wrong-sizes/other")]), LIES[request.param])
    return push(registry, "wrong-sizes/liar", request.param.replace(" ", "-"), made)


def test_what_one_image_says_of_a_layer_does_no_harm_to_another(
    registry: Registry, honest: PushedImage, liar: PushedImage
) -> None:
    result = saved([honest, liar], "-j", "2")
    assert result.stderr.count(f"says that {SHARED.digest} has ") == 1
    assert f"{liar.reference}: its manifest says that {SHARED.digest} has " in result.stderr
    assert "damaged" not in result.stderr
    bundle = unpack()
    bundle.check()
    assert bundle.blobs[SHARED.digest] == SHARED.data
    assert bundle.raw(liar.reference) == liar.raw
    data = ARCHIVE.read_bytes()
    registry.clear_requests()
    ARCHIVE.unlink()
    saved([honest, liar])
    assert registry.blob_gets == [], "its size is known, nothing is fetched again"
    assert ARCHIVE.read_bytes() == data
    for arguments in (("ls",), ("verify",)):
        shown = command(*arguments, ARCHIVE)
        assert shown.code == 0, shown
    listed = json.loads(command("ls", "-json", ARCHIVE).stdout)
    assert listed["size"] == sum(map(len, bundle.blobs.values()))
    verified = command("verify", ARCHIVE)
    assert f"{liar.reference}: its manifest says that {SHARED.digest}" in verified.stderr


def test_a_folder_keeps_a_layer_whatever_is_said_of_it(registry: Registry, honest: PushedImage, liar: PushedImage) -> None:
    saved([honest], "-compress=dir")
    saved([honest, liar], "-compress=dir")
    assert cached(SHARED.digest).read_bytes() == SHARED.data
    saved([honest], "-compress=dir")
    pruned = command("cache", "prune")
    assert pruned.code == 0, pruned
    assert cached(SHARED.digest).read_bytes() == SHARED.data
    assert command("verify", CACHE).code == 0


def test_the_wrong_image_alone(registry: Registry, liar: PushedImage) -> None:
    result = save([liar], "-force")  # no disk has 2^50 bytes free
    assert (result.code, FAILED.exists()) == (0, False), result
    unpack().check()


def test_a_truncated_layer_is_damaged_all_the_same(registry: Registry, honest: PushedImage, liar: PushedImage) -> None:
    saved([honest, liar])
    cached(SHARED.digest).write_bytes(SHARED.data[:-7])
    registry.clear_requests()
    saved([honest, liar])
    assert layer_gets(registry, honest, liar) == [SHARED.digest]
    assert cached(SHARED.digest).read_bytes() == SHARED.data


def test_an_index_that_is_wrong_about_its_manifests(registry: Registry) -> None:
    made = index_claiming(
        index(HONEST, image("linux/arm64", [layer("wrong-sizes/arm")])), size=3, artifactType="x/y", data="e30="
    )
    pushed = push(registry, "wrong-sizes/index", "v1", made)
    for arch in ("amd64,arm64", "amd64"):
        shutil.rmtree(CACHE, ignore_errors=True)
        result = saved([pushed], "-a", arch)
        assert "do not match" not in result.stderr
        assert f"{pushed.platforms[0].manifest} has " in result.stderr
        bundle = unpack()
        for name, data in bundle.blobs.items():
            assert name == sha256(data)
        entries = json.loads(bundle.raw(pushed.reference))["manifests"]
        assert entries == json.loads(made.content.data)["manifests"][: len(entries)], "verbatim"
        folder = bundle.folder(pushed.reference) / "linux-amd64"
        [entry] = json.loads((folder / "index.json").read_bytes())["manifests"]
        assert entry["size"] == len(HONEST.manifest.data), "what we write ourselves is right"
        assert skopeo("inspect", f"oci:{folder}").code == 0
        assert command("verify", ARCHIVE).code == 0
    assert (bundle.raw(pushed.reference) == pushed.raw) is False


def test_a_manifest_that_is_wrong_about_its_config(registry: Registry) -> None:
    for docker in (False, True):
        made = claiming(image("linux/amd64", [SHARED], docker=docker), lambda size: size + 1, "config")
        pushed = push(registry, "wrong-sizes/config", f"docker-{docker}".lower(), made)
        result = saved([pushed])
        assert f"its manifest says that {pushed.platforms[0].config} has " in result.stderr
        bundle = unpack()
        bundle.check()
        assert bundle.raw(pushed.reference) == pushed.raw
