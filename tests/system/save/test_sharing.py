"""Layers that images share are fetched once, however many copies run at the same time."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.images import Image, image, index, layer
from tests.support.proxy import FaultProxy, Slow
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.system.save.saving import layer_gets, save, saved, unpack

ARCHITECTURES = ("amd64", "arm64")


@pytest.fixture(scope="session")
def images(registry: Registry) -> list[PushedImage]:
    """Twenty image/arches on two base layers and a layer that all have; each adds one of its own."""

    def one(number: int, architecture: str) -> Image:
        names = (f"base/{architecture}", "everywhere", f"own/{number}/{architecture}")
        return image(f"linux/{architecture}", [layer(f"sharing/{name}") for name in names], docker=number % 2 == 1)

    return [
        push(registry, f"sharing/{number}", "v1", index(*(one(number, each) for each in ARCHITECTURES), docker=number % 2 == 1))
        for number in range(10)
    ]


def counts(registry: Registry, images: list[PushedImage]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Requests for layers, configs and manifests, by digest or tag."""
    layers, configs = Counter(layer_gets(registry, *images)), Counter[str]()
    known = {config for each in images for config in each.configs}
    configs.update(request.reference for request in registry.blob_gets if request.reference in known)
    manifests = Counter(request.path for request in registry.manifest_requests if request.method == "GET")
    return layers, configs, manifests


@pytest.mark.parametrize("jobs", ["1", "20"])
def test_each_layer_once(registry: Registry, images: list[PushedImage], jobs: str) -> None:
    registry.clear_requests()
    saved(images, "-j", jobs)
    layers, configs, manifests = counts(registry, images)
    assert layers == Counter(set().union(*(each.layers for each in images)))
    assert len(layers) == 23
    assert len(configs) == 20
    assert set(configs.values()) == {1}
    assert set(manifests.values()) == {1}
    assert set(unpack().blobs) == set().union(*(each.contents for each in images))


def test_each_layer_once_over_two_runs(registry: Registry, images: list[PushedImage]) -> None:
    registry.clear_requests()
    saved(images[:2], "-j", "20", "-a", "arm64")
    saved(images[:4], "-j", "20")
    layers, _, _ = counts(registry, images)
    assert set(layers.values()) == {1}


def test_the_slow_one_is_waited_for(proxy: FaultProxy, images: list[PushedImage]) -> None:
    """The layer that all have is on its way for a while: nobody asks for it a second time."""
    shared = images[0].platforms[0].layers[1]
    proxy.fault(shared, Slow(10_000), times=None)
    saved([each.via(proxy.host) for each in images[:6]], "-j", "20")
    asked = Counter(seen.path.rpartition("/")[2] for seen in proxy.requests if "/blobs/" in seen.path)
    assert asked[shared] == 1
    assert max(asked[digest] for each in images[:6] for digest in each.layers) == 1


def test_when_the_fetcher_fails_another_fetches(proxy: FaultProxy, registry: Registry, images: list[PushedImage]) -> None:
    """The copy that has the lease gives up; those that waited for its layer do not fail with it."""
    gone = images[0].platforms[0].layers[2]
    registry.delete_blob(images[0].repository, gone)
    try:
        result = save(images[:6], "-j", "20")
        assert result.code == 1, result
        assert "saved 5 of 6 images" in result.stdout
        assert unpack().names == [each.reference for each in images[1:6]]
    finally:
        push_again(registry, images[0], gone)


def push_again(registry: Registry, pushed: PushedImage, digest: str) -> None:
    with registry.client() as client:
        client.put_blob(pushed.repository, pushed.contents[digest])
