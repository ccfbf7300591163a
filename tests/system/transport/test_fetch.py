"""A blob that is fetched over a bad line: it goes on where it stopped, and what ends in ``share/`` is what its digest says."""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path

import pytest

from pipeline.core.amounts import bytes_text
from tests.support.images import Index, image, index, layer
from tests.support.proxy import Fault, FaultProxy, NoRange, Redirect, Reset, Stall, Status, Truncate, WrongBytes, WrongRange
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.system.save.conftest import work  # noqa: F401
from tests.system.save.saving import ARCHIVE, CACHE, cached, command, save, saved, sha256, spawn_save, unpack

SIZE = 30_000_000
PARTIAL = CACHE / ".state/partial"


@pytest.fixture(scope="session")
def large(registry: Registry) -> PushedImage:
    """One layer of 30 MB and a small one."""
    layers = [layer("transport/large", SIZE, ""), layer("transport/small")]
    return push(registry, "transport/large", "v1", image("linux/amd64", layers))


def blob_requests(proxy: FaultProxy, digest: str) -> list[int]:
    """Where each request for a blob began."""
    return [int(re.sub("[^0-9]", "", seen.range) or 0) for seen in proxy.requests if seen.path.endswith(digest)]


def is_whole(digest: str) -> bool:
    return sha256(cached(digest).read_bytes()) == digest and not PARTIAL.exists()


@pytest.mark.parametrize("fault", [Reset(12_000_000), Truncate(12_000_000)], ids=str)
def test_a_break_costs_nothing(proxy: FaultProxy, large: PushedImage, fault: Fault) -> None:
    """Not even a retry, after so many bytes."""
    digest = large.platforms[0].layers[0]
    proxy.fault(digest, fault)
    result = saved([large.via(proxy.host)], "-retry", "0")
    first, second = blob_requests(proxy, digest)
    assert first == 0
    assert 11_000_000 < second <= 12_000_000
    assert f"going on at {bytes_text(second)}" in result.stderr
    assert is_whole(digest)


