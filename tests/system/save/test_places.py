"""Where the cache, the bundle and the lists may lie, and what is said where they may not."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path

import pytest

from pipeline.acts.save import plan
from pipeline.core import disk
from pipeline.core.bundle import Bundle, Compression, Output
from pipeline.core.errors import EnvironmentProblem, UsageError
from tests.support.kinds import push_kind
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import Result
from tests.system.faults.disks import read_only
from tests.system.save.saving import (
    ARCHIVE,
    CACHE,
    FAILED,
    LIST,
    PLAIN,
    command,
    fetched_before,
    layer_gets,
    lines,
    prepared,
    save,
    saved,
    shell,
    unpack,
    write_list,
)


@pytest.fixture(scope="session")
def good(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-index", "places/good")


NAMES = {
    "space": "with space",
    "colon": "with:colon:1",
    "at": "with@sha256:0",
    "unicode": "mit-Ümläuten-和-😀",
    "newline": "with\nnewline",
    "backslash": "with\\backslash",
    "quotes": "with'\"quotes",
    "dash": "-d",
    "percent": "100%s %(x)s {y}",
    "star": "a*b?[c]",
    "long": "x" * 200,
}


@pytest.mark.parametrize("name", NAMES)
def test_any_name(registry: Registry, good: PushedImage, name: str) -> None:
    """As a part of the path, and as the name of the cache, of the destination and of the lists."""
    inner = Path(NAMES[name]).absolute()
    inner.mkdir()
    list_file = write_list([good, f"{registry.host}/none/one:1"], inner / f"{NAMES[name]}.txt")
    failed = inner / f"{NAMES[name]}-failed.txt"
    archive = inner / f"{NAMES[name]}.tar.gz"
    arguments = ("-f", list_file, "-o", failed, "-cache", inner / NAMES[name], "-d", archive, PLAIN)
    fetched_before([good], inner / NAMES[name])
    for _ in range(2):
        result = command("save", *arguments)
        assert result.code == 1, result
        assert failed.read_text() == f"{registry.host}/none/one:1\n"
    assert "unchanged since the last run" in result.stdout, result
    result = command("save", *arguments, "-part", "-part-size=5K")
    assert result.code == 1, result
    assert not archive.exists()
    assert unpack(archive).names == [good.reference]
    shell(f"sha256sum -c {shlex.quote('./' + archive.name + '.sha256')}", cwd=inner)
    result = command("save", *arguments[:-2], inner / "folder", PLAIN, "-compress=dir")
    assert result.code == 1, result
    assert (inner / "folder" / "index.json").is_file()


def test_a_name_that_is_no_unicode(good: PushedImage) -> None:
    """It works, or is refused before anything is done."""
    place = Path(os.fsdecode(b"caf\xe9.tar.gz"))
    result = save([good], "-d", place)
    assert "should not happen" not in result.stderr
    assert (result.code, place.exists(), CACHE.exists()) in ((0, True, True), (2, False, False))


def test_a_missing_folder_is_made(good: PushedImage) -> None:
    saved([good], "-d", "a/b/saved.tar.gz", "-cache", "c/d", "-o", "e/f/failed.txt")
    assert unpack(Path("a/b/saved.tar.gz")).names == [good.reference]
    assert Path("c/d/index.json").exists()
    assert not CACHE.exists()


def test_home(good: PushedImage) -> None:
    prepared([good], "-d", "~/saved.tar.gz")
    assert (Path.home() / "saved.tar.gz").exists()


def test_links(good: PushedImage, work: Path) -> None:
    """The cache and the destination may be links: to the same place, it is the same bundle."""
    Path("real").mkdir()
    Path("cache").symlink_to("real")
    saved([good], "-cache", "cache", "-d", "saved.tar.gz")
    assert Path("cache").is_symlink()
    assert Path("real/index.json").is_file()
    Path("also").symlink_to(work)
    assert "unchanged" in saved([good], "-cache", "real", "-d", "also/saved.tar.gz").stdout


FILE_AS_PARENT: dict[str, list[str]] = {
    "destination": ["-d", "file/saved.tar.gz"],
    "destination deeper": ["-d", "file/a/b/saved.tar.gz"],
    "folder": ["-compress=dir", "-d", "file/bundle"],
    "cache": ["-cache", "file/cache"],
    "failed list": ["-o", "file/failed.txt"],
}


@pytest.mark.parametrize("name", FILE_AS_PARENT)
def test_a_file_where_a_folder_should_be(registry: Registry, good: PushedImage, name: str) -> None:
    """Found before the first request."""
    Path("file").write_text("mine")
    registry.clear_requests()
    result = save([good], *FILE_AS_PARENT[name])
    assert result.code in (2, 3), result
    assert "file" in result.stderr
    assert "should not happen" not in result.stderr
    assert registry.requests() == []
    assert Path("file").read_text() == "mine"
    assert not ARCHIVE.exists()


def in_read_only(folder: Path, *arguments: str | Path) -> Result:
    """Run a save while ``folder`` cannot be written to."""
    with read_only(folder):
        return command("save", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [["-d", "here/saved.tar.gz"], ["-cache", "here/cache"], ["-o", "here/failed.txt"], ["-compress=dir", "-d", "here/bundle"]],
    ids=["destination", "cache", "failed list", "folder"],
)
def test_a_read_only_folder_is_found_before_the_first_fetch(
    registry: Registry, good: PushedImage, arguments: list[str]
) -> None:
    Path("here").mkdir()
    registry.clear_requests()
    result = in_read_only(Path("here").absolute(), "-f", write_list([good]), PLAIN, *arguments)
    assert result.code == 3, result
    assert "cannot write to" in result.stderr
    assert "here" in result.stderr
    assert "TIP" in result.stderr
    assert registry.requests() == []
    assert list(Path("here").iterdir()) == []


def test_a_cache_that_became_read_only(registry: Registry, good: PushedImage) -> None:
    prepared([good])
    registry.clear_requests()
    result = in_read_only(CACHE.absolute(), "-f", LIST, PLAIN)
    assert result.code == 3
    assert "cannot write to" in result.stderr
    assert "should not happen" not in result.stderr


def test_a_folder_of_ours_is_replaced_and_another_is_not(good: PushedImage) -> None:
    prepared([good], "-compress=dir", "-d", "bundle")
    Path("bundle/saved-images-list.json").unlink()
    result = save([good], "-compress=dir", "-d", "bundle")
    assert result.code == 2
    assert "holds other files" in result.stderr


def test_a_foreign_file_at_the_destination_is_replaced(good: PushedImage) -> None:
    """As ``-d`` says so; it is no bundle of which something could be lost."""
    ARCHIVE.write_text("something else")
    prepared([good])
    assert unpack().names == [good.reference]


def test_a_foreign_file_stays_when_nothing_is_saved(registry: Registry) -> None:
    ARCHIVE.write_text("something else")
    assert save([f"{registry.host}/none/one:1"]).code == 3
    assert ARCHIVE.read_text() == "something else"
    assert FAILED.read_text() == lines([f"{registry.host}/none/one:1"])


def test_the_cache_may_be_empty_before(good: PushedImage) -> None:
    CACHE.mkdir()
    saved([good])


def test_nothing_lies_beside_the_results(good: PushedImage) -> None:
    prepared([good])
    saved([good], "-part", "-part-size=6K")
    names = {path.name for path in Path().iterdir()}
    assert names == {
        LIST.name,
        CACHE.name,
        "saved-images.tar.gz.part0",
        "saved-images.tar.gz.part1",
        "saved-images.tar.gz.part2",
        "saved-images.tar.gz.sha256",
    }


def test_many_long_names(registry: Registry) -> None:
    """References as long as they may be, of which the beginnings are alike."""
    tags = ["t" * 127 + each for each in "ab"]
    repository = "/".join(["places", "x" * 200])
    images = [push_kind(registry, kind, repository, tag) for tag, kind in zip(tags, ("oci-index", "docker-list"), strict=True)]
    saved(images)
    bundle = command("save", "-f", LIST, PLAIN)
    assert "unchanged" in bundle.stdout
    listing = shell("tar -tf saved-images.tar.gz").splitlines()
    assert all(len(part.encode()) <= 255 for name in listing for part in name.split("/"))
    shell("mkdir out && tar -xf saved-images.tar.gz -C out")


# FAT and exFAT

GIB = 1024**3
MIB = 1024**2


def on(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all of this lay on such a file system."""
    monkeypatch.setattr(disk, "file_system", lambda mounts, device: kind)


