"""A second run repeats nothing: what the registry is asked, what is written, and what each change brings about."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.images import image, layer
from tests.support.kinds import push_kind
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import run
from tests.system.save.saving import (
    ARCHIVE,
    CACHE,
    PLAIN,
    cached,
    identity,
    layer_gets,
    lines,
    prepared,
    save,
    saved,
    shell,
    unpack,
    write_list,
)

UNCHANGED = "unchanged since the last run"


@pytest.fixture(scope="session")
def images(registry: Registry) -> list[PushedImage]:
    kinds = ("oci-index", "docker-list", "attestations", "helm-chart", "shared-one")
    return [push_kind(registry, kind, f"rerun/{kind}") for kind in kinds]


@pytest.fixture(scope="session")
def one(images: list[PushedImage]) -> PushedImage:
    return images[0]


@pytest.fixture(scope="session")
def another(images: list[PushedImage]) -> PushedImage:
    return images[1]


def asked(registry: Registry) -> list[str]:
    """What came in but for the question whether this is a registry."""
    return sorted(f"{request.kind} {request.repository} {request.reference}" for request in registry.requests() if request.kind)


def test_in_a_process_of_its_own(registry: Registry, one: PushedImage) -> None:
    """As a user runs it twice; nothing is kept in memory."""
    arguments = ("save", "-f", write_list([one]), PLAIN)
    assert run(*arguments).code == 0
    before = identity(ARCHIVE)
    registry.clear_requests()
    result = run(*arguments)
    assert result.code == 0
    assert asked(registry) == [f"manifests {one.repository} v1"]
    assert identity(ARCHIVE) == before


def test_a_digest_is_not_asked_for_again(registry: Registry, one: PushedImage) -> None:
    prepared([one.pinned])
    registry.clear_requests()
    saved([one.pinned])
    assert asked(registry) == []


def test_one_image_more(registry: Registry, images: list[PushedImage]) -> None:
    *first, more = images
    prepared(first)
    registry.clear_requests()
    result = saved(images)
    assert set(layer_gets(registry, *images)) == more.layers
    assert len(layer_gets(registry, *images)) == len(more.layers)
    assert {request.repository for request in registry.blob_gets} == {more.repository}
    assert "written:" in result.stdout
    assert unpack().names == [each.reference for each in images]


def test_one_image_less(registry: Registry, images: list[PushedImage]) -> None:
    """It stays in the cache and is in the archive no more."""
    prepared(images[:3])
    registry.clear_requests()
    saved(images[:2])
    assert registry.blob_gets == []
    assert unpack().names == [each.reference for each in images[:2]]
    assert all(cached(digest).exists() for digest in images[2].layers)


def test_a_removed_layer_is_fetched_again_alone(registry: Registry, images: list[PushedImage]) -> None:
    prepared(images)
    before = identity(ARCHIVE)
    gone = images[1].platforms[0].layers[0]
    cached(gone).unlink()
    registry.clear_requests()
    result = saved(images)
    assert layer_gets(registry, *images) == [gone]
    assert identity(ARCHIVE) == before
    assert "copying" in result.stderr


def test_a_removed_archive_is_packed_again(registry: Registry, one: PushedImage) -> None:
    prepared([one])
    data = ARCHIVE.read_bytes()
    ARCHIVE.unlink()
    registry.clear_requests()
    saved([one])
    assert registry.blob_gets == []
    assert ARCHIVE.read_bytes() == data


def test_an_archive_that_somebody_changed_is_packed_again(one: PushedImage) -> None:
    prepared([one])
    data = ARCHIVE.read_bytes()
    ARCHIVE.write_bytes(data[:-100])
    saved([one])
    assert ARCHIVE.read_bytes() == data


def test_a_removed_checksum_file_is_written_again(one: PushedImage) -> None:
    prepared([one])
    before = identity(ARCHIVE)
    Path("saved-images.tar.gz.sha256").unlink()
    saved([one])
    assert identity(ARCHIVE) == before
    shell("sha256sum -c saved-images.tar.gz.sha256")


def test_a_moved_tag_is_picked_up(registry: Registry) -> None:
    old = push(registry, "rerun/moving", "v1", image(layers=[layer("moving/base"), layer("moving/old")]))
    saved([old])
    assert unpack().raw(old.reference) == old.raw
    new = push(registry, "rerun/moving", "v1", image(layers=[layer("moving/base"), layer("moving/new")]))
    registry.clear_requests()
    saved([new])
    assert layer_gets(registry, new) == [new.platforms[0].layers[1]]
    unpacked = unpack()
    assert unpacked.raw(new.reference) == new.raw
    assert set(unpacked.blobs) == set(new.contents), "nothing of the old one"
    # And back: all is here.
    push(registry, "rerun/moving", "v1", image(layers=[layer("moving/base"), layer("moving/old")]))
    registry.clear_requests()
    saved([old])
    assert registry.blob_gets == []
    assert unpack().raw(old.reference) == old.raw


def test_a_tag_that_moves_from_an_image_to_an_index(registry: Registry) -> None:
    for kind in ("oci-single", "docker-list", "helm-chart", "oci-single"):
        moved = push_kind(registry, kind, "rerun/changing")
        saved([moved])
        assert unpack().raw(moved.reference) == moved.raw


def test_another_order(registry: Registry, one: PushedImage, another: PushedImage) -> None:
    prepared([one, another])
    registry.clear_requests()
    result = saved([another, one])
    assert registry.blob_gets == []
    assert "written:" in result.stdout
    unpacked = unpack()
    assert unpacked.names == [another.reference, one.reference]
    assert [item["Source"] for item in unpacked.images_list["List"]] == [
        each.reference.removesuffix(":v1") for each in (another, one)
    ]


CHANGES: dict[str, list[str]] = {
    "zstd": ["-compress=zstd", "-d", "other.tar.zst"],
    "volumes": ["-part", "-part-size=4K", "-d", "other.tar.gz"],
    "architecture": ["-a", "arm64", "-d", "other.tar.gz"],
    "all": ["-a", "all", "-d", "other.tar.gz"],
    "folder": ["-compress=dir", "-d", "other"],
    "cache": ["-compress=dir"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_bundles_on_one_cache_do_not_disturb_each_other(
    registry: Registry, one: PushedImage, another: PushedImage, change: str
) -> None:
    both = [one, another]
    prepared(both)
    before = identity(ARCHIVE), ARCHIVE.read_bytes()
    registry.clear_requests()
    saved(both, *CHANGES[change])
    # s390x alone was not here yet.
    assert set(layer_gets(registry, *both)) == ({one.platforms[2].layers[0]} if change == "all" else set())
    for arguments in ([], CHANGES[change]):
        registry.clear_requests()
        result = saved(both, *arguments)
        assert asked(registry) == sorted(f"manifests {each.repository} v1" for each in both)
        assert UNCHANGED in result.stdout or "is the bundle" in result.stdout
        assert "copying" not in result.stderr
        assert "writing" not in result.stderr
    assert (identity(ARCHIVE), ARCHIVE.read_bytes()) == before


@pytest.mark.parametrize("change", ["architecture", "all", "zstd", "volumes"])
def test_other_options_for_the_same_destination(one: PushedImage, change: str) -> None:
    arguments = [*CHANGES[change][: CHANGES[change].index("-d")], "-d", "saved-images.tar.gz"]
    prepared([one])
    first = ARCHIVE.read_bytes()
    result = saved([one], *arguments)
    assert "written:" in result.stdout
    assert UNCHANGED in saved([one], *arguments).stdout
    unpacked = unpack()
    expected = {"architecture": ["arm64"], "all": ["amd64", "arm64", "s390x"]}.get(change, ["amd64", "arm64"])
    assert unpacked.listed(one.reference)["ArchList"] == expected
    assert "written:" in saved([one]).stdout
    assert ARCHIVE.read_bytes() == first
    shell("sha256sum -c saved-images.tar.gz.sha256")


def test_stale_volumes_go_and_foreign_files_stay(one: PushedImage) -> None:
    foreign = [Path("saved-images.tar.gz.part.txt"), Path("saved-images.tar.gz.part1a"), Path("other.tar.gz.part0")]
    for path in foreign:
        path.write_text("not ours")

    def volumes() -> list[str]:
        return sorted(path.name for path in Path().glob("saved-images.tar.gz*") if path not in foreign)

    checksums = "saved-images.tar.gz.sha256"
    prepared([one], "-part", "-part-size=1K")
    many = volumes()
    assert len(many) > 11
    saved([one], "-part", "-part-size=4K")
    few = volumes()
    assert 2 < len(few) < len(many) - 2
    assert not set(many) & set(few) - {checksums}
    shell(f"sha256sum -c {checksums}")
    shell(f"cat {' '.join(name for name in few if name != checksums)} | tar -tz")
    saved([one])
    assert volumes() == ["saved-images.tar.gz", checksums]
    shell(f"sha256sum -c {checksums}")
    saved([one], "-part", "-part-size=4K")
    assert volumes() == few
    # By its name and our checksums it is one of ours, whoever has written it since.
    Path(few[0]).write_text("damaged")
    saved([one])
    assert volumes() == ["saved-images.tar.gz", checksums]
    assert all(path.read_text() == "not ours" for path in foreign)


def test_a_removed_volume_is_written_again(registry: Registry, one: PushedImage) -> None:
    arguments = ("-part", "-part-size=4K")
    prepared([one], *arguments)
    before = {path: path.read_bytes() for path in Path().glob("saved-images.tar.gz.*")}
    Path("saved-images.tar.gz.part1").unlink()
    registry.clear_requests()
    saved([one], *arguments)
    assert registry.blob_gets == []
    assert {path: path.read_bytes() for path in Path().glob("saved-images.tar.gz.*")} == before
    assert UNCHANGED in saved([one], *arguments).stdout


@pytest.mark.parametrize("part", ["share", "images", ".state", "index.json", "saved-images-list.json", "oci-layout", "blobs"])
def test_whatever_is_removed_from_the_cache_comes_back(
    registry: Registry, one: PushedImage, another: PushedImage, part: str
) -> None:
    both = [one, another]
    prepared(both)
    data = ARCHIVE.read_bytes()
    path = CACHE / part
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    registry.clear_requests()
    saved(both)
    if part != "share":
        assert registry.blob_gets == []
    assert ARCHIVE.read_bytes() == data
    assert path.exists() or path.is_symlink()
    assert UNCHANGED in saved(both).stdout


def test_a_cache_that_was_moved_is_used_on(registry: Registry, one: PushedImage, another: PushedImage) -> None:
    both = [one, another]
    prepared(both)
    data = ARCHIVE.read_bytes()
    CACHE.rename("elsewhere")
    registry.clear_requests()
    saved(both, "-cache", "elsewhere")
    assert registry.blob_gets == []
    assert ARCHIVE.read_bytes() == data
    assert not CACHE.exists()


def test_an_image_known_under_another_name(registry: Registry, one: PushedImage) -> None:
    """A blob is here whichever image, repository or registry brought it."""
    saved([one])
    copy = push_kind(registry, "oci-index", "rerun/copy-of-it")
    registry.clear_requests()
    saved([copy])
    assert registry.blob_gets == []
    assert unpack().names == [copy.reference]


def test_the_second_run_tells_the_same_of_the_bundle(one: PushedImage) -> None:
    def told(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(("saved ", "  ", "check with"))]

    first, second = saved([one]).stdout, saved([one]).stdout
    assert told(first) == told(second)
    assert len(told(first)) >= 3


def test_the_cache_shows_the_bundle_saved_last(one: PushedImage, another: PushedImage) -> None:
    def shown() -> list[str]:
        entries = json.loads((CACHE / "index.json").read_text())["manifests"]
        return [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]

    prepared([one], "-d", "one.tar.gz")
    assert shown() == [one.reference]
    saved([another], "-d", "another.tar.gz")
    assert shown() == [another.reference]
    saved([one], "-d", "one.tar.gz")
    assert shown() == [one.reference]


@pytest.mark.parametrize("arguments", [[], ["-compress=dir", "-d", "bundle"], ["-part", "-part-size=4K"]])
def test_state_of_another_version_costs_no_transfer(registry: Registry, one: PushedImage, arguments: list[str]) -> None:
    prepared([one], *arguments)
    for path in (CACHE / ".state").rglob("*.json"):
        path.write_text('{"version": 99, "what": "of the future"}')
    registry.clear_requests()
    result = save([one], *arguments)
    assert result.code == 0, result
    assert registry.blob_gets == []


def test_the_kept_list_is_the_list(one: PushedImage, another: PushedImage) -> None:
    prepared([one, another])
    [kept] = (CACHE / ".state" / "bundles").glob("*/images.txt")
    assert kept.read_text() == lines([one, another])
