"""Full, small and read-only disks: refused before the first fetch, or one clear message, and the rerun goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import image, layer
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import Result
from tests.system.faults.disks import disk, fill, make_read_only, resize
from tests.system.save.saving import (
    ARCHIVE,
    CACHE,
    FAILED,
    command,
    layer_gets,
    lines,
    save,
    saved,
    shell,
    temporary_files,
    unpack,
)

MB = 1_000_000
ROOMY = 60 * MB


@pytest.fixture(scope="session")
def images(registry: Registry) -> list[PushedImage]:
    """Some 6 MB in all."""
    layers = [layer(f"disk/{number}", MB) for number in range(6)]
    return [push(registry, f"disk/{n}", "v1", image("linux/amd64", layers[2 * n : 2 * n + 2])) for n in range(3)]


@pytest.fixture
def small(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 4 MB, as the working directory."""
    with disk(work / "disk", 4 * MB) as path:
        monkeypatch.chdir(path)
        yield path
        monkeypatch.chdir(work)


def all_layers(images: list[PushedImage]) -> list[str]:
    return sorted(frozenset().union(*(each.layers for each in images)))


def check_one_message(result: Result) -> None:
    assert result.code == 3, result
    assert "should not happen" not in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("TIP:") == 1, result
    assert len(re.findall(r"disk (?:of the cache )?is full|cannot write", result.stderr)) == 1, result
    assert "free some space" in result.stderr


def kept() -> set[str]:
    return {f"sha256:{path.name}" for path in (CACHE / "share/sha256").iterdir()}


def test_too_small_is_refused_before_the_first_fetch(registry: Registry, images: list[PushedImage], small: Path) -> None:
    registry.clear_requests()
    result = save(images, "-j", "3")
    assert result.code == 3
    assert layer_gets(registry, *images) == []
    assert re.search(rf"{small}\S*: \d[\d.]* [kMG]?B are needed, \d[\d.]* [kMG]?B are free", result.stderr), result
    assert "-force" in result.stderr
    assert not ARCHIVE.exists()
    planned = save(images, "-dry-run")
    assert "NOT ENOUGH" in planned.stdout


def test_forced_onto_it(registry: Registry, images: list[PushedImage], small: Path) -> None:
    registry.clear_requests()
    result = save(images, "-j", "3", "-force")
    check_one_message(result)
    assert "kept" in result.stderr
    assert not ARCHIVE.exists()
    assert not temporary_files(small)
    arrived = kept()
    registry.clear_requests()
    resize(small, ROOMY)
    saved(images, "-j", "3")
    assert sorted(layer_gets(registry, *images)) == sorted(set(all_layers(images)) - arrived)
    unpack()


@pytest.mark.parametrize(
    "arguments", [["-j", "1"], ["-compress=zstd", "-d", "saved-images.tar.gz"], ["-part", "-part-size=500K"]]
)
def test_full_while_packing(registry: Registry, images: list[PushedImage], small: Path, arguments: list[str]) -> None:
    resize(small, 8 * MB)
    check_one_message(save(images, "-force", *arguments))
    assert kept() >= set(all_layers(images))
    assert not list(small.glob("saved-images*"))
    assert not temporary_files(small)
    registry.clear_requests()
    resize(small, ROOMY)
    saved(images, *arguments)
    assert registry.blob_gets == []
    shell("sha256sum -c saved-images.tar.gz.sha256")


def test_full_while_a_folder_is_copied(images: list[PushedImage], work: Path) -> None:
    """To another disk, so that no links can be made."""
    with disk(work / "disk", 3 * MB) as place:
        refused = save(images, "-compress=dir", "-d", place / "bundle")
        assert f"{place}: " in refused.stderr, "the disk that is too small is named"
        check_one_message(save(images, "-compress=dir", "-d", place / "bundle", "-force"))
        assert list(place.iterdir()) == []
        resize(place, ROOMY)
        saved(images, "-compress=dir", "-d", place / "bundle")


