"""``mirror``: from registry to registry, with its digests, and nothing twice."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE
from tests.support.images import image, index, layer
from tests.support.push import push
from tests.support.registry import Registry, RegistryFactory
from tests.support.run import run
from tests.system.bundles.helpers import image_tools
from tests.system.load.harbor import Harbor


def sources(registry: Registry) -> dict[str, str]:
    """Two images, by repository, with their digests."""
    found = {}
    for name in ("mirror/web", "mirror/api"):
        images = (
            image(f"linux/{arch}", [layer(f"{name}/{arch}"), layer("mirror/base")]) for arch in ("amd64", "arm64", "s390x")
        )
        found[name] = push(registry, name, "v1", index(*images)).digest
    return found


def digest_at(registry: Registry, name: str, tag: str = "v1") -> str | None:
    with registry.client() as client:
        return client.manifest(name, tag).headers.get("docker-content-digest")


def test_images_arrive_with_their_digests_and_nothing_twice(
    registry: Registry, fresh_registry: RegistryFactory, work: Path
) -> None:
    there = fresh_registry()
    digests = sources(registry)
    Path("list.txt").write_text("".join(f"{registry.host}/{name}:v1\n" for name in digests))
    command = ("mirror", "-f", "list.txt", "-d", there.host, "-tls-verify=false", "-j", "4")
    first = image_tools(*command)
    assert first.code == EXIT_OK, first
    assert f"mirrored 2 of 2 images into {there.host}: 0 were there already" in first.stdout
    assert {name: digest_at(there, name) for name in digests} == digests
    assert not Path("mirror-failed.txt").exists()

    for _ in range(2):
        again = image_tools(*command)
        assert again.code == EXIT_OK, again
        assert "2 were there already\nfetched 0 B, sent 0 B" in again.stdout, "also without the cache"
        shutil.rmtree("mirror-cache")


def test_what_fails_fails_alone_and_is_listed(registry: Registry, fresh_registry: RegistryFactory, work: Path) -> None:
    there = fresh_registry()
    digests = sources(registry)
    Path("list.txt").write_text(f"{registry.host}/mirror/gone:1\n{registry.host}/mirror/web:v1\n")
    result = image_tools("mirror", "-f", "list.txt", "-d", there.host, "-tls-verify=false")
    assert result.code == EXIT_SOME_FAILED
    assert "mirrored 1 of 2 images" in result.stdout
    assert Path("mirror-failed.txt").read_text() == f"{registry.host}/mirror/gone:1\n"
    assert digest_at(there, "mirror/web") == digests["mirror/web"]


def test_lists_of_mirrors_name_the_destination(registry: Registry, fresh_registry: RegistryFactory, work: Path) -> None:
    there = fresh_registry()
    digests = sources(registry)
    Path("list.txt").write_text(f"{registry.host}/mirror/web anything.example.com/team/front v1\n")
    command = ("mirror", "-f", "list.txt", "-d", f"{there.host}/site", "-tls-verify=false")
    assert image_tools(*command).code == EXIT_OK
    assert digest_at(there, "site/team/front") == digests["mirror/web"]
    assert "1 were there already" in image_tools(*command).stdout
    Path("list.txt").write_text(f"{registry.host}/mirror/web anything.example.com/team/piped v1\n")
    piped = run(
        "-c", f"cat list.txt | {sys.executable} -m pipeline mirror -f - -d {there.host}/site -tls-verify=false", command=("sh",)
    )
    assert piped.code == EXIT_OK, piped
    assert digest_at(there, "site/team/piped") == digests["mirror/web"], "a pipe can be read once only"


def test_harbor_projects_are_made(registry: Registry, fresh_registry: RegistryFactory, work: Path) -> None:
    sources(registry)
    with Harbor(fresh_registry().host) as harbor:
        auth = harbor.auth_file(work)
        command = ("mirror", f"{registry.host}/mirror/web:v1", "-d", harbor.host, "-repo-type=harbor", "-harbor-https=false")
        result = image_tools(*command, "-tls-verify=false", "-authfile", auth)
        assert result.code == EXIT_OK, result
        assert list(harbor.projects) == ["mirror"]


def test_what_is_missing_is_said(work: Path) -> None:
    for command, said in (
        (("mirror", "-f", "list.txt"), "-d is missing: the registry to mirror to"),
        (("mirror", "-d", "r.io"), "no images given"),
    ):
        result = image_tools(*command)
        assert result.code == EXIT_USAGE and said in result.stderr
