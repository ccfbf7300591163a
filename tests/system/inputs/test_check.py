"""``check`` and ``convert-list``: lists, without fetching anything."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE
from tests.support.registry import Registry
from tests.system.bundles.helpers import image_tools
from tests.system.inputs.test_files import pushed


def test_what_is_gone_or_moved_is_named(registry: Registry, work: Path) -> None:
    pushed(registry, *(f"check/app:{tag}" for tag in ("1.0.0", "1.2.0", "2.0.0")), "check/web:stable")
    host = registry.host
    Path("list.txt").write_text(f"{host}/check/app:1.0.0\n{host}/check/web:stable\n")
    assert image_tools("lock", "-f", "list.txt", "-tls-verify=false", "-a=amd64").code == EXIT_OK
    fine = image_tools("check", "list.txt", "-tls-verify=false")
    assert (fine.code, fine.stdout) == (EXIT_OK, "2 of 2 images are there, as they should be\n")

    pushed(registry, "check/web:other")
    Path("list.txt").write_text(
        f"{host}/check/app:1.0.0\n{host}/check/app:1.1.0\n{host}/check/web:stabel\n{host}/check/none:1\n"
    )
    result = image_tools("check", "list.txt", "-tls-verify=false", "nowhere.invalid/x:1")
    assert result.code == EXIT_SOME_FAILED
    assert result.stdout.splitlines()[:4] == [
        "gone: the registry has no such image:",
        f"  {host}/check/app:1.1.0    the nearest tag is 1.2.0",
        f"  {host}/check/web:stabel    the nearest tag is stable",
        f"  {host}/check/none:1",
    ]
    assert "nowhere.invalid" in result.stdout and "1 of 5 images are there" in result.stdout


def test_what_moved_since_the_lock(registry: Registry, work: Path) -> None:
    pushed(registry, "check/moving:1")
    Path("list.txt").write_text(f"{registry.host}/check/moving:1\n")
    assert image_tools("lock", "-f", "list.txt", "-tls-verify=false", "-a=amd64").code == EXIT_OK
    from tests.support.images import image, index, layer
    from tests.support.push import push

    moved = push(registry, "check/moving", "1", index(image("linux/amd64", [layer("check/moved")])))
    result = image_tools("check", "list.txt", "-tls-verify=false", "-json")
    (found,) = json.loads(result.stdout)
    assert result.code == EXIT_SOME_FAILED
    assert found["digest"] == moved.digest and found["problem"].startswith("moved: the lock has sha256:")
    lacking = image_tools("check", f"{registry.host}/check/moving:1", "-tls-verify=false", "-a", "amd64,arm64,s390x")
    assert lacking.stdout.startswith("lacks arm64, s390x:\n")


def test_lists_of_mirrors(registry: Registry, work: Path) -> None:
    Path("list.txt").write_text("nginx:1.27\nrancher/rancher:v2.9\nquay.io/a/b:1\n")
    result = image_tools("convert-list", "list.txt", "-d", "registry.internal:5000/mirror", "-s", "proxy.example.com")
    assert result.stdout.splitlines() == [
        "proxy.example.com/library/nginx registry.internal:5000/mirror/library/nginx 1.27",
        "proxy.example.com/rancher/rancher registry.internal:5000/mirror/rancher/rancher v2.9",
        "proxy.example.com/a/b registry.internal:5000/mirror/a/b 1",
    ]
    assert image_tools("convert-list", "-i", "list.txt", "-d", "r.io", "-o", "out.txt").code == EXIT_OK
    assert Path("out.txt").read_text().splitlines()[0] == "docker.io/library/nginx r.io/library/nginx 1.27"
    refused = image_tools("convert-list", "list.txt", "-d", "r.io", "-o", "list.txt")
    assert refused.code == EXIT_USAGE and "or the list that is read" in refused.stderr
