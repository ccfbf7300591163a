"""What registries say of their quota, and who may still ask: no server, as the watch is only told what one answers."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from pipeline.core.errors import Cause
from pipeline.core.interruption import Interruption
from pipeline.core.parallel import in_parallel
from pipeline.registry.quota import Quota, QuotaReached, QuotaWatch

HUB = "docker.io"
REFUSAL = "You have reached your pull rate limit. You may increase the limit by authenticating and upgrading"


class Hub:
    """Answers as Docker Hub does, with ``quota`` GETs in a window."""

    def __init__(self, watch: QuotaWatch, quota: int) -> None:
        self.watch = watch
        self.left = quota
        self.served = 0
        self.refused = 0
        self._quota = quota
        self._lock = threading.Lock()

    def head(self) -> None:
        self.watch.saw(HUB, self._headers(), 200, "")

    def get(self) -> None:
        with self._lock:
            if self.left == 0:
                self.refused += 1
            else:
                self.left -= 1
                self.served += 1
                headers = self._headers()
        if self.refused:
            self.watch.saw(HUB, {}, 429, REFUSAL)
        self.watch.saw(HUB, headers, 200, "")

    def _headers(self) -> Mapping[str, str]:
        return {"ratelimit-limit": f"{self._quota};w=21600", "ratelimit-remaining": f"{self.left};w=21600"}


@pytest.fixture
def watch() -> QuotaWatch:
    return QuotaWatch(Interruption())


def fetch_image(hub: Hub, expected: int, real: int) -> bool:
    """Resolve an image: its index, then as many manifests as that turns out to name. Whether all of it came."""
    try:
        with hub.watch.tickets(HUB, expected, hub.head) as tickets:
            for number in range(real):
                tickets.spend()
                hub.get()
                if number == 0:
                    tickets.expect(real - 1)
    except QuotaReached:
        return False
    return True


def test_a_registry_without_a_quota_refuses_nothing(watch: QuotaWatch) -> None:
    with watch.tickets("ghcr.io", 1000, lambda: watch.saw("ghcr.io", {}, 200, "")) as tickets:
        for _ in range(2000):
            tickets.spend()
    assert watch.remaining("ghcr.io") is None
    assert watch.known == {}


@pytest.mark.parametrize("jobs", [1, 4, 10])
def test_each_window_gives_whole_images(watch: QuotaWatch, jobs: int) -> None:
    hub = Hub(watch, 10)
    whole = in_parallel(lambda _: fetch_image(hub, 3, 3), range(12), jobs)
    assert whole.count(True) == 3
    assert (hub.served, hub.refused) == (10, 0)  # what is left over begins a fourth image


@pytest.mark.parametrize("jobs", [1, 10])
def test_what_was_expected_too_high_goes_to_others(watch: QuotaWatch, jobs: int) -> None:
    hub = Hub(watch, 10)
    whole = in_parallel(lambda _: fetch_image(hub, 3, 1), range(12), jobs)
    assert whole.count(True) == 10
    assert (hub.served, hub.refused) == (10, 0)


@pytest.mark.parametrize("jobs", [1, 10])
def test_images_larger_than_expected_and_than_the_quota_come_as_far_as_it_goes(watch: QuotaWatch, jobs: int) -> None:
    hub = Hub(watch, 10)
    whole = in_parallel(lambda _: fetch_image(hub, 3, 30), range(3), jobs)
    assert whole.count(True) == 0
    assert (hub.served, hub.refused) == (10, 0)


def test_nothing_counts_before_it_is_known_what_remains(watch: QuotaWatch) -> None:
    hub = Hub(watch, 2)
    hub.left = 0
    assert not fetch_image(hub, 1, 1)
    assert (hub.served, hub.refused) == (0, 0)


def test_what_others_take_is_noticed(watch: QuotaWatch) -> None:
    hub = Hub(watch, 10)
    assert fetch_image(hub, 3, 3)
    hub.left -= 5
    assert not fetch_image(hub, 3, 3)
    assert (hub.served, hub.refused) == (5, 0)


def test_answers_that_overtake_each_other_take_nothing_away_and_give_nothing(watch: QuotaWatch) -> None:
    watch.saw(HUB, {"ratelimit-remaining": "10;w=21600"}, 200, "")
    with watch.tickets(HUB, 6, lambda: None) as tickets:
        for _ in range(6):
            tickets.spend()
        for late in (4, 9, 10, 6):
            watch.saw(HUB, {"ratelimit-remaining": f"{late};w=21600"}, 200, "")
        assert watch.remaining(HUB) == 4


def test_a_refusal_is_the_quota_by_its_words_or_by_what_remained(watch: QuotaWatch) -> None:
    with pytest.raises(QuotaReached) as by_words:
        watch.saw(HUB, {}, 429, REFUSAL)
    assert by_words.value.cause is Cause.QUOTA
    assert not by_words.value.cause.can_pass
    assert watch.remaining(HUB) == 0
    watch.saw("other.example", {"ratelimit-limit": "5;w=60", "ratelimit-remaining": "0;w=60"}, 200, "")
    with pytest.raises(QuotaReached, match=r"the quota of 5 manifests in 1 min that other\.example grants is used up"):
        watch.saw("other.example", {}, 429, "slow down")


def test_any_other_refusal_is_a_pause(watch: QuotaWatch) -> None:
    watch.saw(HUB, {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "50;w=21600"}, 200, "")
    watch.saw(HUB, {}, 429, "Too many requests: abuse detected")
    watch.saw("ghcr.io", {"retry-after": "2"}, 429, "retry-after: 2s, allowed: 44000/minute")
    assert watch.remaining(HUB) == 50


@pytest.mark.parametrize("text", ["", "many", "-1;w=60", "9" * 5000, ";w=60"])
def test_what_is_no_number_says_nothing(watch: QuotaWatch, text: str) -> None:
    watch.saw(HUB, {"ratelimit-limit": text, "ratelimit-remaining": text}, 200, "")
    assert watch.remaining(HUB) is None


def test_a_new_window_is_asked_for_anew(watch: QuotaWatch) -> None:
    hub = Hub(watch, 3)
    assert fetch_image(hub, 3, 3)
    assert not fetch_image(hub, 3, 3)
    hub.left = 3
    watch.begin_window(HUB)
    assert fetch_image(hub, 3, 3)
    assert watch.known == {HUB: Quota(3, 21600)}


def test_how_many_windows() -> None:
    assert Quota(10, 60).windows(27) == 3
    assert Quota().windows(27) == 0
