"""``-verify``: what lies at the destination is known by its bytes, not by its size and time."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.acts.progress import Tracker
from pipeline.acts.save import recheck
from pipeline.core import files
from pipeline.core.errors import Interrupted
from pipeline.steps import compress
from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Status
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import Result, run
from tests.system.save.saving import (
    ARCHIVE,
    CACHE,
    PLAIN,
    cached,
    command,
    digests,
    fetched_before,
    identity,
    layer_gets,
    lines,
    load,
    prepared,
    save,
    saved,
    sha256,
    shell,
    unpack,
)

UNCHANGED = "unchanged since the last run"
INTACT = ": all is as it was written"
OTHER_BYTES = "is damaged: its bytes are not those that were written"
VOLUMES = ("-part", "-part-size=4K")
BUNDLE = Path("bundle")
FOLDER = ("-compress=dir", "-d", "bundle")
"""A folder made of hard links."""
FORMS: dict[str, tuple[str, ...]] = {
    "gzip": (),
    "zstd": ("-compress=zstd", "-d", "saved-images.tar.gz"),
    "volumes": VOLUMES,
    "folder": FOLDER,
    "cache": ("-compress=dir",),
}


@pytest.fixture(scope="session")
def one(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-index", "verify/index")


@pytest.fixture(scope="session")
def another(registry: Registry) -> PushedImage:
    return push_kind(registry, "docker-list", "verify/list")


def flip(path: Path, at: float = 0.5) -> None:
    """One bit, unseen: size and time stay as they were."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    with path.open("r+b") as file:  # the file itself, with all its names
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def touch(path: Path) -> None:
    """A day later, as a copy or a FAT disk with another clock has it."""
    moved = path.stat().st_mtime_ns + 86_400 * 10**9
    os.utime(path, ns=(moved, moved))


def volumes() -> list[Path]:
    return sorted(Path().glob("saved-images.tar.gz.part*"))


def bundle_files(form: str, image: PushedImage) -> list[Path]:
    """What ``-verify`` must read; of a folder, the layers."""
    if form in ("folder", "cache"):
        layers = sorted(digests([image], "linux/amd64", "linux/arm64"))
        return [cached(layer, BUNDLE if form == "folder" else CACHE) for layer in layers]
    return volumes() or [ARCHIVE]


def check_packed_again(result: Result) -> None:
    assert result.code == 0, result
    assert "written:" in result.stdout
    assert "verified" not in result.stdout + result.stderr
    assert UNCHANGED not in result.stdout


# Archives


@pytest.mark.parametrize("form", ["gzip", "zstd"])
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_a_flipped_bit_in_the_archive(registry: Registry, one: PushedImage, form: str, at: float) -> None:
    arguments = FORMS[form]
    prepared([one], *arguments)
    data = ARCHIVE.read_bytes()
    flip(ARCHIVE, min(at, 1 - 1 / len(data)))
    before = identity(ARCHIVE)
    unseen = saved([one], *arguments)
    assert UNCHANGED in unseen.stdout
    assert identity(ARCHIVE) == before
    assert ARCHIVE.read_bytes() != data
    registry.clear_requests()
    result = saved([one], *arguments, "-verify")
    check_packed_again(result)
    assert f"{ARCHIVE.absolute()} {OTHER_BYTES}" in result.stderr
    assert ARCHIVE.read_bytes() == data
    assert registry.blob_gets == []
    assert INTACT in saved([one], *arguments, "-verify").stdout
    shell("sha256sum -c saved-images.tar.gz.sha256")


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_flipped_bit_in_a_volume(one: PushedImage, number: int) -> None:
    prepared([one], *VOLUMES)
    expected = {path: path.read_bytes() for path in volumes()}
    assert len(expected) > 2
    hit = volumes()[number]
    flip(hit)
    assert UNCHANGED in saved([one], *VOLUMES).stdout
    result = saved([one], *VOLUMES, "-verify")
    check_packed_again(result)
    assert [path for path in expected if f"{path.absolute()} is damaged" in result.stderr] == [hit]
    assert {path: path.read_bytes() for path in volumes()} == expected
    shell("sha256sum -c saved-images.tar.gz.sha256")


