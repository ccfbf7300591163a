"""A run that is stopped, however hard, loses nothing: what had arrived is not fetched again, and nothing lies about."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.images import image, index, layer
from tests.support.kinds import push_kind
from tests.support.proxy import Fault, FaultProxy, Reset, Stall, Status
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import Running, spawn
from tests.system.save.saving import (
    ARCHIVE,
    CACHE,
    FAILED,
    LIST,
    PLAIN,
    cached,
    command,
    digests,
    identity,
    inside,
    saved,
    spawn_save,
    temporary_files,
    unpack,
    write_list,
)

PATIENCE = 2.0
"""Seconds within which a stopped run must be gone. (One is promised; a busy test machine takes its own.)"""


@pytest.fixture(scope="session")
def images(registry: Registry) -> list[PushedImage]:
    kinds = ("oci-index", "docker-list", "shared-one")
    return [push_kind(registry, kind, f"interruption/{kind}") for kind in kinds]


@pytest.fixture(scope="session")
def large(registry: Registry) -> PushedImage:
    """Large enough to be caught in the middle of packing."""
    layers = [layer(f"interruption/large/{number}", 3_000_000, "", text=number % 2 == 0) for number in range(6)]
    return push(registry, "interruption/large", "v1", index(image("linux/amd64", layers)))


def stalled(proxy: FaultProxy, images: list[PushedImage], *arguments: str) -> Running:
    """A run of the first two images that has fetched all but the last layer, in which it hangs."""
    last = images[1].platforms[1].layers[0]
    proxy.fault(last, Stall(60, after=100))
    running = spawn_save([each.via(proxy.host) for each in images[:2]], *arguments)
    proxy.wait_for(last)
    others = digests(images[:2], "linux/amd64", "linux/arm64") - {last}
    limit = time.monotonic() + 10
    while not all(cached(digest).exists() for digest in others):
        assert time.monotonic() < limit, running.stderr
        time.sleep(0.005)
    return running


def asked_for(proxy: FaultProxy) -> list[str]:
    """Digests of the blobs that came through."""
    return [seen.path.rpartition("/")[2] for seen in proxy.requests if "/blobs/" in seen.path]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whom", ["process", "group"])
def test_a_signal(proxy: FaultProxy, images: list[PushedImage], signum: signal.Signals, whom: str) -> None:
    with stalled(proxy, images, "-j", "2") as running:
        start = time.monotonic()
        (running.signal if whom == "process" else running.signal_group)(signum)
        result = running.wait(5)
        assert time.monotonic() - start < PATIENCE
    assert result.code == 128 + signum, result
    assert "interrupted" in result.stderr
    assert "what was fetched is kept" in result.stderr
    assert "same command again" in result.stderr
    assert "Traceback" not in result.stderr
    assert "should not happen" not in result.stderr
    assert not ARCHIVE.exists()
    assert not FAILED.exists(), "nothing failed"
    assert not temporary_files(Path())
    proxy.clear()
    result = command("save", "-f", LIST, PLAIN)
    assert result.code == 0, result
    layers = {layer for each in images for layer in each.layers}
    assert [digest for digest in asked_for(proxy) if digest in layers] == [images[1].platforms[1].layers[0]]


def test_a_signal_leaves_an_earlier_bundle(proxy: FaultProxy, images: list[PushedImage]) -> None:
    saved([images[0].via(proxy.host)])
    before = identity(ARCHIVE)
    with stalled(proxy, images) as running:
        running.signal(signal.SIGTERM)
        assert running.wait(5).code == 143
    assert identity(ARCHIVE) == before


def test_a_signal_while_it_asks_for_manifests(proxy: FaultProxy, images: list[PushedImage]) -> None:
    rule = proxy.fault("/manifests/", Stall(60, after=-1), times=None)
    with spawn_save([each.via(proxy.host) for each in images], "-j", "3") as running:
        proxy.wait_for("/manifests/", 3)
        running.signal(signal.SIGINT)
        result = running.wait(PATIENCE)
    assert result.code == 130, result
    assert rule.used >= 3


@pytest.mark.parametrize(
    ("fault", "last"),
    [(Reset(-1), "(3 of 50)"), (Status(503, retry_after=60), "(1 of 50)"), (Status(429, retry_after=60), "(1 of 50)")],
    ids=["its own pause", "a pause that was asked for", "too many requests"],
)
def test_a_signal_while_it_waits_to_try_again(proxy: FaultProxy, images: list[PushedImage], fault: Fault, last: str) -> None:
    proxy.fault("/manifests/", fault, times=None)
    with spawn_save([images[0].via(proxy.host)], "-retry", "50") as running:
        running.wait_for(last)
        running.signal(signal.SIGINT)
        assert running.wait(PATIENCE).code == 130


@pytest.mark.parametrize("arguments", [[], ["-compress=dir", "-d", "bundle"]], ids=str)
def test_a_signal_while_it_packs(large: PushedImage, arguments: list[str]) -> None:
    """Wherever it strikes: nothing, or all of it."""
    saved([large], "-d", "reference.tar.gz")
    with spawn_save([large], *arguments) as running:
        running.wait_for("writing")
        running.signal(signal.SIGINT)
        result = running.wait(PATIENCE)
    assert result.code in (0, 130), result
    assert not results(Path()).keys() & {ARCHIVE.name, "bundle/index.json"} or result.code == 0
    saved([large], *arguments)
    assert not temporary_files(Path()), "what was complete and had no name yet has it now"
    if not arguments:
        assert ARCHIVE.read_bytes() == Path("reference.tar.gz").read_bytes()


def test_a_second_signal_ends_it_at_once(proxy: FaultProxy, images: list[PushedImage]) -> None:
    with stalled(proxy, images) as running:
        running.signal(signal.SIGINT)
        running.signal(signal.SIGINT)
        assert running.wait(PATIENCE).code == 130


def test_ctrl_c_before_it_has_begun(images: list[PushedImage]) -> None:
    for delay in (0.1, 0.2, 0.3):
        with spawn_save([images[0]]) as running:
            time.sleep(delay)
            running.signal_group(signal.SIGINT)
            result = running.wait(10)
        if "Fatal Python error: init" not in result.stderr:  # that was Python itself, before any line of ours
            assert result.code in (130, -signal.SIGINT, 0), result
            if result.code == 130:
                assert "Traceback" not in result.stderr
    saved([images[0]])


# kill -9


def test_kill_in_the_middle_of_a_copy(proxy: FaultProxy, images: list[PushedImage]) -> None:
    with inside(Path("undisturbed")):
        saved([each.via(proxy.host) for each in images[:2]])
        proxy.clear()
    with stalled(proxy, images, "-j", "2") as running:
        running.signal(signal.SIGKILL)
        running.wait(5)
        arrived = {path.name for path in (CACHE / "share/sha256").iterdir()}
    seen = len(proxy.requests)
    proxy.release()
    # A program that it was just about to start may hold the lock for a moment.
    result = command("save", "-f", LIST, PLAIN, "-wait")
    assert result.code == 0, result
    again = [each.path.rpartition("/")[2] for each in proxy.requests[seen:] if "/blobs/" in each.path]
    layers = {layer for each in images for layer in each.layers}
    assert [digest for digest in again if digest in layers] == [images[1].platforms[1].layers[0]]
    assert not {digest[7:] for digest in again if digest in layers} & arrived
    assert not temporary_files(Path())
    assert ARCHIVE.read_bytes() == (Path("undisturbed") / ARCHIVE).read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [["-d", "out/saved.tar.gz", "-part", "-part-size=1M"], ["-d", "out/bundle", "-compress=dir"]],
    ids=["volumes", "folder"],
)
def test_kills_while_it_packs(large: PushedImage, arguments: list[str]) -> None:
    """Ever later, until it comes through; the last run leaves what an undisturbed one leaves."""
    with inside(Path("undisturbed")):
        saved([large], *arguments)
        expected = results(Path("out"))
    kills = 0
    for number in range(100):
        with spawn_save([large], *arguments, "-cache", "cache") as running:
            while running.running and "writing" not in running.stderr:
                time.sleep(0.002)
            time.sleep(number * 0.1)
            if running.running:
                running.signal(signal.SIGKILL)
            if running.wait(10).code == 0:
                break
        kills += 1
    assert kills
    assert results(Path("out")) == expected
    assert not temporary_files(Path("out"), Path("cache"))


def results(folder: Path) -> dict[str, bytes]:
    """All files of a folder, but for the cache."""
    found = [path for path in folder.rglob("*") if path.is_file() and CACHE.name not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def killed_at(number: int, *arguments: str | Path) -> int:
    """A save that is killed when it renames or removes a result for the ``number``-th time; its exit code.

    In a fork of this process: starting Python takes longer than the save.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    count = itertools.count(1)

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(path: str | Path, *more: object, **options: object) -> object:
            if re.search("saved-images.tar|bundle", os.fspath(path).rpartition("/")[2]) and next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(path, *more, **options)

        return call

    try:
        for name in ("rename", "replace", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        os._exit(command("save", *arguments).code)
    finally:
        os._exit(70)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["-part", "-part-size=8K"], ["-part", "-part-size=6K"]),
        (["-part", "-part-size=8K"], []),
        (["-compress=dir", "-d", "bundle"], ["-compress=dir", "-d", "bundle", "-a", "arm64"]),
    ],
    ids=["other volumes", "volumes to file", "folder"],
)
def test_a_killed_change_over_is_completed(images: list[PushedImage], before: list[str], after: list[str]) -> None:
    """Stopped before any of its renames: what lies there after the next run is one whole set."""
    image = images[:1]
    saved(image, *before)
    saved(image, *after)
    expected = results(Path())
    for number in range(1, 40):
        saved(image, *before)
        code = killed_at(number, "-f", LIST, PLAIN, *after)
        assert code in (0, -signal.SIGKILL)
        saved(image, *after)
        assert results(Path()) == expected, number
        if code == 0:
            break
    assert number > 2


