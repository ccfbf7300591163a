"""What lies at a destination, and who else writes to it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from pipeline.storage import destination
from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Stall
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import spawn
from tests.system.save.saving import (
    ARCHIVE,
    CACHE,
    LIST,
    PLAIN,
    command,
    fetched_before,
    identity,
    inside,
    prepared,
    save,
    saved,
    shell,
    spawn_save,
    temporary_files,
    unpack,
    write_list,
)
from tests.system.save.test_interruption import killed_at

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


# What lies there


def names() -> list[str]:
    """What lies at the destination."""
    return sorted(path.name for path in Path().glob("*saved-images.tar.gz*"))


def readable(names: list[str]) -> None:
    """By sha256sum, by tar and by us; ``names`` are the images in it."""
    shell("sha256sum -c --quiet saved-images.tar.gz.sha256")
    assert unpack().names == names
    listed = command("ls", ARCHIVE)
    assert listed.code == 0, listed
    assert all(name in listed.stdout for name in names)


SHAPES = {"one file": [], "three": ["-part", "-part-size=8K"], "many": ["-part", "-part-size=1K"]}


@pytest.mark.parametrize("after", SHAPES)
@pytest.mark.parametrize("before", SHAPES)
@pytest.mark.parametrize("known", ["checksums", "volumes"])
def test_a_bundle_of_another_cache_is_replaced_as_one(images: list[PushedImage], before: str, after: str, known: str) -> None:
    """Whatever its form: by its checksum file, and without one as it can be read as a set."""
    prepared(images[:2], *SHAPES[before])
    shutil.rmtree(CACHE)
    if known == "volumes":
        Path(f"{ARCHIVE}.sha256").unlink()
    prepared([images[2]], *SHAPES[after])
    with inside(Path("undisturbed")):
        prepared([images[2]], *SHAPES[after])
        expected = names()
    assert names() == expected
    readable([images[2].reference])
    assert "unchanged since the last run" in saved([images[2]], *SHAPES[after]).stdout


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["part7", "part007", "part0", "part00"])
def test_what_only_looks_like_a_volume_is_refused(registry: Registry, images: list[PushedImage], shape: str, name: str) -> None:
    """Before anything is fetched; it stays as it is."""
    stranger = Path(f"{ARCHIVE}.{name}")
    stranger.write_text("mine")
    registry.clear_requests()
    result = save(images[:1], *SHAPES[shape])
    assert result.code == 3
    assert (
        f"these files would be read as parts of the new bundle, and are of no bundle that is known: {stranger.resolve()}\n"
        in result.stderr
    )
    assert registry.requests() == []
    assert stranger.read_text() == "mine"
    assert names() == [stranger.name]
    stranger.unlink()
    saved(images[:1], *SHAPES[shape])
    readable([images[0].reference])


def test_a_volume_that_came_since_is_refused_beside_a_bundle_that_is_unchanged(images: list[PushedImage]) -> None:
    prepared(images[:1], "-part", "-part-size=8K")
    Path(f"{ARCHIVE}.part9").write_text("mine")
    before = identity(Path(f"{ARCHIVE}.part0"))
    result = save(images[:1], "-part", "-part-size=8K")
    assert result.code == 3
    assert f"{ARCHIVE}.part9" in result.stderr
    assert identity(Path(f"{ARCHIVE}.part0")) == before


def test_a_single_file_that_is_not_ours_is_not_hidden_behind(images: list[PushedImage]) -> None:
    """A reader that is given the common name would read it, and not the volumes."""
    ARCHIVE.write_text("mine")
    result = save(images[:1], "-part", "-part-size=8K")
    assert result.code == 3
    assert str(ARCHIVE.resolve()) in result.stderr
    assert ARCHIVE.read_text() == "mine"


def test_what_comes_while_it_packs_is_found_in_the_end(images: list[PushedImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """Never exit code 0 with a set that cannot be read."""
    late = Path(f"{ARCHIVE}.part9")
    real = destination.check_readable

    def check(*arguments: Any) -> None:
        late.write_text("mine")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.steps.split.check_readable", check)
        result = save(images[:1], "-part", "-part-size=8K")
    assert result.code == 3
    assert "cannot be read back" in result.stderr
    assert str(late) in result.stderr
    late.unlink()
    saved(images[:1], "-part", "-part-size=8K")
    readable([images[0].reference])


def test_files_that_vanish_before_they_have_their_names(images: list[PushedImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program, or another machine on a disk without locks: an error, and not an empty list of files."""
    real = destination.files_at

    def look(*arguments: Any) -> Any:
        for path in Path().glob(".tmp-*-saved-images.tar.gz.*"):
            path.unlink()
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.steps.split.files_at", look)
        result = save(images[:1])
    assert result.code == 3
    assert "was removed or changed before it had its name" in result.stderr
    assert "written:" not in result.stdout
    assert "written:" in saved(images[:1]).stdout
    readable([images[0].reference])


@pytest.mark.parametrize("shape", SHAPES)
def test_killed_while_it_changes_over_from_another_cache(images: list[PushedImage], shape: str) -> None:
    """Before any of its renames and removals: the next run leaves one set."""
    with inside(Path("before")):
        prepared(images[:2], "-part", "-part-size=2K")
    fetched_before([images[2]])
    write_list([images[2]])
    for number in range(1, 60):
        for path in Path().glob("saved-images.tar.gz*"):
            path.unlink()
        for path in Path("before").glob("saved-images.tar.gz*"):
            shutil.copy2(path, Path())
        shutil.rmtree(CACHE / ".state", ignore_errors=True)
        code = killed_at(number, "-f", LIST, PLAIN, *SHAPES[shape])
        assert code in (0, -signal.SIGKILL)
        saved([images[2]], *SHAPES[shape])
        readable([images[2].reference])
        if code == 0:
            break
    assert number > 2
    assert not temporary_files(Path())


def test_the_name_of_a_volume_is_no_destination(images: list[PushedImage]) -> None:
    result = save(images[:1], "-d", "saved.tar.gz.part0")
    assert result.code == 2
    assert ".part" in result.stderr
