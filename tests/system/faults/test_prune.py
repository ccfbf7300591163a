"""``image-tools cache``: what belongs to which bundle, and the removal of what belongs to none."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import files
from tests.support.images import image, layer
from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Stall, Status
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import run
from tests.system.save.saving import ARCHIVE, CACHE, cached, command, files_below, layer_gets, save, saved, spawn_save, unpack

UNCHANGED = "unchanged since the last run"


@pytest.fixture(scope="session")
def one(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-index", "prune/one")


@pytest.fixture(scope="session")
def another(registry: Registry) -> PushedImage:
    return push_kind(registry, "docker-list", "prune/another")


def info(*arguments: str) -> dict[str, Any]:
    result = command("cache", "info", "-json", *arguments)
    assert result.code == 0, result
    return dict(json.loads(result.stdout))


def prune(*arguments: str) -> str:
    result = command("cache", "prune", *arguments)
    assert result.code == 0, result
    return result.stdout


def test_nothing_that_a_bundle_needs_goes(registry: Registry, every_kind: dict[str, PushedImage]) -> None:
    """Of any kind of image: the next run asks for tags alone, and has nothing to do."""
    everything = list(every_kind.values())
    saved(everything, "-j", "6")
    prune()
    registry.clear_requests()
    assert UNCHANGED in saved(everything, "-j", "6").stdout
    assert [request.reference for request in registry.requests() if request.kind] == ["v1"] * len(everything)
    ARCHIVE.unlink()
    saved(everything, "-j", "6")
    unpack()
    assert prune() == "removed nothing\n"


def test_info(one: PushedImage, another: PushedImage) -> None:
    saved([one, another])
    saved([one], "-d", "other.tar.gz", "-part", "-part-size=2K")
    first, second = sorted(info()["bundles"], key=lambda entry: -int(entry["images"]))
    assert first["destination"] == str(ARCHIVE.resolve())
    assert (first["images"], second["images"]) == (2, 1)
    assert first["size"] > second["size"] > 0
    assert second["size_alone"] < second["size"]
    assert first["archive"] == second["archive"] == "there"
    assert first["last_saved"].endswith("Z")
    Path("other.tar.gz.part1").unlink()
    text = command("cache", "info").stdout
    assert str(ARCHIVE.resolve()) in text
    assert "not at its place any more" in text
    assert "2026" in text or "20" in text


def test_info_of_runs_that_failed(registry: Registry, one: PushedImage) -> None:
    nothing = save([f"{registry.host}/prune/none:{number}" for number in range(3)])
    assert nothing.code == 3
    [bundle] = info()["bundles"]
    assert (bundle["last_run"]["saved"], bundle["last_run"]["failed"]) == (0, 3)
    assert (bundle["archive"], bundle["last_saved"]) == ("never made", None)
    text = command("cache", "info").stdout
    assert re.search(r"last run +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: 0 images saved, 3 failed\n +last saved +never\n", text)
    assert save([one, f"{registry.host}/prune/none:1"]).code == 1
    [bundle] = info()["bundles"]
    assert (bundle["last_run"]["saved"], bundle["last_run"]["failed"], bundle["archive"]) == (1, 1, "there")
    assert bundle["last_saved"] is not None


def test_what_an_image_less_sets_free(registry: Registry, one: PushedImage, another: PushedImage) -> None:
    saved([one, another], "-a", "all")
    saved([one], "-a", "amd64")
    before = files_below(CACHE)
    planned = prune("-dry-run", "-v")
    assert files_below(CACHE) == before
    assert "linux-s390x" in planned
    done = prune()
    assert done.splitlines()[0].removeprefix("removed") == planned.splitlines()[0].removeprefix("would remove")
    gone = before - files_below(CACHE)
    assert {f"share/{digest.replace(':', '/')}" for digest in another.layers} <= gone
    assert not [path for path in CACHE.rglob("*") if path.is_dir() and not any(path.iterdir())]
    kept = one.platform("linux/amd64").layers
    assert all(cached(digest).exists() for digest in kept)
    registry.clear_requests()
    assert UNCHANGED in saved([one], "-a", "amd64").stdout
    assert registry.blob_gets == []


def test_a_moved_tag(registry: Registry) -> None:
    old = push(registry, "prune/moving", "v1", image(layers=[layer("prune/base"), layer("prune/old")]))
    saved([old])
    new = push(registry, "prune/moving", "v1", image(layers=[layer("prune/base"), layer("prune/new")]))
    saved([new])
    prune()
    assert {path.name for path in (CACHE / "share/sha256").iterdir()} == {digest[7:] for digest in new.contents}


def test_an_interrupted_save_loses_nothing(
    registry: Registry, proxy: FaultProxy, one: PushedImage, another: PushedImage
) -> None:
    """Its list and the records say what it needs, though it never came to an archive."""
    names = [one.via(proxy.host), another.via(proxy.host)]
    last = another.platforms[-1].layers[-1]
    proxy.fault(f"/blobs/{last}", Stall(60))
    with spawn_save(names) as running:
        proxy.wait_for(f"/blobs/{last}")
        refused = command("cache", "prune")
        assert refused.code == 3
        assert f"process {running.pid}" in refused.stderr
        assert info()["in_use"]["pid"] == running.pid
        running.signal(signal.SIGKILL)
        running.wait()
    proxy.clear()
    assert info()["unused"]["temporary"] > 0
    arrived = {path.name for path in (CACHE / "share/sha256").iterdir()}
    assert "temporary" in prune()
    # Docker's configs as skopeo converts them are nobody's.
    gone = arrived - {path.name for path in (CACHE / "share/sha256").iterdir()}
    assert not gone & {digest[7:] for digest in (*one.contents, *another.contents)}
    registry.clear_requests()
    saved(names)
    assert layer_gets(registry, one, another) == [last]


def test_an_image_that_failed_keeps_what_it_has(
    registry: Registry, proxy: FaultProxy, one: PushedImage, another: PushedImage
) -> None:
    layers = one.platform("linux/arm64").layers
    proxy.fault(f"/blobs/{layers[0]}", Status(404), times=None)
    assert save([one.via(proxy.host), another], "-retry", "0").code == 1
    prune()
    proxy.clear()
    registry.clear_requests()
    saved([one.via(proxy.host), another])
    assert layer_gets(registry, one, another) == [layers[0]]


def pruned_until(number: int, *arguments: str) -> int:
    """``cache prune`` that is killed before the ``number``-th time it renames or removes something; its exit code.

    In a fork of this process: starting Python takes longer than the prune.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    count = itertools.count(1)

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    try:
        for name in ("rename", "replace", "unlink", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        os._exit(command("cache", "prune", *arguments).code)
    finally:
        os._exit(70)


@pytest.mark.parametrize("is_alone", [True, False])
def test_forgetting_that_was_killed_is_finished_by_the_same_command(
    one: PushedImage, another: PushedImage, is_alone: bool
) -> None:
    """Wherever it was: what an undisturbed one leaves is left, and then there is no such bundle any more."""
    if not is_alone:
        saved([one])
    saved([another], "-d", "other.tar.gz")
    shutil.copytree(CACHE, "before", symlinks=True)
    prune("-forget", "other.tar.gz")
    expected = {name for name in files_below(CACHE) if "/lock" not in name}
    assert not any(cached(digest).exists() for digest in another.layers - one.layers)
    for number in itertools.count(1, 5):
        shutil.rmtree(CACHE)
        shutil.copytree("before", CACHE, symlinks=True)
        code = pruned_until(number, "-forget", "other.tar.gz")
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            break
        # Once it has begun, a prune that is asked to forget nothing finishes it, too.
        has_begun = (CACHE / ".state/forgotten.json").exists()
        prune(*([] if has_begun and number % 2 else ["-forget", "other.tar.gz"]))
        assert {name for name in files_below(CACHE) if "/lock" not in name} == expected, number
    assert number > 10
    assert command("cache", "prune", "-forget", "other.tar.gz").code == 2


@pytest.mark.parametrize("by", ["destination", "id"])
def test_forgetting_a_bundle(registry: Registry, one: PushedImage, another: PushedImage, by: str) -> None:
    saved([one])
    saved([another], "-d", "other.tar.gz")
    [entry] = [entry for entry in info()["bundles"] if entry["destination"].endswith("other.tar.gz")]
    name = "other.tar.gz" if by == "destination" else entry["id"]
    prune("-forget", name, "-dry-run")
    assert len(info()["bundles"]) == 2
    prune("-forget", name)
    assert [entry["destination"] for entry in info()["bundles"]] == [str(ARCHIVE.resolve())]
    assert Path("other.tar.gz").exists(), "the archive is not ours to remove"
    assert json.loads((CACHE / "index.json").read_bytes())["manifests"] == [], "what was shown is gone"
    registry.clear_requests()
    assert UNCHANGED in saved([one]).stdout
    assert registry.blob_gets == []
    saved([another], "-d", "other.tar.gz")


def test_temporary_files(one: PushedImage) -> None:
    saved([one])
    pid = 2**22 + 7  # no process has it
    junk = [
        CACHE / ".tmp-1-x",
        CACHE / "images" / ".tmp-1-y" / "oci-put-blob1",
        CACHE / "share/sha256/.tmp-1-2-z",
        CACHE / ".state/resolved/.tmp-1-2-r.json",
        CACHE / ".state/bundles/.tmp-1-b/images.txt",
        Path(".tmp-saved-images.tar.gz.0"),
        Path(f".tmp-{pid}-saved-images.tar.gz") / "index.json",
    ]
    for path in junk:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("junk")
    assert info()["unused"]["temporary"] == len(junk)
    assert f"{len(junk)} temporary files" in prune()
    assert not any(path.exists() for path in junk)
    assert len(info()["bundles"]) == 1


def test_a_save_removes_them_too(one: PushedImage) -> None:
    """Of its own destination, failed list and checksum file; not those of a process that runs."""
    saved([one])
    dead, alive = 2**22 + 7, os.getppid()
    names = ("saved-images.tar.gz", "1-save-failed.txt", "1-saved-images.tar.gz.sha256", "old-saved-images.tar.gz")
    junk = [Path(".tmp-saved-images.tar.gz.3"), *(Path(f".tmp-{dead}-{name}") for name in names)]
    others = [Path(f".tmp-{alive}-1-save-failed.txt"), Path(f".tmp-{dead}-other.tar.gz"), Path(".tmp-other.tar.gz.0")]
    for path in (*junk, *others):
        path.write_text("junk")
    saved([one])
    assert not any(path.exists() for path in junk)
    assert all(path.exists() for path in others)


def test_damage_makes_it_careful(registry: Registry, one: PushedImage, another: PushedImage) -> None:
    """What may be needed stays until the next save has put it right."""
    saved([one, another])
    saved([one])
    for damaged in (*CACHE.glob(".state/resolved/**/one*.json"), cached(one.platforms[0].manifest)):
        good = damaged.read_bytes()
        damaged.write_bytes(good[:-5])
        assert prune() == "removed nothing\n"
        assert "damaged" in command("cache", "info").stdout
        assert info()["bundles"][0]["damaged"]
        damaged.write_bytes(good)
    for name in ("bundle.json", "images.txt"):
        [path] = CACHE.glob(f".state/bundles/*/{name}")
        path.write_bytes(b"\0")
    assert prune() == "removed nothing\n"
    registry.clear_requests()
    saved([one])
    assert registry.blob_gets == []
    assert prune() != "removed nothing\n"


def test_a_list_without_a_description_is_enough(registry: Registry, one: PushedImage, another: PushedImage) -> None:
    """As an earlier version left it: it is not known which platforms were asked for, so all count."""
    saved([one, another], "-a", "all")
    saved([one])
    [path] = CACHE.glob(".state/bundles/*/bundle.json")
    path.unlink()
    assert "linux-s390x" not in prune("-dry-run")
    prune()
    registry.clear_requests()
    saved([one], "-a", "all")
    assert layer_gets(registry, one) == []


def test_a_cache_that_has_lost_its_state_is_not_emptied(one: PushedImage) -> None:
    saved([one])
    shutil.rmtree(CACHE / ".state")
    result = command("cache", "prune")
    assert result.code == 3
    assert "knows of no bundle" in result.stderr
    assert all(cached(digest).exists() for digest in one.platforms[0].layers)


def test_the_cache_as_the_bundle(registry: Registry, one: PushedImage, another: PushedImage) -> None:
    saved([one, another], "-compress=dir")
    saved([one], "-compress=dir")
    prune()
    assert info()["bundles"][0]["archive"] == "there"
    registry.clear_requests()
    assert "is the bundle" in saved([one], "-compress=dir").stdout
    assert registry.blob_gets == []


def test_links_of_a_folder_stay(one: PushedImage) -> None:
    saved([one], "-compress=dir", "-d", "bundle")
    prune("-forget", "bundle")
    assert not cached(one.platforms[0].layers[0]).exists()
    assert cached(one.platforms[0].layers[0], Path("bundle")).exists()


def test_what_is_not_ours_stays(one: PushedImage) -> None:
    saved([one])
    foreign = [CACHE / "notes.txt", CACHE / "share/sha256/README", CACHE / "share/sha256/abc", CACHE / "images/mine/file.txt"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    outside = Path("outside")
    outside.write_text("x")
    (CACHE / "share/sha256" / ("a" * 64)).symlink_to(outside.resolve())
    prune()
    assert all(path.exists() for path in foreign)
    assert outside.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cache", "inf"], "no command 'cache inf'"),
        (["cache", "info", "x"], "unexpected argument 'x'"),
        (["cache", "prune", "-json"], "not defined: -json"),
        (["cache", "info", "-cache", "nowhere"], "no cache at"),
        (["cache", "prune", "-cache", "nowhere"], "no cache at"),
    ],
)
def test_usage_errors(arguments: list[str], words: str) -> None:
    result = command(*arguments)
    assert result.code == 2
    assert words in result.stderr
    assert not Path("nowhere").exists()


def test_an_unknown_bundle(one: PushedImage) -> None:
    saved([one])
    result = command("cache", "prune", "-forget", "nothing.tar.gz")
    assert result.code == 2
    assert str(ARCHIVE.resolve()) in result.stderr, "what there is instead"


def test_a_folder_that_is_no_cache() -> None:
    Path("mine").mkdir()
    Path("mine/file").write_text("x")
    assert command("cache", "prune", "-cache", "mine").code == 2
    assert Path("mine/file").exists()


def test_help() -> None:
    for arguments in (["cache"], ["cache", "-h"], ["cache", "prune", "-h"], ["cache", "info", "-h"]):
        result = run(*arguments)
        assert (result.code, result.stderr) == (0, "")
        own = "prune" if "info" not in arguments else "info"
        assert f"image-tools cache {own}" in result.stdout


def test_leftovers_of_living_processes_are_not_ours(work: Path) -> None:
    path = Path("x.json")
    mine, other = Path(f".tmp-{os.getpid()}-1-x.json"), Path(f".tmp-{os.getppid()}-1-x.json")
    for leftover in (mine, other):
        leftover.write_text("")
    assert files.temporary_leftovers(path) == [mine]