def test_each_damaged_volume_is_named(one: PushedImage) -> None:
    prepared([one], *VOLUMES)
    hit = volumes()[::2]
    for path in hit:
        flip(path)
    result = saved([one], *VOLUMES, "-verify")
    assert [path for path in volumes() if f"{path.absolute()} is damaged" in result.stderr] == hit


@pytest.mark.parametrize("form", FORMS)
def test_what_is_intact_stays(registry: Registry, one: PushedImage, form: str) -> None:
    arguments = FORMS[form]
    prepared([one], *arguments)
    before = {path: identity(path) for path in bundle_files(form, one)}
    registry.clear_requests()
    result = saved([one], *arguments, "-verify", "-log-format", "json")
    assert {path: identity(path) for path in bundle_files(form, one)} == before
    [told] = [line["bytes"] for line in map(json.loads, result.stderr.splitlines()) if line["message"].startswith("verified ")]
    size = sum(size for _, _, size in before.values())
    assert told == size or form in ("folder", "cache")
    assert told >= size
    assert INTACT in result.stdout
    assert "damaged" not in result.stderr
    assert "writing" not in result.stderr
    assert "packed" not in result.stdout
    assert registry.blob_gets == []


@pytest.mark.parametrize("form", FORMS)
def test_each_file_is_read_once(one: PushedImage, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Also one whose time has changed, which is read before the others."""
    prepared([one], *FORMS[form])
    read: list[Path] = []
    real = recheck.Recheck._problem

    def noted(self: recheck.Recheck, part: recheck._Part) -> str:
        read.append(part.path)
        return real(self, part)

    monkeypatch.setattr(recheck.Recheck, "_problem", noted)
    touch(bundle_files(form, one)[-1])
    saved([one], *FORMS[form], "-verify")
    assert len(read) == len(set(read))
    assert {path.absolute() for path in bundle_files(form, one)} <= set(read)


def test_what_is_packed_anyway_is_not_read_before(one: PushedImage, another: PushedImage) -> None:
    prepared([one])
    flip(ARCHIVE)
    result = saved([one, another], "-verify")
    check_packed_again(result)
    assert "damaged" not in result.stderr
    assert unpack().names == [one.reference, another.reference]


def test_a_first_save(one: PushedImage) -> None:
    check_packed_again(prepared([one], "-verify"))


def test_an_archive_that_was_cut(one: PushedImage) -> None:
    """Seen without ``-verify``, too; with it, it is said what was wrong."""
    prepared([one])
    data = ARCHIVE.read_bytes()
    ARCHIVE.write_bytes(data[:-100])
    result = saved([one], "-verify")
    check_packed_again(result)
    assert f"is damaged: it has {len(data) - 100:,} bytes, but was written with {len(data):,}" in result.stderr
    assert ARCHIVE.read_bytes() == data


def test_a_file_that_cannot_be_read(one: PushedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a failing disk has it: size and time are there, the bytes are not."""
    prepared([one])
    data = ARCHIVE.read_bytes()

    def fails(*arguments: object) -> tuple[str, int]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(files, "hash_file", fails)
        result = saved([one], "-verify")
    check_packed_again(result)
    assert "is damaged: it cannot be read: Input/output error" in result.stderr
    assert ARCHIVE.read_bytes() == data


# Folders


@pytest.mark.parametrize("form", ["folder", "cache"])
def test_a_flipped_bit_in_a_layer_of_a_folder(registry: Registry, one: PushedImage, form: str) -> None:
    """It is the cache's own file: fetched again, alone."""
    prepared([one], *FORMS[form])
    path = bundle_files(form, one)[0]
    layer = f"sha256:{path.name}"
    flip(path)
    registry.clear_requests()
    saved([one], *FORMS[form])
    assert sha256(path.read_bytes()) != layer
    assert registry.blob_gets == []
    result = saved([one], *FORMS[form], "-verify")
    assert f"{path.absolute()} {OTHER_BYTES}" in result.stderr
    assert f"{layer} in the cache is damaged" in result.stderr
    assert layer_gets(registry, one) == [layer]
    assert sha256(path.read_bytes()) == layer
    assert sha256(cached(layer).read_bytes()) == layer
    assert INTACT not in result.stdout
    assert INTACT in saved([one], *FORMS[form], "-verify").stdout


def test_a_folder_of_copies_is_mended_from_the_cache(
    registry: Registry, one: PushedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another disk, FAT's for one."""

    def no_links(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    prepared([one], *FOLDER)
    path = bundle_files("folder", one)[0]
    assert not path.samefile(cached(f"sha256:{path.name}"))
    flip(path)
    registry.clear_requests()
    result = saved([one], *FOLDER, "-verify")
    assert f"{path.absolute()} {OTHER_BYTES}" in result.stderr
    assert "in the cache is damaged" not in result.stderr
    assert registry.blob_gets == []
    assert sha256(path.read_bytes()) == f"sha256:{path.name}"


@pytest.mark.parametrize("name", ["index.json", "saved-images-list.json", "bundle.json", "oci-layout"])
def test_a_flipped_bit_in_the_metadata_of_a_folder(one: PushedImage, name: str) -> None:
    prepared([one], *FOLDER)
    path = BUNDLE / name
    data = path.read_bytes()
    flip(path)
    assert UNCHANGED in saved([one], *FOLDER).stdout
    result = saved([one], *FOLDER, "-verify")
    check_packed_again(result)
    assert f"{path.absolute()} {OTHER_BYTES}" in result.stderr
    assert path.read_bytes() == data


# Times


@pytest.mark.parametrize("form", FORMS)
def test_other_times_of_the_same_bytes_are_recorded(one: PushedImage, form: str) -> None:
    arguments = FORMS[form]
    prepared([one], *arguments)
    for path in bundle_files(form, one)[:2]:
        touch(path)
    before = {path: identity(path) for path in bundle_files(form, one)}
    for flag in (["-verify"], [], ["-verify"]):
        result = saved([one], *arguments, *flag)
        assert {path: identity(path) for path in bundle_files(form, one)} == before
        assert "writing" not in result.stderr
        assert (INTACT in result.stdout) == bool(flag)
    if form not in ("folder", "cache"):
        shell("sha256sum -c saved-images.tar.gz.sha256")
        assert read_sealed_files("output.json") == read_sealed_files("packed.json")


def read_sealed_files(name: str) -> object:
    [path] = (CACHE / ".state" / "bundles").glob(f"*/{name}")
    return load(path)["files"]


def test_other_times_are_not_believed_without_it(one: PushedImage) -> None:
    prepared([one])
    touch(ARCHIVE)
    before = identity(ARCHIVE)
    check_packed_again(saved([one]))
    assert identity(ARCHIVE) != before


def test_a_copied_folder_is_known_again(one: PushedImage) -> None:
    """All its times are others, its own included; the second run finds all as it is recorded."""
    prepared([one], *FOLDER)
    shell("cp -r --no-preserve=timestamps bundle copy && rm -r bundle && mv copy bundle")
    before = {path: identity(path) for path in bundle_files("folder", one)}
    assert INTACT in saved([one], *FOLDER, "-verify").stdout
    assert UNCHANGED in saved([one], *FOLDER).stdout
    assert {path: identity(path) for path in bundle_files("folder", one)} == before


def test_another_time_and_a_flipped_bit(one: PushedImage) -> None:
    prepared([one], *VOLUMES)
    expected = {path: path.read_bytes() for path in volumes()}
    touch(volumes()[0])
    flip(volumes()[1])
    touch(volumes()[1])
    result = saved([one], *VOLUMES, "-verify")
    check_packed_again(result)
    assert result.stderr.count("is damaged") == 1
    assert f"{volumes()[1].absolute()} {OTHER_BYTES}" in result.stderr
    assert {path: path.read_bytes() for path in volumes()} == expected


def test_another_time_here_and_a_flipped_bit_there(one: PushedImage) -> None:
    """The time is recorded before the damage is found: nothing of it may make the next run believe the rest."""
    prepared([one], *VOLUMES)
    expected = {path: path.read_bytes() for path in volumes()}
    touch(volumes()[0])
    flip(volumes()[1])
    check_packed_again(saved([one], *VOLUMES, "-verify"))
    assert {path: path.read_bytes() for path in volumes()} == expected
    assert UNCHANGED in saved([one], *VOLUMES).stdout


# However it is called


def test_from_standard_input(one: PushedImage) -> None:
    arguments = ("save", PLAIN, "-f", "-", "-verify")
    fetched_before([one])
    assert run(*arguments, stdin=lines([one])).code == 0
    data = ARCHIVE.read_bytes()
    assert INTACT in run(*arguments, stdin=lines([one])).stdout
    flip(ARCHIVE)
    check_packed_again(run(*arguments, stdin=lines([one])))
    assert ARCHIVE.read_bytes() == data


def test_every_bundle_of_a_definition(one: PushedImage, another: PushedImage) -> None:
    Path("both.yaml").write_text(
        f"defaults:\n  tls-verify: false\nbundles:\n  first:\n    images: [{one.reference}]\n"
        f"  second:\n    images: [{another.reference}]\n"
    )
    arguments = ("save", "-config", "both.yaml")
    assert command(*arguments).code == 0
    first, second = Path("first.tar.gz"), Path("second.tar.gz")
    data, before = second.read_bytes(), identity(first)
    flip(second)
    result = command(*arguments, "-verify")
    assert result.code == 0, result
    assert result.stdout.count(INTACT) == 1
    assert result.stderr.count("is damaged") == 1
    assert identity(first) == before
    assert second.read_bytes() == data


@pytest.mark.parametrize("flag", ["-dry-run", "-dry-run=true"])
def test_not_with_a_dry_run(registry: Registry, one: PushedImage, flag: str) -> None:
    registry.clear_requests()
    result = save([one], "-verify", flag)
    assert result.code == 2
    assert "-verify and -dry-run exclude each other" in result.stderr
    assert "TIP: 'image-tools verify PATH'" in result.stderr
    assert registry.requests() == []
    assert save([one], "-verify=false", flag).code == 0


def test_the_report_has_the_figures(one: PushedImage) -> None:
    prepared([one])
    saved([one], "-verify", "-report", "r.json")
    acts = {act["name"]: act["bytes"] for act in load(Path("r.json"))["acts"]}
    assert acts["verify"] == ARCHIVE.stat().st_size
    flip(ARCHIVE)
    saved([one], "-verify", "-report", "r.json")
    acts = {act["name"]: act["bytes"] for act in load(Path("r.json"))["acts"]}
    assert acts["verify"] == 0 < acts["pack"]


# What may come between


def test_a_damaged_bundle_that_is_better_stays_and_is_named(proxy: FaultProxy, one: PushedImage, another: PushedImage) -> None:
    """It holds an image that failed now: what could be packed holds less. The next save of all packs it anew."""
    images: list[PushedImage | str] = [one, another.via(proxy.host)]
    saved(images)
    data = ARCHIVE.read_bytes()
    flip(ARCHIVE)
    before = identity(ARCHIVE)
    proxy.fault("/manifests/", Status(404), times=None)
    result = save(images, "-verify")
    assert result.code == 1
    assert "stays as it was" in result.stdout
    assert f"{ARCHIVE.absolute()} {OTHER_BYTES}" in result.stderr
    assert "writing" not in result.stderr
    assert INTACT not in result.stdout
    assert identity(ARCHIVE) == before
    proxy.clear()
    check_packed_again(saved(images))
    assert ARCHIVE.read_bytes() == data


def test_ctrl_c_while_it_reads(one: PushedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends in the middle of a file; nothing was changed, and nothing counts as verified."""
    prepared([one])
    flip(ARCHIVE)
    before = identity(ARCHIVE)
    read: list[int] = []
    real = Tracker.add

    def stop(self: Tracker, size: int) -> None:
        real(self, size)
        read.append(size)
        if len(read) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # so that the main thread answers it

    with monkeypatch.context() as patch:
        patch.setattr(files, "CHUNK", 1024)
        patch.setattr(Tracker, "add", stop)
        result = save([one], "-verify")
    assert result.code == 130, result
    assert "interrupted" in result.stderr
    assert 0 < sum(read) < ARCHIVE.stat().st_size / 2
    assert identity(ARCHIVE) == before
    check_packed_again(saved([one], "-verify"))


def test_killed_before_it_is_packed_again(one: PushedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found damaged is not taken for whole by the next run, which need not read it again."""
    prepared([one])
    data = ARCHIVE.read_bytes()
    flip(ARCHIVE)

    def stop(*arguments: object) -> None:
        raise Interrupted(signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(compress, "write_archive", stop)
        assert save([one], "-verify").code != 0
    assert ARCHIVE.read_bytes() != data
    check_packed_again(saved([one]))
    assert ARCHIVE.read_bytes() == data