def test_twenty_breaks_cost_no_bytes(proxy: FaultProxy, large: PushedImage) -> None:
    digest, source = large.platforms[0].layers[0], random.Random(20)
    for _ in range(20):
        proxy.fault(digest, Reset(source.randrange(1_100_000, SIZE // 20)))
    result = saved([large.via(proxy.host)], "-retry", "0")
    starts = blob_requests(proxy, digest)
    assert len(starts) == 21
    assert starts == sorted(starts), "it never goes back"
    [size] = re.findall(r"fetched ([0-9.]+) MB", result.stdout)
    assert float(size) < 1.02 * SIZE / 1e6
    assert is_whole(digest)


def test_a_kill_and_a_rerun(proxy: FaultProxy, large: PushedImage) -> None:
    digest = large.platforms[0].layers[0]
    proxy.fault(digest, Stall(60, after=20_000_000))
    with spawn_save([large.via(proxy.host)]) as running:
        limit = time.monotonic() + 10
        while not (files := list(PARTIAL.glob("*"))) or files[0].stat().st_size < 19_000_000:
            assert time.monotonic() < limit
            time.sleep(0.01)
        running.signal(signal.SIGKILL)
        running.wait(5)
    here = files[0].stat().st_size
    proxy.clear()
    saved([large.via(proxy.host)])
    assert blob_requests(proxy, digest) == [here]
    assert is_whole(digest)


def test_an_interruption_ends_at_once_and_keeps_what_came(proxy: FaultProxy, large: PushedImage) -> None:
    digest = large.platforms[0].layers[0]
    proxy.fault(digest, Stall(60, after=20_000_000))
    with spawn_save([large.via(proxy.host)]) as running:
        proxy.wait_for(digest)
        time.sleep(0.5)
        running.signal(signal.SIGINT)
        started = time.monotonic()
        assert running.wait(5).code == 130
        assert time.monotonic() - started < 2
    proxy.clear()
    saved([large.via(proxy.host)])
    [start] = blob_requests(proxy, digest)
    assert start > 10_000_000


def partial_of(proxy: FaultProxy, large: PushedImage, size: int = 12_000_000) -> str:
    """Leave the first bytes of the large layer in the cache, and forget the requests."""
    digest = large.platforms[0].layers[0]
    proxy.fault(digest, Reset(size), times=1)
    proxy.fault(digest, Status(503), times=None)
    assert save([large.via(proxy.host)], "-retry", "0").code == 3
    assert [path.name for path in PARTIAL.iterdir()] == [digest.replace(":", "-")]
    proxy.clear()
    return digest


@pytest.mark.parametrize("fault", [NoRange(), WrongRange(7)], ids=str)
def test_a_registry_that_knows_no_ranges(proxy: FaultProxy, large: PushedImage, fault: Fault) -> None:
    digest = partial_of(proxy, large)
    proxy.fault(digest, fault, times=None)
    saved([large.via(proxy.host)], "-retry", "1")
    assert is_whole(digest)


def test_what_is_here_is_wrong(proxy: FaultProxy, large: PushedImage) -> None:
    """The rest fits, but the whole does not have the digest: it begins anew."""
    digest = partial_of(proxy, large)
    [path] = PARTIAL.iterdir()
    data = bytearray(path.read_bytes())
    data[1000] ^= 0xFF
    path.write_bytes(data)
    saved([large.via(proxy.host)], "-retry", "1")
    assert blob_requests(proxy, digest) == [len(data), 0]
    assert is_whole(digest)


@pytest.mark.parametrize("size", [SIZE - 1, SIZE, SIZE + 5000])
def test_all_of_it_is_here_already(proxy: FaultProxy, large: PushedImage, registry: Registry, size: int) -> None:
    """Killed just before the rename; or somebody wrote more into the file."""
    digest = large.platforms[0].layers[0]
    data = registry.blob_path(digest).read_bytes()
    proxy.fault(digest, Status(503))
    assert save([large.via(proxy.host)], "-retry", "0").code == 3
    proxy.clear()
    PARTIAL.mkdir(exist_ok=True)
    whole = len(data)
    (PARTIAL / digest.replace(":", "-")).write_bytes((data + bytes(10_000))[: whole + size - SIZE])
    saved([large.via(proxy.host)], "-retry", "1")
    starts = blob_requests(proxy, digest)
    assert starts == {SIZE - 1: [whole - 1], SIZE: []}.get(size, [whole + 5000, 0])
    assert is_whole(digest)


def test_wrong_bytes_in_the_middle(proxy: FaultProxy, large: PushedImage) -> None:
    digest = large.platforms[0].layers[0]
    proxy.fault(digest, WrongBytes(5_000_000))
    saved([large.via(proxy.host)], "-retry", "1")
    assert blob_requests(proxy, digest) == [0, 0]
    assert is_whole(digest)


def test_a_redirect_to_a_dead_host(proxy: FaultProxy, large: PushedImage) -> None:
    """Each attempt asks the registry anew, which sends it elsewhere then."""
    digest = large.platforms[0].layers[0]
    with FaultProxy(proxy.upstream) as dead:
        address = f"http://{dead.host}/gone"
    proxy.fault(digest, Redirect(address))
    saved([large.via(proxy.host)], "-retry", "1")
    assert is_whole(digest)


def test_a_blob_that_is_gone_takes_its_images_with_it_and_no_others(proxy: FaultProxy, registry: Registry) -> None:
    base = layer("transport/gone/base")
    names = [f"transport/gone/{number}" for number in range(3)]

    def both(name: str) -> Index:
        return index(*(image(f"linux/{each}", [base, layer(f"{name}/{each}")]) for each in ("amd64", "arm64")))

    images = [push(registry, name, "v1", both(name)) for name in names[:2]]
    good = push(registry, names[2], "v1", image("linux/amd64", [layer(names[2])]))
    proxy.fault(base.digest, Status(404), times=None)
    result = save([*(each.via(proxy.host) for each in images), good.via(proxy.host)], "-j", "4")
    assert result.code == 1, result
    assert unpack().names == [good.via(proxy.host)]
    reason = f"linux/amd64: {proxy.host}/{names[0]}@{base.digest} cannot be fetched: not found"
    assert result.stdout.count(reason) == 2, "each image that needs it, from where it was asked first"
    assert f"also asked: {proxy.host}/{names[1]}" in result.stdout
    assert len(blob_requests(proxy, base.digest)) == 2, "once in each repository"
    [line] = [line for line in result.stderr.splitlines() if " ERROR " in line and base.digest in line]
    assert "[M_ID:1] [IMG_ID:1]" in line


def test_another_repository_has_it(proxy: FaultProxy, registry: Registry) -> None:
    """A registry may deny a blob under one name and give it under another."""
    base = layer("transport/mounted/base")
    names = [f"transport/mounted/{number}" for number in range(2)]
    images = [push(registry, name, "v1", image("linux/amd64", [base, layer(name)])) for name in names]
    proxy.fault(f"{names[0]}/blobs/{base.digest}", Status(403), times=None)
    saved([each.via(proxy.host) for each in images])
    assert is_whole(base.digest)


def test_images_are_finished_one_by_one(proxy: FaultProxy, registry: Registry) -> None:
    """With two jobs, the first of 24 images are whole before the last one is begun, on a line where answers take their time."""
    images = [push(registry, f"transport/early/{n}", "v1", image("linux/amd64", [layer(f"early/{n}")])) for n in range(24)]
    last = images[-1].platforms[0].layers[0]
    proxy.fault(last, Stall(20, after=-1))
    proxy.fault("/blobs/", Stall(0.2, after=-1), times=None)
    with spawn_save([each.via(proxy.host) for each in images], "-j", "2", "-compress=dir") as running:
        proxy.wait_for(last)
        done = [each for each in images if f"copied {each.via(proxy.host)} " in running.stderr]
        assert done[:4] == images[:4]
        assert list((CACHE / ".state/bundles").glob("*/images/**/index.json"))
        proxy.clear()
        assert running.wait().code == 0


def test_a_machine_that_rejects_what_it_does_not_know(
    registry: Registry, large: PushedImage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Policies are about where images come from: the copy from our own layout is none of theirs, and what they demand holds."""
    policy = Path("home/.config/containers/policy.json")
    policy.parent.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    accepted = '{"default": [{"type": "reject"}], "transports": {"docker": {"%s": [{"type": "insecureAcceptAnything"}]}}}'
    policy.write_text(accepted % registry.host)
    saved([large])
    policy.write_text('{"default": [{"type": "reject"}]}')
    registry.clear_requests()
    other = push(registry, "transport/rejected", "v1", image("linux/amd64", [layer("transport/rejected")]))
    result = save([other], "-cache", "other", "-d", "other.tar.gz")
    assert result.code == 3
    assert "refused by the policy" in result.stdout
    assert not registry.blob_gets or all(request.reference == other.platforms[0].config for request in registry.blob_gets)
    assert not (Path("other/share/sha256") / other.platforms[0].layers[0][7:]).exists(), "nothing that is refused is fetched"


def test_a_partial_file_is_pruned(proxy: FaultProxy, large: PushedImage) -> None:
    partial_of(proxy, large)
    assert command("cache", "info").code == 0
    result = command("cache", "prune")
    assert result.code == 0 and "temporary" in result.stdout
    assert not PARTIAL.exists()
    assert not ARCHIVE.exists()


def test_skopeo_alone(proxy: FaultProxy, large: PushedImage) -> None:
    """``-via skopeo``: what our own HTTP left is of no use to it, and it asks for no ranges."""
    digest = partial_of(proxy, large)
    saved([large.via(proxy.host)], "-via", "skopeo")
    assert blob_requests(proxy, digest) == [0]
    assert is_whole(digest)
