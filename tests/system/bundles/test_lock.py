"""The lock: what it holds, that it repeats a bundle byte for byte, and what is said when it cannot."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.errors import EXIT_SOME_FAILED, EXIT_USAGE
from tests.support.images import image, index, layer
from tests.support.kinds import push_kind
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import run
from tests.system.bundles.helpers import FILE, checksum, define, image_tools, save

KINDS = ("oci-index", "docker-single", "helm-chart", "schema1")
"""With an index, without one, without a platform, and one that is converted."""
LOCK = Path("demo.lock.yaml")
BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
BOMB += "version: 1\nimages: [{image: *a11, asked: *a11, source: *a11, digest: *a11}]\n"
"""A name of a hundred billion letters, by aliases."""


def entries(path: Path = LOCK) -> dict[str, dict[str, Any]]:
    document = yaml.safe_load(path.read_text())
    assert document["version"] == 2
    return {entry["image"]: entry for entry in document["images"]}


def move(registry: Registry, repository: str, seed: str) -> PushedImage:
    """Let the tag ``v1`` name something else."""
    images = (image(f"linux/{each}", [layer(f"{seed}/{each}")]) for each in ("amd64", "arm64"))
    return push(registry, repository, "v1", index(*images))


def test_two_machines_make_the_same_bytes_after_the_tags_have_moved(registry: Registry, work: Path) -> None:
    pushed = {kind: push_kind(registry, kind, f"lock/{kind}") for kind in KINDS}
    pinned = f"lock/oci-index@{pushed['oci-index'].digest}"
    names = [f"lock/{kind}:v1" for kind in KINDS]
    os.chdir(define(registry, path=work / "one" / FILE, demo=[*names, pinned]).parent)
    save("-lock", "-a=amd64")
    first, lock = checksum(Path("demo.tar.gz")), LOCK.read_bytes()
    assert str(work) not in lock.decode(), "nothing of this machine"

    found = entries()
    assert list(found) == sorted(found)
    for kind in KINDS:
        entry = found[f"docker.io/lock/{kind}:v1"]
        assert (entry["asked"], entry["from"]) == ("amd64", f"{registry.host}/lock/{kind}:v1")
        assert entry["source"] == pushed[kind].digest
    whole = found[f"docker.io/{pinned}"]
    assert whole["digest"] == whole["source"] and len(whole["platforms"]) == 3, "a pin asks for the whole"
    subset = found["docker.io/lock/oci-index:v1"]
    assert subset["digest"] != subset["source"]
    amd64 = pushed["oci-index"].platform("linux/amd64")
    (platform,) = subset["platforms"]
    assert platform == {
        "platform": "linux/amd64",
        "digest": amd64.manifest,
        "size": sum(amd64.sizes.values()),
        "layers": [each.partition(":")[2][:12] for each in amd64.layers],
    }
    assert [found[f"docker.io/{name}"]["position"] for name in [*names, pinned]] == [1, 2, 3, 4, 5]
    assert found["docker.io/lock/schema1:v1"]["digest"] != pushed["schema1"].digest, "it is converted"

    for kind in KINDS:
        move(registry, f"lock/{kind}", f"moved/{kind}")
    os.chdir(define(registry, path=work / "another" / "place" / FILE, jobs=2, demo=[*names, pinned]).parent)
    LOCK.write_bytes(lock)
    save("-locked", "-a=amd64")
    assert checksum(Path("demo.tar.gz")) == first
    os.chdir(work / "one")
    save("-locked", "-a=amd64")
    assert checksum(Path("demo.tar.gz")) == first
    assert LOCK.read_bytes() == lock
    save("-a=amd64")
    assert checksum(Path("demo.tar.gz")) != first, "the tags have moved"


def test_a_diff_that_a_reviewer_can_read(registry: Registry) -> None:
    for name in ("diff/a", "diff/b", "diff/c"):
        move(registry, name, f"{name}/1")
    define(registry, demo=["diff/b:v1", "diff/c:v1", "diff/a:v1"])
    save("-lock")
    before = LOCK.read_text()
    define(registry, demo=["diff/a:v1", "diff/c:v1", "diff/b:v1"])
    save("-lock")
    moved = [line for line in difflib.ndiff(before.splitlines(), LOCK.read_text().splitlines()) if line[0] in "+-"]
    assert moved and all("position" in line for line in moved), "of the order, nothing but the places"
    before = LOCK.read_text()
    move(registry, "diff/b", "diff/b/2")
    save("-lock")
    changed = [line for line in difflib.ndiff(before.splitlines(), LOCK.read_text().splitlines()) if line[0] in "+-"]
    rows = [line for line in changed if "- ['sha256:" in line]
    assert len(rows) == 2 * 2, "its layers in the table"
    keys = [re.sub(r"^([+-]) [ -]*(\w+): .*", r"\1\2", line) for line in changed if line not in rows]
    assert set(keys) >= {"+digest", "+source", "-digest", "-source"} and len(set(keys)) <= 8
    assert len(keys) <= 2 * 8, "digests, sizes and layers, and only of this image"


def test_what_was_added_removed_or_changed_is_named(registry: Registry) -> None:
    for name in ("differ/a", "differ/b", "differ/c"):
        move(registry, name, name)
    define(registry, demo=["differ/a:v1", "differ/b:v1"], other=["differ/a:v1"])
    save("-lock")
    define(registry, more=", arch: amd64", demo=["differ/b:v1", "differ/c:v1"], other=["differ/a:v1"])
    expected = [
        "image-tools: {here}/demo.lock.yaml: the lock and the bundle 'demo' disagree",
        "  added:   docker.io/differ/c:v1 is not in the lock",
        "  removed: docker.io/differ/a:v1 is in the lock only",
        "  changed: docker.io/differ/b:v1 is locked for amd64,arm64, but amd64 is asked for",
        "{here}/other.lock.yaml: the lock and the bundle 'other' disagree",
        "  changed: docker.io/differ/a:v1 is locked for amd64,arm64, but amd64 is asked for",
        "TIP: save with -lock to write the lock anew, or undo what was changed",
    ]
    for command in (["save", "-config", "bundle.yaml", "-locked"], ["bundle", "check", "-locked", "bundle.yaml"]):
        registry.clear_requests()
        result = image_tools(*command)
        assert (result.code, result.stdout) == (EXIT_USAGE, "")
        assert result.stderr.splitlines() == [line.format(here=Path.cwd()) for line in expected]
        assert not registry.requests()
    checked = image_tools("bundle", "check", FILE)
    assert checked.code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read the lock {lock}: No such file or directory"),
        ("<<<<<<< HEAD\nversion: 1\n", "{lock}:2: this is no YAML, so no lock; was it merged by hand?"),
        ("version: 3\n", "{lock}: the lock has version 3; this program reads 2"),
        ("version: 1\nimages: [{image: x}]\n", "{lock}: this is no lock of ours"),
        (BOMB, "{lock}: this is no lock of ours"),
        (f"version: 1\nimages: {'[' * 100_000}", "{lock}:2: this is no YAML, so no lock; was it merged by hand?"),
        ("[1]\n", "{lock}: this is no lock of ours"),
    ],
)
def test_no_lock(content: str | None, said: str) -> None:
    FILE.write_text("bundles: {demo: {images: [nginx]}}\n")
    if content is not None:
        LOCK.write_text(content)
    result = image_tools("save", "-config", FILE, "-locked")
    assert result.code == EXIT_USAGE
    assert result.stderr.splitlines() == [
        f"image-tools: {said.format(lock=LOCK.absolute())}",
        "TIP: save with -lock to write the lock anew, or undo what was changed",
    ]


def test_a_partial_failure_leaves_the_lock_as_it_was(registry: Registry) -> None:
    move(registry, "partly/a", "partly/a")
    define(registry, demo=["partly/a:v1"])
    save("-lock")
    before = LOCK.read_bytes()
    move(registry, "partly/a", "partly/a/2")
    define(registry, demo=["partly/a:v1", "partly/none:v1"])
    result = image_tools("save", "-config", FILE, "-lock")
    assert result.code == EXIT_SOME_FAILED
    assert "demo.lock.yaml is left as it was" in result.stderr
    assert LOCK.read_bytes() == before


def test_a_lock_that_says_something_else_of_the_result_fails(registry: Registry) -> None:
    """An edited lock, or another version of what makes the subset: the bundle would not be the locked one."""
    move(registry, "edited/a", "edited/a")
    define(registry, more=", arch: amd64", demo=["edited/a:v1"])
    save("-lock")
    Path("demo.tar.gz").unlink()
    entry = entries()["docker.io/edited/a:v1"]
    LOCK.write_text(LOCK.read_text().replace(f"  digest: {entry['digest']}", f"  digest: sha256:{'0' * 64}"))
    result = image_tools("save", "-config", FILE, "-locked")
    assert result.code != 0 and not Path("demo.tar.gz").exists()
    assert f"but it is locked as sha256:{'0' * 64}" in result.stderr


def test_a_locked_digest_that_the_registry_has_no_more(registry: Registry) -> None:
    pushed = move(registry, "gone/a", "gone/a")
    define(registry, demo=["gone/a:v1"])
    save("-lock")
    move(registry, "gone/a", "gone/a/2")
    registry.delete_manifest("gone/a", pushed.digest)
    save("-locked")  # all of it is in the cache
    result = image_tools("save", "-config", FILE, "-locked", "-cache=other")
    assert result.code != 0 and "gone/a" in result.stdout + result.stderr


def test_a_plain_list_has_a_lock_of_its_own(registry: Registry, work: Path) -> None:
    pushed = move(registry, "listed/a", "listed/a")
    for folder in ("one", "two"):
        (work / folder).mkdir()
        os.chdir(work / folder)
        Path("list.txt").write_text(f"{pushed.reference}\n")
        assert image_tools("save", "-f", "list.txt", "-tls-verify=false", "-lock").code == 0
    lock = Path("list.txt.lock.yaml")
    assert lock.read_bytes() == (work / "one" / lock).read_bytes(), "nothing of the folder"
    first = checksum(Path("saved-images.tar.gz"))
    move(registry, "listed/a", "listed/a/2")
    assert image_tools("save", "-f", "list.txt", "-tls-verify=false", "-locked", "-cache=new").code == 0
    assert checksum(Path("saved-images.tar.gz")) == first


def test_a_cache_that_comes_back_elsewhere_is_as_good(registry: Registry, work: Path) -> None:
    """As in CI, where a cache is packed, kept, and unpacked on another machine."""
    pushed = [push_kind(registry, kind, f"carried/{kind}") for kind in ("shared-one", "schema1")]
    os.chdir(define(registry, path=work / "one" / FILE, demo=["carried/shared-one:v1", "carried/schema1:v1"]).parent)
    save("-lock")
    first = checksum(Path("demo.tar.gz"))
    other = work / "two"
    other.mkdir()
    subprocess.run(f"tar -c saved-image-cache *.yaml | tar -x -C {other}", shell=True, check=True)
    os.chdir(other)
    registry.clear_requests()
    save("-locked")
    assert checksum(Path("demo.tar.gz")) == first
    asked = {request.reference for request in registry.blob_gets}
    assert not asked & {layer for image in pushed[:1] for layer in image.layers}


def test_a_lock_without_a_layer(registry: Registry, work: Path) -> None:
    """The lock that a save would write, byte for byte; what it locks is then saved, whatever the tags say."""
    kinds = ("oci-index", "docker-list", "docker-single", "helm-chart", "attestations")
    pushed = [push_kind(registry, kind, f"locked/{kind}") for kind in kinds]
    Path("list.txt").write_text("".join(f"{each.reference}\n" for each in pushed))
    arguments = ("-f", "list.txt", "-tls-verify=false", "-a", "amd64,s390x", "-j", "4")
    registry.clear_requests()
    locked = run("lock", *arguments)
    assert locked.code == 0, locked
    lock = Path("list.txt.lock.yaml").read_bytes()
    layers = {layer for each in pushed for platform in each.platforms for layer in platform.layers}
    assert not layers.intersection(registry.blob_gets)
    assert re.fullmatch(r"locked 5 images, 7 image/arches, [0-9.]+ kB\n  \S+/list\.txt\.lock\.yaml\n", locked.stdout)
    assert run("save", *arguments, "-lock").code == 0
    assert Path("list.txt.lock.yaml").read_bytes() == lock
    assert run("save", *arguments, "-locked", "-d", "again.tar.gz").code == 0
    assert Path("again.tar.gz").read_bytes() == Path("saved-images.tar.gz").read_bytes()


def test_a_lock_that_cannot_be(registry: Registry, work: Path) -> None:
    """No lock of some images only; one of schema 1 needs the copy; standard input has no place for one."""
    good, old = push_kind(registry, "oci-index", "locked/good"), push_kind(registry, "schema1", "locked/old")
    plain = ("-tls-verify=false", "-f")
    Path("list.txt").write_text(f"{good.reference}\n{registry.host}/locked/none:v1\n")
    result = run("lock", *plain, "list.txt")
    assert (result.code, Path("list.txt.lock.yaml").exists()) == (1, False)
    assert "not found" in result.stdout
    Path("old.txt").write_text(f"{good.reference}\n{old.reference}\n")
    result = run("lock", *plain, "old.txt")
    assert (result.code, Path("old.txt.lock.yaml").exists()) == (1, False)
    assert f"{old.reference} is a Docker schema 1 image, which is converted as it is saved" in result.stderr
    result = run("lock", *plain, "-", stdin=good.reference)
    assert result.code == 2 and "standard input has no place for it" in result.stderr
    assert run("lock").code == 2
