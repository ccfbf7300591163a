"""Damage in the cache is found before it is packed, and mended by fetching that object alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Status, WrongBytes
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.system.save.saving import ARCHIVE, CACHE, FAILED, cached, identity, layer_gets, prepared, save, saved, sha256, unpack


@pytest.fixture(scope="session")
def one(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-index", "damage/index")


@pytest.fixture(scope="session")
def another(registry: Registry) -> PushedImage:
    return push_kind(registry, "docker-list", "damage/list")


def flip(path: Path, at: float = 0.5) -> None:
    """One bit, which leaves JSON and hex digits valid more often than not."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)


def flip_early(path: Path) -> None:
    flip(path, 0.3)


def flip_late(path: Path) -> None:
    flip(path, 0.7)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE = [flip, truncate, empty]
Damage = Callable[[Path], None]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_layer(registry: Registry, one: PushedImage, another: PushedImage, damage: Damage) -> None:
    prepared([one, another])
    data = ARCHIVE.read_bytes()
    ARCHIVE.unlink()
    layer = one.platforms[0].layers[0]
    damage(cached(layer))
    registry.clear_requests()
    result = saved([one, another])
    assert layer_gets(registry, one, another) == [layer]
    assert ARCHIVE.read_bytes() == data
    assert sha256(cached(layer).read_bytes()) == layer
    assert ("damaged" in result.stderr) == (damage is flip)


def test_several_at_once(registry: Registry, one: PushedImage, another: PushedImage) -> None:
    prepared([one, another])
    data = ARCHIVE.read_bytes()
    ARCHIVE.unlink()
    layers = [each.layers[0] for each in (*one.platforms[:2], *another.platforms)]
    for layer in layers:
        flip(cached(layer))
    registry.clear_requests()
    result = saved([one, another], "-j", "4")
    assert sorted(layer_gets(registry, one, another)) == sorted(layers)
    assert ARCHIVE.read_bytes() == data
    assert all(layer in result.stderr for layer in layers), "all that are damaged are named"


@pytest.mark.parametrize("arguments", [["-compress=dir"], ["-compress=dir", "-d", "bundle"], ["-compress=zstd"], ["-part"]])
def test_a_layer_in_every_form_of_result(
    registry: Registry, one: PushedImage, another: PushedImage, arguments: list[str]
) -> None:
    """The other image makes that there is something to pack."""
    prepared([one], *arguments)
    layer = one.platforms[0].layers[0]
    flip(cached(layer))
    registry.clear_requests()
    saved([another, one], *arguments)
    assert layer_gets(registry, one) == [layer]
    assert sha256(cached(layer).read_bytes()) == layer
    if "bundle" in arguments:
        assert sha256(cached(layer, Path("bundle")).read_bytes()) == layer


@pytest.mark.parametrize("alone", [False, True])
def test_damage_that_cannot_be_mended_leaves_an_earlier_bundle(
    proxy: FaultProxy, one: PushedImage, another: PushedImage, alone: bool
) -> None:
    """What could be packed without the image holds less than what is there."""
    name = one.via(proxy.host)
    saved([name])
    before = identity(ARCHIVE), ARCHIVE.read_bytes()
    layer = one.platforms[0].layers[0]
    flip(cached(layer))
    proxy.fault(f"/blobs/{layer}", Status(404), times=None)
    images: list[PushedImage | str] = [name] if alone else [another, name]
    change = ["-compress-level=1"] if alone else []
    result = save(images, *change)
    assert result.code == (3 if alone else 1), result
    assert "stays as it was" in result.stdout
    assert (identity(ARCHIVE), ARCHIVE.read_bytes()) == before
    assert FAILED.read_text() == f"{name}\n"
    proxy.clear()
    saved(images, *change)
    assert len(unpack().names) == len(images)


