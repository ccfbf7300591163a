"""Registries that do not come back: a list of many images must not wait for each of them."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from pipeline.core.errors import Cause
from pipeline.core.interruption import Interruption
from pipeline.registry import retry as attempts
from pipeline.registry import session, throttle
from pipeline.registry.http import client as http
from pipeline.registry.throttle import GivenUp, RegistryPaused, Throttle
from tests.support.proxy import FaultProxy, Stall, Status
from tests.support.registry import Registry
from tests.system.faults.test_requests import push_shared
from tests.system.save.saving import save


def test_one_that_gives_nothing_is_given_up(registry: Registry, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the rest of the run; other registries are not concerned, and the next run asks it again."""
    monkeypatch.setattr(throttle, "PATIENCE", 1.5)
    monkeypatch.setattr(attempts, "MAX_PAUSE", 0.2)
    images = push_shared(registry, 12, "down")
    rule = proxy.fault("/v2/", Status(503), times=None)
    names = [each.via(proxy.host) for each in images]
    good = push_shared(registry, 1, "up")
    result = save([*names, *good], "-retry", "3")
    assert result.code == 1, result
    assert f"12 images: {proxy.host} cannot be asked: server error" in result.stdout
    assert rule.used == 4, "by the probe alone, and its attempts"
    proxy.clear()
    assert save([*names, *good]).code == 0


def test_one_that_accepts_and_says_nothing(registry: Registry, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (http, session):
        monkeypatch.setattr(module, "SMALL_ANSWER_TIME", 1.0)
    [one] = push_shared(registry, 1, "silent")
    rule = proxy.fault("/v2/$", Stall(600, -1), times=None)
    result = save([one.via(proxy.host)], "-retry", "1")
    assert result.code == 3
    assert "no data came any more" in result.stdout
    assert rule.used == 2


def test_what_counts_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watched = Throttle(Interruption())
    for now[0] in (0.0, 100.0, throttle.PATIENCE):
        watched.failed("r", "reset")
        watched.wait("r")
    now[0] += 1
    watched.wait("other")
    with pytest.raises(GivenUp, match="reset") as caught:
        watched.wait("r")
    assert caught.value.cause is Cause.STALLED
    # At a prompt, somebody may have thought for an hour.
    now[0] *= 10
    watched.wait("r")
    watched.failed("r", "reset")
    now[0] += throttle.PATIENCE - 1
    watched.answered("r")
    now[0] += 2
    watched.failed("r", "reset")
    watched.wait("r")


def test_who_can_do_something_else_does_not_wait() -> None:
    interruption = Interruption()
    held = Throttle(interruption)
    held.hold("r", 60, Cause.RATE_LIMITED)
    assert held.is_paused("r")
    assert not held.is_paused("other")
    with pytest.raises(RegistryPaused):
        held.wait("r", patient=False)
    held.wait("other", patient=False)
    stopper = threading.Timer(0.1, interruption.request, [signal.SIGINT])
    stopper.start()
    with pytest.raises(Exception, match="interrupted"):
        held.wait("r")
    stopper.join()
