"""A flipped byte anywhere is found by ``verify``, and refused by ``load``, with the names of what it breaks."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.core.oci import Digest
from pipeline.reader.contents import open_contents
from pipeline.storage.archive import open_archive
from tests.support.registry import Registry, RegistryFactory
from tests.system.load.loading import FAILED, Bundle, assert_holds, command, flip, json_of, load


def blob_place(archive: Path, digest: str) -> int:
    """An offset in the middle of a blob."""
    entry = open_archive(archive).blobs[Digest.parse(digest)]
    return entry.offset + entry.length // 2


def only_layer(bundle: Bundle, kind: str) -> str:
    """A layer that no other image has."""
    others: set[str] = set().union(*(image.layers for name, image in bundle.images.items() if name != kind))
    return min(bundle.images[kind].layers - others)


# verify


@pytest.mark.parametrize("what", ["volumes", "small", "slow"])
def test_whole(request: pytest.FixtureRequest, what: str) -> None:
    bundle: Bundle = request.getfixturevalue(what)
    result = command("verify", bundle.path)
    assert result.code == 0, result
    assert result.stdout.startswith(f"all is intact: {len(bundle.images)} images, ")
    assert f"{len(bundle.files)} checksums" in result.stdout


def test_a_flipped_byte_anywhere(small: Bundle, slow: Bundle, work: Path) -> None:
    """Without a checksum file, so that everything else has to find it. (What decodes to the same bytes is no damage.)"""
    chance = random.Random(1)
    for bundle, tool in ((small, ["gzip", "-dc"]), (slow, ["zstd", "-dc"])):
        copy = bundle.copied(work / bundle.path.name, checksums=False)
        whole = copy.path.read_bytes()
        content = subprocess.run([*tool, copy.path], capture_output=True, check=True).stdout
        # The ends are dense with what is not content.
        head, size = 6000, len(whole)
        places = [chance.randrange(size) for _ in range(25)] + [chance.randrange(head) for _ in range(15)]
        for place in [*places, *(size - 1 - chance.randrange(head) for _ in range(20))]:
            flip(copy.path, place)
            result = command("verify", copy.path, "-j", "1")
            if result.code == 0:
                after = subprocess.run([*tool, copy.path], capture_output=True, check=False)
                assert (after.returncode, after.stdout) == (0, content), f"byte {place} of {size}"
            copy.path.write_bytes(whole)


def test_every_byte_counts_for_the_checksums(volumes: Bundle, work: Path) -> None:
    copy = volumes.copied(work / "copy")
    chance = random.Random(2)
    for volume in copy.files:
        before = volume.read_bytes()
        flip(volume, chance.randrange(len(before)))
        report = json_of("verify", copy.path)
        assert {"what": volume.name, "problem": "does not match its checksum in saved-images.tar.gz.sha256"}.items() <= {
            key: value for fault in report["faults"] for key, value in fault.items() if fault["what"] == volume.name
        }.items()
        volume.write_bytes(before)


def test_it_says_what_is_broken(small: Bundle, work: Path) -> None:
    copy = small.copied(work / "copy")
    lone = only_layer(small, "docker-list")
    shared = min(small.images["shared-one"].layers & small.images["shared-two"].layers)
    for digest in (lone, shared):
        flip(copy.path, blob_place(small.path, digest))
    result = command("verify", copy.path, "-json")
    assert result.code == 1
    report = json.loads(result.stdout)
    breaks = {fault["what"]: fault["breaks"] for fault in report["faults"]}
    names = {kind: image.reference for kind, image in small.images.items()}
    assert breaks == {
        copy.path.name: [],
        lone: [names["docker-list"]],
        shared: [names["shared-one"], names["shared-two"]],
    }
    shown = command("verify", copy.path)
    assert f"    breaks {names['docker-list']}\n" in shown.stdout
    assert "3 faults, 3 of 3 images broken" in shown.stdout


def test_a_folder(small: Bundle, work: Path) -> None:
    folder = work / "folder"
    shutil.copytree(small.cache, folder, symlinks=True)
    lone, gone = sorted(small.images["docker-list"].layers)
    config = min(small.images["shared-one"].configs)
    share = folder / "share" / "sha256"
    flip(share / lone[7:], 10)
    (share / gone[7:]).unlink()
    (share / config[7:]).write_bytes(b"{}")
    report = json_of("verify", folder)
    problems = {fault["what"]: (fault["problem"], fault["breaks"]) for fault in report["faults"]}
    lists, ones = [small.images["docker-list"].reference], [small.images["shared-one"].reference]
    assert problems == {
        lone: (f"{share / lone[7:]} is damaged: it does not match its digest", lists),
        gone: ("is missing", lists),
        config: (f"{share / config[7:]} is damaged: it does not match its digest", ones),
    }


@pytest.mark.parametrize("how", ["missing", "truncated", "swapped"])
def test_volumes_that_are_not_as_they_were(volumes: Bundle, work: Path, how: str) -> None:
    copy = volumes.copied(work / "copy")
    one, two = copy.files[1:3]
    if how == "missing":
        one.unlink()
    elif how == "truncated":
        with one.open("r+b") as file:
            file.truncate(1000)
    else:
        content = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)
    result = command("verify", copy.path)
    assert result.code == 3
    assert one.name in result.stdout + result.stderr
    if how != "missing":
        assert f"{one.name}: does not match its checksum" in result.stdout


def test_the_checksum_file_and_the_volumes_disagree(volumes: Bundle, work: Path) -> None:
    copy = volumes.copied(work / "copy")
    sums = work / "copy" / "saved-images.tar.gz.sha256"
    lines = sums.read_text().splitlines()
    sums.write_text("\n".join([*lines[1:], lines[0].replace("part0", "part99")]) + "\n")
    report = json_of("verify", copy.path)
    assert {(fault["what"], fault["problem"]) for fault in report["faults"]} == {
        ("saved-images.tar.gz.part99", "is missing; saved-images.tar.gz.sha256 names it"),
        ("saved-images.tar.gz.part0", "saved-images.tar.gz.sha256 does not name it"),
    }


def test_a_registry_that_differs(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    assert load(small, registry.host).code == 0
    one, two = small.images["shared-one"], small.images["shared-two"]
    with registry.client() as client:
        client.put_manifest(one.repository, "v1", one.platforms[0].raw, one.platforms[0].media_type)
    registry.delete_manifest(two.repository, two.platforms[0].manifest)
    result = command("verify", small.path, "-registry", registry.host, "-tls-verify=false", "-json")
    assert result.code == 1
    faults = {fault["what"]: fault for fault in json.loads(result.stdout)["faults"]}
    moved = faults[f"{registry.host}/{one.repository}:v1"]
    assert moved["problem"] == f"it is {one.platforms[0].manifest} there, and {one.digest} here"
    gone = faults[f"{registry.host}/{two.repository}@{two.platforms[0].manifest}"]
    assert gone["breaks"] == [two.reference]
    assert "not found" in gone["problem"]


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "-j", "0"], ["a", "-registry", "https://r.io"], ["-x", "a"]])
def test_bad_usage(arguments: list[str]) -> None:
    assert command("verify", *arguments).code == 2


# load


@pytest.mark.parametrize("form", ["archive", "folder"])
def test_a_damaged_layer_is_not_loaded(small: Bundle, fresh_registry: RegistryFactory, work: Path, form: str) -> None:
    registry = fresh_registry()
    lone = only_layer(small, "docker-list")
    if form == "archive":
        place = small.copied(work / "copy").path
        flip(place, blob_place(small.path, lone))
    else:
        place = work / "folder"
        shutil.copytree(small.cache, place, symlinks=True)
        flip(place / "share" / lone.replace(":", "/"), 100)
    result = load(place, registry.host, "-j", "2")
    assert result.code == 1
    image = small.images["docker-list"]
    assert FAILED.read_text() == f"{image.reference}\n"
    where = place if form == "archive" else place / "share" / lone.replace(":", "/")
    assert f"{image.reference}: " in result.stdout
    assert f"damaged in {where}" in result.stdout or f"{where} is damaged" in result.stdout
    assert "trying again" not in result.stderr, "the archive does not get better"
    assert "Traceback" not in result.stderr
    for kind in ("shared-one", "shared-two"):
        assert_holds(registry, small.images[kind])
    with registry.client() as client:
        assert client.manifest(image.repository, "v1").status == 404


def test_a_damaged_manifest_is_not_loaded(small: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    copy = small.copied(work / "copy")
    image = small.images["shared-two"]
    flip(copy.path, blob_place(small.path, image.platforms[0].manifest))
    registry = fresh_registry()
    planned = load(copy, registry.host, "-dry-run")
    assert (planned.code, FAILED.exists()) == (1, False)
    assert f"  {image.reference}: {image.platforms[0].manifest} is damaged" in planned.stdout
    result = load(copy, registry.host)
    assert (result.code, FAILED.read_text()) == (1, f"{image.reference}\n")
    assert f"{image.platforms[0].manifest} is damaged in {copy.path}" in result.stdout


def test_what_the_target_has_is_not_read(small: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    registry = fresh_registry()
    assert load(small, registry.host).code == 0
    copy = small.copied(work / "copy")
    flip(copy.path, blob_place(small.path, only_layer(small, "docker-list")))
    assert load(copy, registry.host).code == 0


def test_damage_that_concerns_all(small: Bundle, registry: Registry, work: Path) -> None:
    """The metadata of an archive: nothing is loaded."""
    copy = small.copied(work / "copy")
    with copy.path.open("r+b") as file:
        file.truncate(copy.path.stat().st_size - 100)
    result = load(copy, registry.host)
    assert (result.code, FAILED.exists()) == (3, False)
    assert "truncated" in result.stderr


def test_ls_tells_what_it_cannot_read(small: Bundle, work: Path) -> None:
    copy = small.copied(work / "copy")
    image = small.images["shared-two"]
    flip(copy.path, blob_place(small.path, image.platforms[0].manifest))
    assert command("ls", copy.path).code == 0, "it says what the bundle says of itself"
    result = command("ls", copy.path, "*")
    assert result.code == 1
    assert re.search(f"{re.escape(image.reference)} +damaged: {image.platforms[0].manifest} is damaged", result.stdout)
    assert "3 images, 4 image/arches" in result.stdout


def test_the_contents_are_read_by_digest(small: Bundle) -> None:
    contents = open_contents(small.path)
    for held in contents.bundled:
        image = small.images[str(held.reference).split("/")[2].partition(":")[0]]
        assert {str(digest) for digest in contents.closure(held.descriptor)} == set(image.contents)