def test_without_packing_an_archive_that_is_right_stays(one: PushedImage) -> None:
    prepared([one])
    before = identity(ARCHIVE)
    flip(cached(one.platforms[0].layers[0]))
    saved([one])
    assert identity(ARCHIVE) == before


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("what", ["manifest", "config"])
@pytest.mark.parametrize("pinned", [False, True], ids=["tag", "digest"])
def test_a_manifest_or_config(registry: Registry, one: PushedImage, damage: Damage, what: str, pinned: bool) -> None:
    name = one.pinned if pinned else one.reference
    prepared([name])
    data = ARCHIVE.read_bytes()
    ARCHIVE.unlink()
    digest = getattr(one.platforms[0], what)
    damage(cached(digest))
    registry.clear_requests()
    saved([name])
    assert layer_gets(registry, one) == []
    assert sha256(cached(digest).read_bytes()) == digest
    assert ARCHIVE.read_bytes() == data
    by_digest = [request.reference for request in registry.manifest_requests if request.reference.startswith("sha256:")]
    assert set(by_digest) == ({digest} if what == "manifest" else set())


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("architectures", ["amd64", "all"])
def test_an_index(registry: Registry, one: PushedImage, damage: Damage, architectures: str) -> None:
    """The source's, and one of ours."""
    prepared([one], "-a", architectures)
    data = ARCHIVE.read_bytes()
    digest = unpack().entry(one.reference)["digest"]
    assert (digest == one.digest) == (architectures == "all")
    ARCHIVE.unlink()
    damage(cached(digest))
    registry.clear_requests()
    saved([one], "-a", architectures)
    assert registry.blob_gets == []
    assert ARCHIVE.read_bytes() == data


STATE = {
    "record": ".state/resolved/**/*.json",
    "database": ".state/doit.sqlite3",
    "platform": "images/**/linux-amd64/index.json",
    "image index": ".state/bundles/*/images/**/index.json",
    "bundle index": ".state/bundles/*/index.json",
    "images list": ".state/bundles/*/saved-images-list.json",
    "layout": ".state/bundles/*/archive.json",
    "packed": ".state/bundles/*/packed.json",
    "output": ".state/bundles/*/output.json",
    "last run": ".state/bundles/*/run.json",
    "oci-layout": "oci-layout",
    "published index": "index.json",
    "published list": "saved-images-list.json",
    "published info": "bundle.json",
    "info": ".state/bundles/*/info.json",
}


@pytest.mark.parametrize("what", STATE)
def test_state(registry: Registry, one: PushedImage, what: str) -> None:
    """It costs a pack at the most, never a transfer, and never a wrong result."""
    prepared([one])
    data = ARCHIVE.read_bytes()
    for damage, gone in ((empty, False), (truncate, True), (flip_early, True), (flip_late, False)):
        [path] = CACHE.glob(STATE[what])
        damage(path)
        if gone:
            ARCHIVE.unlink()
        registry.clear_requests()
        result = save([one])
        assert result.code == 0, result
        assert "should not happen" not in result.stderr
        assert registry.blob_gets == []
        assert ARCHIVE.read_bytes() == data
    assert not FAILED.exists()


def test_all_state_together(registry: Registry, one: PushedImage, another: PushedImage) -> None:
    prepared([one, another])
    data = ARCHIVE.read_bytes()
    for path in (CACHE / ".state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0garbage")
    registry.clear_requests()
    saved([one, another])
    assert registry.blob_gets == []
    assert ARCHIVE.read_bytes() == data


def test_wrong_bytes_from_the_registry_never_get_in(proxy: FaultProxy, one: PushedImage) -> None:
    layer = one.platforms[0].layers[0]
    proxy.fault(f"/blobs/{layer}", WrongBytes(100))
    name = one.via(proxy.host)
    result = saved([name], "-retry", "1")
    assert "trying again" in result.stderr
    assert unpack().blobs[layer] == one.contents[layer]


@pytest.mark.parametrize("what", ["layers", "config", "manifest"])
def test_a_registry_that_serves_nothing_but_wrong_bytes(
    proxy: FaultProxy, one: PushedImage, another: PushedImage, what: str
) -> None:
    digest = one.platforms[0].layers[0] if what == "layers" else getattr(one.platforms[0], what)
    proxy.fault(f"/(blobs|manifests)/{digest}", WrongBytes(100), times=None)
    name = one.via(proxy.host)
    result = save([name, another], "-retry", "0")
    assert result.code == 1, result
    assert FAILED.read_text() == f"{name}\n"
    assert "match" in result.stdout
    unpacked = unpack()
    assert unpacked.names == [another.reference]
    for path in (CACHE / "share" / "sha256").iterdir():
        assert path.name == sha256(path.read_bytes())[7:]