def test_each_disk_has_its_own_figures(images: list[PushedImage], work: Path) -> None:
    """Room for the archive alone is not enough where the cache lies there too."""
    with disk(work / "disk", 24 * MB) as place:
        saved(images, "-d", place / "saved.tar.gz")
        (place / "saved.tar.gz").unlink()
        refused = save(images, "-d", place / "saved.tar.gz", "-cache", place / "cache")
        assert refused.code == 3
        assert refused.stderr.count(" are needed") == 1


@pytest.mark.parametrize("inodes", [0, 30])
def test_no_room_at_all(registry: Registry, images: list[PushedImage], work: Path, inodes: int) -> None:
    """Not for the lock, a record, the database: wherever it is met, one message; and with room, it goes on."""
    with disk(work / "disk", ROOMY, inodes=inodes) as place:
        cache = place / "cache"
        if inodes:
            result = save(images, "-cache", cache, "-force")
            assert result.code == 3
            assert result.stderr.count("TIP:") == 1, result
            return
        filler = fill(place)
        check_one_message(save(images, "-cache", cache))
        # A few blocks more each time, so that it ends somewhere else.
        for free in (8, 24, 48, 96, 160, 400):
            with filler.open("r+b") as file:
                file.truncate(filler.stat().st_size - free * 1024)
            result = save(images, "-cache", cache, "-force")
            if result.code == 0:
                break
            assert result.code == 3, result
            assert result.stderr.count("TIP:") == 1, result
            assert "should not happen" not in result.stderr
        filler.unlink()
        saved(images, "-cache", cache)
        unpack()


def test_full_where_the_failed_list_goes(images: list[PushedImage], work: Path) -> None:
    with disk(work / "disk", MB) as place:
        fill(place)
        missing = f"{images[0].host}/disk/none:v1"
        result = save([*images, missing], "-o", place / "failed.txt")
        assert result.code == 3
        assert "disk is full" in result.stderr
        assert "should not happen" not in result.stderr


def test_the_memory_of_tasks_survives_a_full_disk(images: list[PushedImage], work: Path) -> None:
    """What an earlier run achieved is not forgotten because this one could write nothing."""
    with disk(work / "disk", ROOMY) as place:
        cache = ("-cache", place / "cache")
        saved(images, *cache)
        filler = fill(place)
        save(images, *cache)
        filler.unlink()
        assert "unchanged since the last run" in saved(images, *cache).stdout


@pytest.mark.parametrize("what", ["cache", "destination", "failed list"])
def test_read_only(registry: Registry, images: list[PushedImage], work: Path, what: str) -> None:
    """Found before anything is asked for, also by root, and also where all is here already."""
    with disk(work / "disk", ROOMY) as place:
        flag, name = {"cache": ("-cache", "cache"), "destination": ("-d", "x.tar.gz"), "failed list": ("-o", "x")}[what]
        arguments = (flag, str(place / name))
        if what == "cache":
            saved(images, *arguments)
        make_read_only(place)
        registry.clear_requests()
        result = save(images, *arguments)
        assert result.code == 3, result
        assert str(place) in result.stderr
        assert "TIP:" in result.stderr
        assert "should not happen" not in result.stderr
        assert registry.requests() == []


def test_a_read_only_cache_can_be_looked_at(images: list[PushedImage], work: Path) -> None:
    with disk(work / "disk", ROOMY) as place:
        saved(images, "-cache", place / "cache")
        make_read_only(place)
        assert command("cache", "info", "-cache", place / "cache").code == 0
        result = command("cache", "prune", "-cache", place / "cache")
        assert result.code == 3
        assert "should not happen" not in result.stderr


def test_a_registry_whose_own_disk_is_full(images: list[PushedImage]) -> None:
    """Its words are not taken for ours: the image fails, the others go on."""
    from pipeline.registry.skopeo.messages import check_local, classify

    words = "received unexpected HTTP status: 500: write /var/lib/registry/share/x: no space left on device"
    check_local(words, ("images/a/.tmp-1-linux-amd64/", "share/", "/work/cache"))
    assert classify(words).can_pass
    assert FAILED.exists() is False
    assert lines(images)