@pytest.mark.parametrize("size", ["4G", "4096M", "4294967296", "1T"])
def test_volumes_that_fat_cannot_hold(
    registry: Registry, good: PushedImage, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    """4 GiB is one byte too much. Found before the first layer, and before anything is written to the destination."""
    on("vfat", monkeypatch)
    registry.clear_requests()
    for arguments in ([], ["-dry-run"], ["-force"]):
        result = save([good], "-part", f"-part-size={size}", "-d", "stick/saved.tar.gz", *arguments)
        assert result.code == 3, result
        assert "stick cannot hold volumes that large: 4,294,967,295 bytes is its largest file" in result.stderr
        assert "TIP: use -part -part-size=4095M\n" in result.stderr
    assert layer_gets(registry, good) == []
    assert not list(Path().glob("stick/*"))


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("vfat", ["-part", "-part-size=4095M"]),
        ("vfat", ["-part", "-part-size=4294967295"]),
        ("vfat", []),
        ("exfat", ["-part", "-part-size=4G"]),
        ("vfat", ["-compress=dir", "-d", "bundle"]),
    ],
)
def test_what_they_can_hold(good: PushedImage, monkeypatch: pytest.MonkeyPatch, kind: str, arguments: list[str]) -> None:
    on(kind, monkeypatch)
    prepared([good], *arguments)


