"""What ``ls`` tells, for people and for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.reader.contents import open_contents
from pipeline.reader.listing import dump, look_at, make_listing
from tests.support.registry import RegistryFactory
from tests.system.load.loading import Bundle, command, json_of, make_bundle


def test_every_kind(volumes: Bundle) -> None:
    for place in (volumes.path, volumes.files[0], volumes.cache):
        listing = json_of("ls", place)
        assert [each["reference"] for each in listing["images"]] == [image.reference for image in volumes.images.values()]
        assert listing["problems"] == []
    for each, (kind, image) in zip(listing["images"], volumes.images.items(), strict=True):
        if kind == "schema1":
            continue
        assert (each["digest"], each["mediaType"]) == (image.digest, image.media_type)
        assert each["size"] == sum(map(len, image.contents.values()))
        wanted = [
            {
                "platform": str(platform.platform) if platform.platform.is_known else None,
                "digest": platform.manifest,
                "size": sum(len(image.contents[digest]) for digest in platform.closure),
                "attestation": platform.is_attestation,
            }
            for platform in image.platforms
        ]
        assert each["platforms"] == wanted


def test_what_is_shared(small: Bundle) -> None:
    listing = json_of("ls", small.path)
    one, two = small.images["shared-one"], small.images["shared-two"]
    shared = sum(len(one.contents[digest]) for digest in set(one.contents) & set(two.contents))
    assert [each["shared"] for each in listing["images"]] == [0, shared, shared]
    assert listing["saved"] == shared
    everything = {digest: len(data) for image in small.images.values() for digest, data in image.contents.items()}
    assert (listing["blobs"], listing["size"], listing["kind"]) == (len(everything), sum(everything.values()), "gzip")


def test_for_people(small: Bundle) -> None:
    result = command("ls", small.path)
    image, shared = small.images["docker-list"], small.images["shared-one"]
    assert (result.code, result.stderr) == (0, "")
    total, empty, head, *rows = result.stdout.splitlines()
    assert total.startswith("3 images, 6 image/arches, 24 blobs, ") and total.endswith(" saved by sharing)") and not empty
    assert head.split() == ["IMAGE", "PLATFORMS", "SIZE", "OWN"] and len(rows) == 3
    cells = {row.split()[0]: re.split("  +", row)[1:] for row in rows}
    assert cells[image.reference][0].split()[:2] == ["amd64", "arm64/v8"] or "arm64" in cells[image.reference][0]
    own, whole = cells[image.reference][2], cells[image.reference][1]
    assert own == whole, "it shares nothing"
    assert cells[shared.reference][2] != cells[shared.reference][1]


def test_with_digests(small: Bundle) -> None:
    result = command("ls", small.path, "-v")
    image = small.images["docker-list"]
    platform = image.platforms[0]
    assert f"{image.reference}\n    {image.digest}  " in result.stdout
    assert f"    linux/amd64      {platform.manifest}  " in result.stdout


def test_what_is_brought_along_is_what_is_there(small: Bundle, work: Path) -> None:
    """ls reads one file of ours; without it, every manifest. verify compares them."""
    contents = open_contents(small.path)
    fast, slow = make_listing(contents), look_at(contents)
    assert contents.store.metadata("listing.json") == dump(slow) == dump(fast)
    folder = make_bundle(work / "folder", list(small.images.values()), "-compress=dir", name="made").path
    path = folder / "listing.json"
    assert json.loads(path.read_text())["images"]
    path.write_text(path.read_text().replace("small/shared-one", "small/shared-won"))
    assert "small/shared-won" in command("ls", folder).stdout
    result = command("verify", folder)
    assert result.code == 1 and "listing.json: it does not say what is in the bundle" in result.stdout
    path.write_text("[")
    assert "small/shared-one" in command("ls", folder).stdout


@pytest.mark.parametrize("arguments", [["-json"], ["-j", "a"], ["~nobody-of-that-name/a"]])
def test_bad_usage(arguments: list[str]) -> None:
    assert command("ls", *arguments).code == 2


@pytest.mark.parametrize("name", ["ls", "verify", "serve"])
def test_help(name: str) -> None:
    result = command(name, "-h")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage of {name}:\n")


def test_the_commands_are_known() -> None:
    result = command("help")
    for name in ("load", "ls", "verify", "serve"):
        assert f"image-tools {name} " in result.stdout


def test_patterns_choose(small: Bundle, fresh_registry: RegistryFactory) -> None:
    name = small.images["shared-one"].reference
    repository = name.split("/", 1)[1].rpartition(":")[0]
    for pattern in (repository, f"{repository}:*", "*/shared-on?:v1", name):
        assert [each["reference"] for each in json_of("ls", small.path, pattern)["images"]] == [name], pattern
    assert len(json_of("ls", small.path, "*shared-*", "*docker-list*")["images"]) == 3
    none = command("ls", small.path, "nobody/*")
    assert (none.code, none.stdout) == (2, "") and "holds no image that is called nobody/*" in none.stderr

    target = fresh_registry()
    result = command("load", small.path, "-d", target.host, "-tls-verify=false", "-only", "*shared-*", "-o", "failed.txt")
    assert result.code == 0 and "loaded 2 of 2 images" in result.stdout
    assert command("ls", small.path, small.path).code == 2, "one archive at a time"
    refused = command("load", small.path, "-d", target.host, "-tls-verify=false", "-only", "nobody/*")
    assert refused.code == 2 and "holds no image that is called nobody/*" in refused.stderr
