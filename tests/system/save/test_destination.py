"""What lies at a destination, and who else writes to it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Stall
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import spawn
from tests.system.save.saving import (
    ARCHIVE,
    LIST,
    PLAIN,
    command,
    saved,
    shell,
    spawn_save,
    temporary_files,
    unpack,
    write_list,
)

LOCK = Path(f".tmp-lock-{ARCHIVE}")


@pytest.fixture(scope="session")
def images(registry: Registry) -> list[PushedImage]:
    return [push_kind(registry, kind, f"destination/{kind}") for kind in ("oci-index", "docker-list", "oci-single")]


# Two caches


@pytest.mark.parametrize("ends", [signal.SIGKILL, signal.SIGINT])
def test_two_caches_and_one_destination(proxy: FaultProxy, images: list[PushedImage], ends: signal.Signals) -> None:
    """The second run is refused before it fetches anything, or waits; both bundles are whole in their turn."""
    last = images[0].platforms[0].layers[0]
    proxy.fault(last, Stall(60, after=10), times=None)
    with spawn_save([images[0].via(proxy.host)]) as first:
        proxy.wait_for(last)
        others = write_list(images[1:], Path("others.txt"))
        refused = command("save", "-f", others, PLAIN, "-cache", "second")
        assert refused.code == 3, refused
        assert f"the destination {ARCHIVE.resolve()} is in use by another run (process {first.pid}, since " in refused.stderr
        assert "-wait" in refused.stderr
        assert not list(Path("second").glob("share/sha256/*"))
        with spawn("save", "-f", others, PLAIN, "-cache", "second", "-wait") as second:
            second.wait_for("waiting: ")
            first.signal(ends)
            first.wait(5)
            result = second.wait(20)
    assert result.code == 0, result
    assert f"  {ARCHIVE}  " in result.stdout
    assert unpack().names == [image.reference for image in images[1:]]
    assert not LOCK.exists()
    assert not temporary_files(Path("second"))
    proxy.clear()
    assert command("save", "-f", LIST, PLAIN, "-force").code == 0


def test_the_lock_is_in_nobodys_way(images: list[PushedImage]) -> None:
    """What a killed run left of it is no lock; it is none of the volumes; it is gone afterwards."""
    LOCK.write_text("{}\n")
    saved([images[0]], "-part", "-part-size=8K")
    assert not LOCK.exists()
    shell("cat saved-images.tar.gz.part* | tar -tz")