def test_an_archive_that_fat_cannot_hold(registry: Registry, good: PushedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is lowered, as the images are small."""
    on("vfat", monkeypatch)
    monkeypatch.setattr(disk, "largest_file", lambda path: 10_000)
    registry.clear_requests()
    result = save([good])
    assert result.code == 3
    assert "cannot hold a file of up to" in result.stderr
    assert layer_gets(registry, good) == []
    assert saved([good], "-part", "-part-size=10000").code == 0
    assert max(path.stat().st_size for path in Path().glob("saved-images.tar.gz.part*")) == 10_000


def made(part_size: int | None, compression: Compression = Compression.GZIP) -> Bundle:
    here = Path.cwd()
    return Bundle(
        name="b",
        images=(),
        cache=here / "cache",
        output=Output(compression=compression, destination=here / "saved", part_size=part_size),
        failed_list=here / "failed.txt",
    )


def total(size: int, blobs: int = 10) -> plan.Plan:
    return plan.Plan(images=1, platforms=2, blobs=blobs, total=size, here=0, shared=0)


@pytest.mark.parametrize(
    ("bundle", "figures"),
    [
        (made(None), total(4 * GIB)),
        (made(None), total(5 * GIB)),
        # The blobs alone would fit; with tar's headers and the framing they do not.
        (made(None), total(4 * GIB - 1)),
        (made(None), total(4 * GIB - 10 * MIB, blobs=10_000)),
        (made(4 * GIB), total(1000)),
    ],
)
def test_too_large(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, figures: plan.Plan) -> None:
    on("vfat", monkeypatch)
    with pytest.raises(EnvironmentProblem, match="4,294,967,295 bytes is its largest file"):
        plan.check_file_size(bundle, figures)
    on("exfat", monkeypatch)
    plan.check_file_size(bundle, figures)


@pytest.mark.parametrize(
    ("bundle", "figures"),
    [
        (made(None), total(4 * GIB - MIB)),
        (made(4 * GIB - 1), total(100 * GIB)),
        (made(None, Compression.DIR), total(100 * GIB)),
    ],
)
def test_not_too_large(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, figures: plan.Plan) -> None:
    on("vfat", monkeypatch)
    plan.check_file_size(bundle, figures)


def test_more_volumes_than_anybody_can_carry(good: PushedImage, registry: Registry) -> None:
    result = save([good], "-part", "-part-size=1")
    assert result.code == 2
    assert "into more than 10,000 volumes" in result.stderr
    assert not list(Path().glob("*.part*"))
    plan.check_file_size(made(1000), total(9_999_999))
    with pytest.raises(UsageError):
        plan.check_file_size(made(1000), total(10_000_000))


def test_neither_links_nor_hard_links(good: PushedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stick that holds all of it: the cache, a folder, an archive."""

    def refused(self: Path, target: Path | str, target_is_directory: bool = False) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(self))

    on("vfat", monkeypatch)
    monkeypatch.setattr(Path, "symlink_to", refused)
    monkeypatch.setattr(Path, "hardlink_to", refused)
    for arguments in (["-compress=dir", "-d", "bundle"], []):
        saved([good], *arguments)
        assert "unchanged" in saved([good], *arguments).stdout
    assert not (CACHE / "blobs").exists()
    assert not Path("bundle/blobs").exists()
    for source in ("bundle", "saved-images.tar.gz", CACHE):
        assert command("verify", source).code == 0
    assert unpack().names == [good.reference]
