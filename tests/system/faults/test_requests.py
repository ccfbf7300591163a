"""Each object is asked for once: counted in the registry's own access log."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.support.images import image, index, layer
from tests.support.proxy import FaultProxy, Slow, Status
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import skopeo
from tests.system.save.saving import ARCHIVE, FAILED, layer_gets, lines, save, saved

PLAIN = "--tls-verify=false"


def push_shared(registry: Registry, count: int, name: str) -> list[PushedImage]:
    """Images for two architectures that share base layers with their like and one layer with all."""
    everywhere = layer(f"{name}/everywhere", 30_000)
    bases = {each: layer(f"{name}/base/{each}", 60_000) for each in ("amd64", "arm64")}
    return [
        push(
            registry,
            f"{name}/{number}",
            "v1",
            index(
                *(
                    image(f"linux/{each}", [bases[each], everywhere, layer(f"{name}/{number}/{each}", 8_000)])
                    for each in ("amd64", "arm64")
                )
            ),
        )
        for number in range(count)
    ]


def of_skopeo_alone(registry: Registry, one: PushedImage) -> int:
    """How often skopeo asks for a manifest by digest: to read it, to read its config, and to copy it."""
    only = one.platforms[0]
    reference = f"docker://{one.host}/{one.repository}@{only.manifest}"
    registry.clear_requests()
    for options in (("--raw",), ("--raw", "--config")):
        assert skopeo("inspect", *options, PLAIN, reference).code == 0
    copied = skopeo("copy", "-q", "--src-tls-verify=false", "--dest-shared-blob-dir", "alone", reference, "oci:alone-image")
    assert copied.code == 0, copied
    return sum(request.reference == only.manifest for request in registry.requests())


@pytest.mark.parametrize("jobs", [1, 20])
def test_each_layer_once(registry: Registry, jobs: int) -> None:
    images = push_shared(registry, 8, f"once/{jobs}")
    most = of_skopeo_alone(registry, images[0])
    registry.clear_requests()
    saved(images, "-j", str(jobs))
    requests = registry.requests()
    assert not [request for request in requests if request.method not in ("GET", "HEAD") or request.status >= 400]
    layers = layer_gets(registry, *images)
    assert sorted(layers) == sorted(frozenset().union(*(each.layers for each in images)))
    blobs = Counter(request.reference for request in requests if request.kind == "blobs")
    assert all(blobs[config] <= 2 for each in images for config in each.configs)
    manifests = Counter(each.reference for each in requests if each.kind == "manifests" and each.method == "GET")
    assert manifests.pop("v1") == len(images)
    assert set(manifests) == {platform.manifest for each in images for platform in each.platforms}
    assert max(manifests.values()) <= most
    registry.clear_requests()
    saved(images, "-j", str(jobs))
    again = [f"{request.method} {request.repository} {request.reference}" for request in registry.requests() if request.kind]
    assert sorted(again) == sorted(f"HEAD {each.repository} v1" for each in images)


def test_a_slow_layer_that_all_share(registry: Registry, proxy: FaultProxy) -> None:
    """While one copy fetches it, the others neither fetch it nor fail."""
    images = push_shared(registry, 4, "slow")
    shared = images[0].platforms[0].layers[1]
    proxy.fault(f"/blobs/{shared}", Slow(30_000))
    registry.clear_requests()
    saved([each.via(proxy.host) for each in images], "-j", "8")
    assert sorted(layer_gets(registry, *images)) == sorted(frozenset().union(*(each.layers for each in images)))


def test_what_arrived_before_a_failure_is_kept(registry: Registry, proxy: FaultProxy) -> None:
    """Also what other layers of the image that failed."""
    layers = [layer(f"kept/{number}", 5_000) for number in range(4)]
    pushed = push(registry, "kept/image", "v1", image("linux/amd64", layers))
    last = pushed.platforms[0].layers[-1]
    proxy.fault(f"/blobs/{last}", Status(503), times=None)
    registry.clear_requests()
    assert save([pushed.via(proxy.host)], "-retry", "0").code == 3
    first = layer_gets(registry, pushed)
    proxy.clear()
    saved([pushed.via(proxy.host)])
    assert sorted(layer_gets(registry, pushed)) == sorted(set(first) | {last})


def test_too_many_requests_slow_down_all_workers_of_that_registry(
    registry: Registry, proxy: FaultProxy, other_registry: Registry
) -> None:
    """From the first answer on, and no other registry's."""
    images = push_shared(registry, 6, "quota")
    others = push_shared(other_registry, 6, "quota")
    pause = 3
    rule = proxy.fault(f"/{images[1].repository}/manifests/v1", Status(429, retry_after=pause))
    result = saved([*(each.via(proxy.host) for each in images), *others], "-j", "3")
    assert rule.used == 1
    assert f"{proxy.host}: too many requests" in result.stderr
    [refused] = [seen.at for seen in proxy.requests if seen.status == 429]
    # What was under way may still finish.
    within = [seen for seen in proxy.requests if refused + 1 < seen.at < refused + pause - 0.2]
    assert not within, [f"{seen.path} after {seen.at - refused:.1f} s" for seen in within]
    later = [seen for seen in proxy.requests if seen.at >= refused + pause - 0.2]
    assert len(later) > len(proxy.requests) / 2, "three workers had only begun with six images"
    copied = [line for line in result.stderr.splitlines() if " copied " in line or "resolved" in line]
    assert copied
    assert ARCHIVE.exists()


def test_other_registries_go_on(registry: Registry, proxy: FaultProxy, other_registry: Registry) -> None:
    """One worker is enough for them while all images of the first wait."""
    held = push_shared(registry, 3, "held")
    others = push_shared(other_registry, 3, "free")
    with FaultProxy(other_registry.host) as free:
        proxy.fault("/manifests/v1$", Status(429, retry_after=4))
        started = time.monotonic()
        saved([*(each.via(proxy.host) for each in held), *(each.via(free.host) for each in others)], "-j", "2")
        resolved = [seen.at - started for seen in free.requests if seen.method == "GET" and "/manifests/v1" in seen.path]
        refused = [seen.at - started for seen in proxy.requests if seen.status == 429]
        assert len(resolved) == 3
        assert max(resolved) < refused[0] + 3.5, "they did not wait for the other registry"


def test_a_registry_that_asks_for_an_hour(registry: Registry, proxy: FaultProxy) -> None:
    """Is not waited for; the reason says how long it would have been."""
    [one] = push_shared(registry, 1, "hour")
    proxy.fault("/manifests/v1$", Status(429, retry_after=3600), times=None)
    started = time.monotonic()
    result = save([one.via(proxy.host)])
    assert time.monotonic() - started < 20
    assert result.code == 3
    assert "it asks to wait for 3600 s" in result.stdout
    assert FAILED.read_text() == lines([one.via(proxy.host)])
