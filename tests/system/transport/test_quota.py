"""A registry with a quota of manifests: a list that is larger than it finishes, window by window."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from pipeline.registry import retry
from tests.support.images import Image, image, index, layer
from tests.support.proxy import Status
from tests.support.push import PushedImage, push
from tests.support.quota import QuotaProxy
from tests.support.registry import Registry
from tests.system.save.saving import ARCHIVE, CACHE, FAILED, save, saved, unpack

IMAGES, QUOTA = 12, 10
"""Of two platforms each: three manifests an image, so 36 in all."""


@pytest.fixture(scope="module")
def images(registry: Registry) -> list[PushedImage]:
    def platform(number: int, name: str) -> Image:
        return image(f"linux/{name}", [layer(f"quota/{number}/{name}", 2_000)])

    return [
        push(registry, f"quota/{number:02}", "v1", index(platform(number, "amd64"), platform(number, "arm64")))
        for number in range(IMAGES)
    ]


@pytest.fixture
def hub(registry: Registry) -> Iterator[QuotaProxy]:
    with QuotaProxy(registry.host, QUOTA) as proxy:
        yield proxy


def names(hub: QuotaProxy, images: list[PushedImage]) -> list[str]:
    return [each.via(hub.host) for each in images]


@pytest.mark.parametrize("jobs", [1, 4, 10])
def test_a_list_larger_than_the_quota_finishes(hub: QuotaProxy, images: list[PushedImage], jobs: int) -> None:
    here = []
    for _ in range(5):
        result = save(names(hub, images), "-j", str(jobs))
        here.append(len(unpack().names))
        if result.code == 0:
            break
        assert result.code == 1, result
        assert f"saved {here[-1]} of {IMAGES} images" in result.stdout
        missing = 3 * IMAGES - hub.gets
        assert f"lack {missing} manifests" in result.stdout
        assert f"takes {-(-missing // QUOTA)} more of its windows of 6 h" in result.stdout
        assert "skopeo login" in result.stdout
        hub.next_window()
    # What is left of a window begins an image that the next one ends; with ten at once, not always the same.
    assert here in ([3, 6, 10, 12], [3, 6, 9, 12])
    assert (hub.gets, hub.refused) == (3 * IMAGES, 0)
    assert unpack().names == names(hub, images)


def test_nothing_is_left_and_nothing_has_moved(hub: QuotaProxy, images: list[PushedImage]) -> None:
    few = names(hub, images)[:3]
    saved(few)
    before = ARCHIVE.read_bytes()
    hub.left = 0
    again = saved(few)
    assert "unchanged since the last run" in again.stdout
    assert ARCHIVE.read_bytes() == before
    assert (hub.gets, hub.refused) == (9, 0)


def test_the_plan_names_a_quota_that_is_too_small(hub: QuotaProxy, images: list[PushedImage]) -> None:
    """As soon as it is known: in a first run by the answer to the first HEAD, in the next one before anything is asked."""
    warning = f"{hub.host} grants 10 manifests in 6 h, and about 36 are needed: that takes 4 windows"
    first = save(names(hub, images), "-j", "4")
    assert first.stderr.count(warning) == 1
    record = json.loads((CACHE / ".state" / "registries.json").read_text())
    assert record["quotas"] == {hub.host: [10, 21600]}
    hub.clear()
    again = save(names(hub, images))
    assert again.stderr.index("grants 10 manifests in 6 h, and about 26 are needed") < again.stderr.index("ERROR")
    assert not [seen for seen in hub.requests if seen.method == "GET" and "/manifests/" in seen.path]


def test_nothing_can_be_saved_with_what_is_left(hub: QuotaProxy, images: list[PushedImage]) -> None:
    hub.left = 1
    result = save(names(hub, images))
    assert result.code == 1
    assert "saved 0 of 12 images" in result.stdout
    assert f"the quota of 10 manifests in 6 h that {hub.host} grants is used up" in result.stdout
    assert len(FAILED.read_text().splitlines()) == IMAGES
    assert not ARCHIVE.exists()
    assert (hub.gets, hub.refused) == (1, 0)


def test_a_refusal_that_nothing_announced(hub: QuotaProxy, images: list[PushedImage]) -> None:
    """Without headers the quota shows in the words of the refusal: it is asked for nothing more, and nothing is tried again."""
    hub.tells = False
    result = save(names(hub, images), "-j", "4")
    assert result.code == 1
    assert hub.gets == QUOTA
    assert 1 <= hub.refused <= 8  # one for each worker at the most
    assert "that takes" not in result.stderr
    assert f"the quota that {hub.host} grants is used up" in result.stdout


def test_an_abuse_limit_is_only_a_pause(hub: QuotaProxy, images: list[PushedImage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.3)  # four of them are held, then eight
    hub.next_window(1000)
    hub.fault("/manifests/", Status(429), times=2, method="GET")
    result = saved(names(hub, images)[:4], "-j", "2")
    assert "trying again" in result.stderr
    assert (hub.gets, hub.refused) == (12, 0)


def test_waiting_for_the_next_window(registry: Registry, images: list[PushedImage]) -> None:
    with QuotaProxy(registry.host, QUOTA, window=20) as hub:
        over = threading.Event()

        def next_windows() -> None:
            while not over.wait(0.2):
                if hub.left < 3:
                    hub.next_window()

        clock = threading.Thread(target=next_windows)
        clock.start()
        try:
            result = saved(names(hub, images), "-j", "4", "-quota", "wait")
        finally:
            over.set()
            clock.join()
        assert "waiting for the next window" in result.stderr
        assert "saved 12 of 12 images" in result.stdout
        assert (hub.gets, hub.refused) == (3 * IMAGES, 0)
