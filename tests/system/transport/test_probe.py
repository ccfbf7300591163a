"""A registry is asked once, before its images: what is wrong with it is said once, for all of them."""

from __future__ import annotations

from tests.support.images import image, layer
from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Status
from tests.support.push import push
from tests.support.registry import Registry, RegistryFactory
from tests.system.save.saving import FAILED, save, saved, write_list

NOBODY = "registry.invalid"
"""A name that never resolves (RFC 6761)."""


def test_many_images_on_a_host_that_does_not_resolve() -> None:
    result = save([f"{NOBODY}/team/{number}:v1" for number in range(60)], "-j", "4")
    assert result.code == 3
    errors = [line for line in result.stderr.splitlines() if " ERROR " in line]
    assert len(errors) == 1
    assert f"ERROR {NOBODY}: the name does not resolve" in errors[0]
    assert f"60 images: {NOBODY}: the name does not resolve" in result.stdout
    assert len(FAILED.read_text().splitlines()) == 60


def test_other_registries_go_on(registry: Registry) -> None:
    good = push_kind(registry, "oci-index")
    result = save([f"{NOBODY}/team/app:v1", good, f"{NOBODY}/team/app:v2"])
    assert result.code == 1
    assert result.stderr.count("does not resolve") == 1
    assert "saved 1 of 3 images" in result.stdout


def test_pinned_images_that_are_here_need_no_registry(fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    pinned = [f"{each.host}/{each.repository}@{each.digest}" for each in (push_kind(registry, "oci-index"),)]
    saved(pinned)
    registry.stop()
    assert "unchanged since the last run" in saved(pinned).stdout


def test_a_pinned_image_that_is_here_is_saved_without_the_others_of_its_registry(fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    here, gone = push_kind(registry, "oci-index"), push_kind(registry, "oci-single")
    pinned = f"{here.host}/{here.repository}@{here.digest}"
    saved([pinned])
    registry.stop()
    result = save([pinned, gone])
    assert result.code == 1
    assert "saved 1 of 2 images" in result.stdout
    assert "cannot be reached" in result.stdout


def test_one_repository_that_lets_nobody_in_is_not_the_whole_registry(registry: Registry, proxy: FaultProxy) -> None:
    """Some registries deny a token for what does not exist, or is private, and give one for all else."""
    private, public = (
        push(registry, name, "v1", image("linux/amd64", [layer(name, 100)])) for name in ("private/a", "public/a")
    )
    proxy.fault("^/v2/$", Status(403))
    proxy.fault("/private/", Status(403), times=None)
    result = save([private.via(proxy.host), public.via(proxy.host)], "-a", "amd64")
    assert result.code == 1
    assert "saved 1 of 2 images" in result.stdout
    assert "access denied" in result.stdout


def test_a_registry_is_asked_once_in_a_run(registry: Registry, proxy: FaultProxy) -> None:
    images = [push(registry, f"probed/{number}", "v1", image("linux/amd64", [layer(str(number), 100)])) for number in range(4)]
    saved([each.via(proxy.host) for each in images], "-a", "amd64", "-j", "4")
    assert len([seen for seen in proxy.requests if seen.path == "/v2/" and seen.method == "GET"]) >= 1
    write_list([])