# Two runs on one cache


def test_a_second_run_on_the_cache(proxy: FaultProxy, images: list[PushedImage]) -> None:
    with stalled(proxy, images) as first:
        result = command("save", "-f", LIST, PLAIN, "-d", "other.tar.gz")
        assert result.code == 3
        assert f"process {first.pid}" in result.stderr
        assert "in use by another run" in result.stderr
        assert time.strftime("%Y-%m-%dT") in result.stderr
        assert "-wait" in result.stderr or "wait" in result.stderr
        with spawn("save", "-f", LIST, PLAIN, "-d", "other.tar.gz", "-wait") as waiting:
            time.sleep(0.7)
            assert waiting.running
            proxy.release()
            assert first.wait().code == 0
            assert waiting.wait().code == 0
    assert unpack().names == unpack(Path("other.tar.gz")).names


def test_ctrl_c_while_it_waits(proxy: FaultProxy, images: list[PushedImage]) -> None:
    with stalled(proxy, images), spawn("save", "-f", LIST, PLAIN, "-d", "other.tar.gz", "-wait") as waiting:
        waiting.wait_for("waiting: ")
        waiting.signal(signal.SIGINT)
        assert waiting.wait(PATIENCE).code == 130


def test_a_lock_of_a_dead_run_is_none(proxy: FaultProxy, images: list[PushedImage]) -> None:
    with stalled(proxy, images) as running:
        running.signal(signal.SIGKILL)
        running.wait(5)
    assert str(running.pid) in (CACHE / ".state/lock").read_text()
    proxy.clear()
    assert command("save", "-f", LIST, PLAIN).code == 0


def test_other_caches_do_not_wait(proxy: FaultProxy, images: list[PushedImage]) -> None:
    with stalled(proxy, images):
        assert command("save", "-f", write_list(images[2:], Path("2.txt")), PLAIN, "-cache", "2", "-d", "2.tar.gz").code == 0
