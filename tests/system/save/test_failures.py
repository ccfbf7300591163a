"""What happens when images fail: the rest is packed, a good bundle stays, the reasons are told, and the next run completes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.kinds import push_kind
from tests.support.proxy import Fault, FaultProxy, Reset, Status, Truncate
from tests.support.push import PushedImage
from tests.support.registry import Registry, RegistryFactory
from tests.system.save.saving import (
    ARCHIVE,
    CACHE,
    FAILED,
    LIST,
    PLAIN,
    command,
    identity,
    layer_gets,
    lines,
    save,
    saved,
    unpack,
    write_list,
)


@pytest.fixture(scope="session")
def good(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-index", "failures/good")


@pytest.fixture(scope="session")
def better(registry: Registry) -> PushedImage:
    return push_kind(registry, "docker-list", "failures/better")


def test_the_rest_is_packed_and_the_next_run_completes(fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    good, other = push_kind(registry, "oci-index"), push_kind(registry, "helm-chart")
    missing, wrong = f"{registry.host}/kinds/docker-list:v1", push_kind(registry, "arm-variants")
    listed: list[PushedImage | str] = [good, missing, wrong, other]
    arguments = ("-a", "amd64")
    result = save(listed, *arguments)
    assert result.code == 1
    assert unpack().names == [good.reference, other.reference]
    assert FAILED.read_text() == lines([missing, wrong])
    assert "saved 2 of 4 images" in result.stdout
    assert "failed 2, listed in save-failed.txt:" in result.stdout
    assert "same command again" in result.stdout
    for text in (result.stdout, result.stderr):
        for reason in ("the registry has no", "it has linux/arm/v6, linux/arm/v7, linux/arm64/v8"):
            assert reason in text
    errors = [line for line in result.stderr.splitlines() if " ERROR " in line]
    assert [("M_ID:2" in line, missing in line) for line in errors[:1]] == [(True, True)]
    assert ("M_ID:3" in errors[1], wrong.reference in errors[1]) == (True, True)
    # It appears; the other is asked for with an architecture that it has.
    came = push_kind(registry, "docker-list")
    registry.clear_requests()
    result = save(listed, *arguments)
    assert result.code == 1
    assert set(layer_gets(registry, good, came, wrong, other)) == {came.platforms[0].layers[0]}
    assert FAILED.read_text() == lines([wrong])
    registry.clear_requests()
    result = save(listed, "-a", "amd64,arm/v7")
    assert result.code == 0, result
    assert layer_gets(registry, good, came, wrong, other) == [wrong.platforms[1].layers[0]]
    assert not FAILED.exists()
    assert unpack().names == [good.reference, came.reference, wrong.reference, other.reference]


def test_the_failed_list_has_the_form_of_the_list(registry: Registry, good: PushedImage) -> None:
    """It can be the next ``-f``, for another destination."""
    host = registry.host
    texts = [f"{host}/none/one", f"{host}/none/two:1.0", f"{host}/none/three@{'sha256:' + '0' * 64}", "none/four:2"]
    write_list([texts[0], good, *texts[1:]])
    result = command("save", "-f", LIST, PLAIN, "-s", host, "-o", "sub/failed.txt")
    assert result.code == 1
    assert Path("sub/failed.txt").read_text() == lines(texts)
    assert not FAILED.exists()
    result = command("save", "-f", "sub/failed.txt", PLAIN, "-s", host, "-d", "rest.tar.gz")
    assert result.code == 3
    assert FAILED.read_text() == lines(texts)


def test_all_fail(registry: Registry) -> None:
    listed = [f"{registry.host}/none/one:1", f"{registry.host}/none/two:1"]
    result = save(listed)
    assert result.code == 3
    assert not ARCHIVE.exists()
    assert FAILED.read_text() == lines(listed)
    assert "saved 0 of 2 images" in result.stdout
    assert "written" not in result.stdout
    assert sorted(path.name for path in Path().iterdir()) == [LIST.name, FAILED.name, CACHE.name]


@pytest.mark.parametrize("arguments", [[], ["-compress=dir", "-d", "bundle"], ["-part", "-part-size=4K"]])
def test_all_fail_and_an_earlier_bundle_stays(fresh_registry: RegistryFactory, arguments: list[str]) -> None:
    registry = fresh_registry()
    good = push_kind(registry, "oci-index")
    saved([good], *arguments)
    before = {path: identity(path) for path in Path().glob("*") if path not in (CACHE, LIST)}
    assert before
    registry.stop()
    for _ in range(2):
        result = save([good], "-retry", "0", *arguments)
        assert result.code == 3, result
        assert "stays as it was" in result.stdout
        assert {path: identity(path) for path in before} == before
        assert FAILED.read_text() == lines([good])
    # The advice was to run the same command again: nothing may refuse that.
    registry.start()
    result = save([good], *arguments)
    assert result.code == 0, result
    assert {path: identity(path) for path in before} == before
    assert not FAILED.exists()


def test_a_worse_bundle_does_not_replace_a_good_one(fresh_registry: RegistryFactory, better: PushedImage) -> None:
    registry = fresh_registry()
    good = push_kind(registry, "oci-index")
    saved([good, better])
    before = identity(ARCHIVE)
    registry.delete_tag(good.repository, "v1")
    result = save([good, better])
    assert result.code == 1
    assert identity(ARCHIVE) == before
    assert "stays as it was" in result.stdout
    assert good.reference in result.stdout
    assert "-force" in result.stdout
    assert FAILED.read_text() == lines([good])
    result = save([good, better], "-force")
    assert result.code == 1
    assert identity(ARCHIVE) != before
    assert unpack().names == [better.reference]
    push_kind(registry, "oci-index")
    saved([good, better])
    assert unpack().names == [good.reference, better.reference]


def test_what_the_earlier_one_has_not_may_fail(registry: Registry, good: PushedImage, better: PushedImage) -> None:
    missing = f"{registry.host}/none/one:1"
    saved([good])
    result = save([better, good, missing])
    assert result.code == 1
    assert unpack().names == [better.reference, good.reference]
    assert "replaced" not in result.stdout


@pytest.mark.parametrize("is_cache_there", [True, False])
def test_another_list_of_which_some_fail_replaces_nothing_that_it_lacks(
    registry: Registry, good: PushedImage, better: PushedImage, is_cache_there: bool
) -> None:
    """As the list may be the wrong one; -force says that it is not."""
    saved([good])
    before = identity(ARCHIVE)
    if not is_cache_there:
        shutil.rmtree(CACHE)
    listed: list[PushedImage | str] = [better, f"{registry.host}/none/one:1"]
    result = save(listed)
    assert result.code == 1
    assert f"images failed, and a new one would lack {good.reference}.\nTIP: -force" in result.stdout
    assert identity(ARCHIVE) == before
    result = save(listed, "-force")
    assert result.code == 1
    assert unpack().names == [better.reference]
    assert f"It replaced a bundle of 1 image, of which it lacks 1: {good.reference}." in result.stdout


@pytest.mark.parametrize("arguments", [[], ["-compress=dir", "-d", "bundle"], ["-part", "-part-size=4K"]], ids=str)
@pytest.mark.parametrize("is_cache_there", [True, False])
def test_a_shorter_list_is_told_of(registry: Registry, arguments: list[str], is_cache_there: bool) -> None:
    """By our record, or as the bundle says itself; in the log, too."""
    images = [push_kind(registry, "oci-single", f"failures/many/{number}") for number in range(8)]
    result = saved(images, *arguments)
    assert "replaced" not in result.stdout
    if not is_cache_there:
        shutil.rmtree(CACHE)
    result = saved(images[3:4], *arguments)
    names = ", ".join(images[number].reference for number in (0, 1, 2, 4, 5))
    told = f"It replaced a bundle of 8 images, of which it lacks 7: {names} and 2 more."
    assert told in result.stdout
    [warning] = [line for line in result.stderr.splitlines() if " WARN " in line]
    assert told in warning
    assert "replaced" not in saved(images[3:4], *arguments).stdout
    assert "replaced" not in saved(images, *arguments).stdout


def test_what_another_cache_left_there_counts_and_not_our_record(
    fresh_registry: RegistryFactory, good: PushedImage, better: PushedImage
) -> None:
    registry = fresh_registry()
    other = push_kind(registry, "oci-single")
    saved([good])
    saved([good, better, other], "-cache", "second")
    registry.delete_tag(other.repository, "v1")
    before = identity(ARCHIVE)
    result = save([good, other])
    assert result.code == 1
    assert "stays as it was" in result.stdout
    assert better.reference in result.stdout
    assert identity(ARCHIVE) == before


@pytest.mark.parametrize(
    "arguments", [[], ["-compress=zstd"], ["-compress=dir", "-d", "bundle"], ["-part", "-part-size=4K"]], ids=str
)
def test_the_earlier_bundle_stays_also_when_the_cache_was_removed(
    fresh_registry: RegistryFactory, better: PushedImage, arguments: list[str]
) -> None:
    """Removing the cache is what the document advises; the bundle says itself what it holds."""
    registry = fresh_registry()
    good = push_kind(registry, "oci-index")
    saved([good, better], *arguments)
    shutil.rmtree(CACHE)
    before = {path: identity(path) for path in Path().glob("*") if path != LIST}
    registry.delete_tag(good.repository, "v1")
    result = save([good, better], *arguments)
    assert result.code == 1
    assert "stays as it was" in result.stdout
    assert {path: identity(path) for path in before} == before


def test_the_failed_list_as_the_list_is_refused(registry: Registry, good: PushedImage) -> None:
    missing = f"{registry.host}/failures/later:v1"
    assert save([good, missing]).code == 1
    before = identity(ARCHIVE)
    registry.clear_requests()
    result = command("save", "-f", FAILED, PLAIN)
    assert result.code == 2
    assert "same command as before" in result.stderr
    [kept] = (CACHE / ".state/bundles").glob("*/images.txt")
    assert str(kept.resolve()) in result.stderr, "where the whole list is kept"
    assert registry.requests() == []
    assert identity(ARCHIVE) == before
    assert FAILED.read_text() == lines([missing])
    later = push_kind(registry, "oci-single", "failures/later")
    # For another destination it is a list like any other; and -force takes it as it is.
    assert command("save", "-f", FAILED, PLAIN, "-d", "rest.tar.gz", "-o", "rest-failed.txt").code == 0
    assert unpack(Path("rest.tar.gz")).names == [later.reference]
    # The kept list is the whole list.
    assert command("save", "-f", kept, PLAIN).code == 0
    assert unpack().names == [good.reference, later.reference]
    assert not FAILED.exists()
    registry.delete_tag("failures/later", "v1")


def test_force_takes_the_failed_list(registry: Registry, good: PushedImage) -> None:
    missing = f"{registry.host}/failures/forced:v1"
    assert save([good, missing]).code == 1
    forced = push_kind(registry, "oci-single", "failures/forced")
    assert command("save", "-f", FAILED, PLAIN, "-force").code == 0
    assert unpack().names == [forced.reference]
    registry.delete_tag("failures/forced", "v1")


def test_the_list_and_the_failed_list_may_be_one_file(registry: Registry, good: PushedImage) -> None:
    missing = f"{registry.host}/none/one:1"
    write_list([good])
    assert command("save", "-f", LIST, "-o", LIST, PLAIN).code == 0
    assert LIST.read_text() == lines([good]), "the list is never removed"
    write_list([good, missing])
    assert command("save", "-f", LIST, "-o", "./list.txt", PLAIN).code == 1
    assert LIST.read_text() == lines([missing])
    result = command("save", "-f", LIST, "-o", LIST, PLAIN)
    assert result.code == 2
    assert "kept in" in result.stderr
    assert LIST.read_text() == lines([missing])


def test_a_removed_failed_list_and_one_of_another_run(good: PushedImage) -> None:
    FAILED.write_text("left from yesterday\n")
    saved([good])
    assert not FAILED.exists()


def test_one_platform_fails(proxy: FaultProxy, registry: Registry, good: PushedImage, better: PushedImage) -> None:
    """An image is saved whole or not at all; what arrived of it is not fetched again."""
    arm = good.platform("linux/arm64").layers[0]
    proxy.fault(f"/blobs/{arm}", Status(404), times=None)
    name = good.via(proxy.host)
    result = save([name, better])
    assert result.code == 1
    assert "linux/arm64" in result.stdout
    assert unpack().names == [better.reference]
    [error] = [line for line in result.stderr.splitlines() if " ERROR " in line]
    assert "[M_ID:1] [IMG_ID:2]" in error
    proxy.clear()
    saved([name, better])
    asked = [seen.path.rpartition("/")[2] for seen in proxy.requests if "/blobs/" in seen.path]
    assert [digest for digest in asked if digest in good.layers] == [arm]


@pytest.mark.parametrize("fault", [Status(500), Status(503), Reset(1000), Truncate(1000)], ids=str)
def test_what_can_pass_is_tried_again(proxy: FaultProxy, good: PushedImage, fault: Fault) -> None:
    """(skopeo itself is patient with 429, for half a minute: see the fault bench.)"""
    rule = proxy.fault("/manifests/" if isinstance(fault, Status) else good.platforms[0].layers[0], fault)
    result = saved([good.via(proxy.host)], "-retry", "1", "-a", "amd64")
    assert rule.used == 1
    [line] = [line for line in result.stderr.splitlines() if "trying again" in line]
    assert " WARN " in line
    assert "[M_ID:1]" in line


@pytest.mark.parametrize("code", [401, 403, 404])
def test_what_cannot_pass_is_not_tried_again(proxy: FaultProxy, good: PushedImage, code: int) -> None:
    rule = proxy.fault("/manifests/v1", Status(code), times=None)
    result = save([good.via(proxy.host)], "-retry", "3")
    assert result.code == 3
    assert "trying again" not in result.stderr
    assert rule.used <= 2


def test_retry_0_tries_once(proxy: FaultProxy, good: PushedImage) -> None:
    rule = proxy.fault("/manifests/v1", Status(503), times=None)
    result = save([good.via(proxy.host)], "-retry", "0")
    assert result.code == 3
    assert "503" in result.stdout
    assert rule.used <= 2


def test_a_registry_that_is_down_does_not_stop_the_others(
    fresh_registry: RegistryFactory, good: PushedImage, better: PushedImage
) -> None:
    registry = fresh_registry()
    lost = push_kind(registry, "oci-single")
    registry.stop()
    result = save([good, lost, better], "-retry", "0", "-j", "3")
    assert result.code == 1
    assert "cannot be reached: Connection refused" in result.stdout
    assert unpack().names == [good.reference, better.reference]
