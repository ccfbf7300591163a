"""Killed, interrupted, or started twice: the next run goes on from there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.proxy import FaultProxy, Stall
from tests.support.registry import RegistryFactory
from tests.support.run import Running, spawn
from tests.system.load.loading import PLAIN, Bundle, assert_holds, command, loaded


def start(bundle: Bundle, to: str, *arguments: str) -> Running:
    return spawn("load", "-s", bundle.path, "-d", to, PLAIN, *arguments, cwd=Path.cwd())


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_rerun_completes(slow: Bundle, fresh_registry: RegistryFactory, signum: int) -> None:
    registry = fresh_registry()
    with FaultProxy(registry.host) as proxy:
        proxy.fault(r"/slow/[23]/blobs/uploads/", Stall(60, -1), method="PATCH", times=None)
        with start(slow, proxy.host, "-j", "2") as running:
            proxy.wait_for(r"/slow/[01]/manifests/v1", 4)
            proxy.wait_for(r"/slow/[23]/blobs/uploads/", 2)
            running.signal(signum)
            proxy.release()
            result = running.wait(15)
        assert result.code == (-signum if signum == signal.SIGKILL else 128 + signum)
        if signum != signal.SIGKILL:
            assert "interrupted; what was loaded stays" in result.stderr
        proxy.clear()
        before = len(registry.requests())
        again = loaded(slow, proxy.host, "-j", "3")
    assert "loaded 5 of 5 images" in again.stdout
    done = [request for request in registry.requests()[before:] if request.method == "PUT"]
    assert not [request for request in done if "/slow/0/" in request.path], "it was there"
    for image in slow.images.values():
        assert_holds(registry, image)


def test_two_at_once(slow: Bundle, fresh_registry: RegistryFactory) -> None:
    """Of the same source into the same registry."""
    with FaultProxy(fresh_registry().host) as proxy:
        proxy.fault(r"/manifests/", Stall(60, -1), times=None)
        with start(slow, proxy.host) as running:
            proxy.wait_for(r"/manifests/")
            result = command("load", "-s", slow.path, "-d", proxy.host, PLAIN)
            assert result.code == 3
            assert f"process {running.pid}" in result.stderr
            running.signal(signal.SIGINT)
            proxy.release()
            assert running.wait(15).code == 130


def test_what_it_remembers_lies_elsewhere(slow: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    """A bundle may lie on a read-only stick."""
    copy = slow.copied(work / "stick")
    before = sorted(copy.path.parent.iterdir())
    loaded(copy, fresh_registry().host, "-cache", "memory")
    assert sorted(copy.path.parent.iterdir()) == before
    assert [path.name for path in (work / "memory").iterdir()] == ["load"]
    assert not (work / "state").exists()


def test_without_a_place_to_remember(slow: Bundle, work: Path) -> None:
    Path("file").write_text("")
    result = command("load", "-s", slow.path, "-d", "127.0.0.1:1", PLAIN, "-cache", "file/below")
    assert result.code == 3
    assert "-cache" in result.stderr


def test_nothing_of_ours_stays_open(slow: Bundle, fresh_registry: RegistryFactory) -> None:
    """The registry within, and the file with its login, are gone."""
    loaded(slow, fresh_registry().host)
    temporary = Path(os.environ["TMPDIR"])
    assert not list(temporary.glob("image-tools-*"))
