"""From a bundle into a registry: every kind, bit for bit; reruns, choices, names, and what is refused."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kinds import ALL_KINDS, push_kind
from tests.support.registry import Registry, RegistryFactory
from tests.support.run import Result, run
from tests.system.load.loading import FAILED, PLAIN, Bundle, assert_holds, command, json_of, load, loaded, sent


@pytest.fixture(scope="module")
def target(registries_folder: Path) -> Iterator[Registry]:
    """Where all volumes were loaded."""
    with Registry(Path(tempfile.mkdtemp(prefix="load-target-", dir=registries_folder))) as started:
        yield started


@pytest.fixture(scope="module")
def first(volumes: Bundle, target: Registry, registries_folder: Path) -> Result:
    """The load of every kind, by the name of a volume in the middle, in a process of its own."""
    home = str(registries_folder)
    result = run(
        *("load", "-s", volumes.files[2], "-d", target.host, PLAIN, "-j", "4"),
        cwd=registries_folder,
        env={"HOME": home, "XDG_RUNTIME_DIR": home, "XDG_STATE_HOME": f"{home}/state", "TMPDIR": home},
    )
    assert result.code == 0, result
    return result


@pytest.mark.parametrize("kind", [kind for kind in ALL_KINDS if kind != "schema1"])
def test_every_kind_arrives_bit_for_bit(first: Result, volumes: Bundle, target: Registry, kind: str) -> None:
    assert_holds(target, volumes.images[kind])


def test_a_converted_image_arrives_as_it_was_saved(first: Result, volumes: Bundle, target: Registry) -> None:
    image = volumes.images["schema1"]
    [listed] = [each for each in json_of("ls", volumes.path)["images"] if each["reference"] == image.reference]
    with target.client() as client:
        assert client.manifest(image.repository, "v1").headers["docker-content-digest"] == listed["digest"]


def test_a_rerun_sends_nothing(first: Result, volumes: Bundle, target: Registry) -> None:
    target.clear_requests()
    result = loaded(volumes, target.host, "-j", "8")
    assert f"loaded 21 of 21 images into {target.host}: 21 were there already\nsent 0 B" in result.stdout
    assert sent(target) == []
    # Each blob is proved by its last byte.
    assert {request.size for request in target.blob_gets} == {1}


def test_saving_from_there_gives_the_same_blobs(first: Result, volumes: Bundle, target: Registry, work: Path) -> None:
    names = [each["reference"] for each in json_of("ls", volumes.path)["images"]]
    Path("list.txt").write_text("\n".join(names))
    saved = command("save", "-f", "list.txt", PLAIN, "-a", "all", "-s", target.host, "-j", "6", "-d", "again.tar.gz")
    assert saved.code == 0, saved
    before, after = json_of("ls", volumes.path), json_of("ls", "again.tar.gz")
    assert after["images"] == before["images"]
    assert (after["blobs"], after["size"]) == (before["blobs"], before["size"])


def test_the_registry_can_be_compared(first: Result, volumes: Bundle, target: Registry) -> None:
    result = command("verify", volumes.path, "-registry", target.host, PLAIN)
    assert (result.code, result.stdout) == (0, "all is there, bit for bit: 21 images\n")


def test_the_log_says_which_image(first: Result) -> None:
    assert "[M_ID:1] pushing " in first.stderr
    assert "[M_ID:21] pushed " in first.stderr


def test_shared_layers_are_sent_once(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    loaded(small, registry.host, "-j", "3")
    uploads = [request for request in registry.requests() if request.method == "PUT" and "/blobs/uploads/" in request.path]
    shared = small.images["shared-one"].layers & small.images["shared-two"].layers
    assert shared
    objects = [
        digest
        for image in small.images.values()
        for digest in image.contents
        if digest in image.layers or digest in image.configs
    ]
    assert len(uploads) == len(set(objects))
    for image in small.images.values():
        assert_holds(registry, image)


@pytest.mark.parametrize("how", ["folder", "parent", "cache"])
def test_from_a_folder(small: Bundle, fresh_registry: RegistryFactory, work: Path, how: str) -> None:
    registry = fresh_registry()
    unpacked = work / "unpacked"
    unpacked.mkdir()
    assert run("-xf", str(small.path), "-C", str(unpacked), command=("tar",)).code == 0
    place = {"folder": unpacked / "saved-image-cache", "parent": unpacked, "cache": small.cache}[how]
    loaded(place, registry.host, "-compress=dir")
    for image in small.images.values():
        assert_holds(registry, image)


def test_below_a_path_and_only_some(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    image = small.images["shared-two"]
    Path("list.txt").write_text(f"# only this\n{image.reference}\n")
    result = loaded(small, f"{registry.host}/mirror/deep", "-f", "list.txt")
    assert "loaded 1 of 1 images" in result.stdout
    assert_holds(registry, image, f"mirror/deep/{image.repository}")
    with registry.client() as client:
        assert b"docker-list" not in client.request("GET", "/v2/_catalog").body


def test_the_failed_list_goes_with_f(small: Bundle, fresh_registry: RegistryFactory) -> None:
    """And is not removed while it is the list: it may be somebody's own."""
    FAILED.write_text(f"{small.images['shared-one'].reference}\n")
    registry = fresh_registry()
    assert "loaded 1 of 1 images" in loaded(small, registry.host, "-f", FAILED).stdout
    assert FAILED.exists()
    loaded(small, registry.host)
    assert not FAILED.exists()


def test_images_by_digest(registry: Registry, fresh_registry: RegistryFactory) -> None:
    one = push_kind(registry, "docker-single", "pinned/one")
    two = push_kind(registry, "oci-index", "pinned/two")
    Path("list.txt").write_text(f"{one.pinned}\n{registry.host}/pinned/two:v1@{two.digest}\n")
    assert command("save", "-f", "list.txt", PLAIN).code == 0
    target = fresh_registry()
    loaded(Path("saved-images.tar.gz"), target.host)
    assert_holds(target, one, tag=one.digest)
    assert_holds(target, two)
    assert "2 were there already" in loaded(Path("saved-images.tar.gz"), target.host).stdout
    assert command("verify", "saved-images.tar.gz", "-registry", target.host, PLAIN).code == 0


def test_what_is_listed_must_be_there(small: Bundle) -> None:
    Path("list.txt").write_text("nginx\n")
    result = load(small, "127.0.0.1:1", "-f", "list.txt")
    assert (result.code, FAILED.exists()) == (2, False)
    assert "does not hold docker.io/library/nginx:latest" in result.stderr


def test_a_tag_that_moved_is_put_right(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    loaded(small, registry.host)
    one, two = small.images["shared-one"], small.images["docker-list"]
    with registry.client() as client:
        client.put_manifest(one.repository, "v1", one.platforms[0].raw, one.platforms[0].media_type)
    compared = command("verify", small.path, "-registry", registry.host, PLAIN, "-json")
    assert compared.code == 1
    registry.clear_requests()
    result = loaded(small, registry.host)
    assert "2 were there already" in result.stdout
    assert not [request for request in sent(registry) if "/blobs/" in request]
    assert_holds(registry, one)
    assert_holds(registry, two)


def test_a_plan_changes_nothing(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    result = loaded(small, registry.host, "-dry-run")
    assert "to load            3 images" in result.stdout
    image = small.images["docker-list"]
    assert f"{image.reference} -> {registry.host}/{image.repository}:v1" in result.stdout
    assert sent(registry) == []


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-compress=zstd"], "saved-images.tar.gz is gzip"),
        (["-compress=dir"], "saved-images.tar.gz is gzip"),
        (["-compress=xz"], '-compress: invalid value "xz"'),
        (["-repo-type=quay"], '-repo-type: invalid value "quay"'),
        (["-j", "0"], "use a number from 1 to 20"),
        (["stray"], "'stray' is one SOURCE too many"),
        (["-tls-verfy"], "did you mean -tls-verify?"),
        (["-repo-type=harbor", "-default-project=UPPER"], "is not a name of a project"),
        (["-authfile=nowhere.json"], "there is no such file"),
    ],
)
def test_bad_usage(small: Bundle, arguments: list[str], words: str) -> None:
    result = load(small, "127.0.0.1:1", *arguments)
    assert result.code == 2
    assert words in result.stderr


@pytest.mark.parametrize("arguments", [["-s", "a.tar.gz"], ["-d", "r.io"], ["-s", "a", "-d", "https://r.io"], []])
def test_what_must_be_said(arguments: list[str]) -> None:
    assert command("load", *arguments).code == 2


def test_help() -> None:
    result = command("load", "-h")
    assert (result.code, result.stderr) == (0, "")
    for flag in ("-s", "-d", "-compress", "-j", "-o", "-debug", "-repo-type", "-default-project", "-harbor-https"):
        assert f"  {flag}" in result.stdout


def test_nothing_there() -> None:
    result = load(Path("nowhere.tar.gz"), "127.0.0.1:1")
    assert (result.code, FAILED.exists()) == (3, False)
    assert "there is no nowhere.tar.gz, and no nowhere.tar.gz.part0" in result.stderr


def test_a_missing_volume(volumes: Bundle, work: Path) -> None:
    copy = volumes.copied(work / "copy")
    copy.files[3].unlink()
    result = load(copy, "127.0.0.1:1")
    assert result.code == 3
    assert ".part3" in result.stderr


def test_two_images_of_one_name(registry: Registry, fresh_registry: RegistryFactory, work: Path) -> None:
    """``a.io/x:1`` and ``b.io/x:1`` go to the same place: the first has it, the second is told."""
    other = fresh_registry()
    push_kind(registry, "oci-single", "same/name")
    push_kind(other, "docker-single", "same/name")
    Path("list.txt").write_text(f"{registry.host}/same/name:v1\n{other.host}/same/name:v1\n")
    assert command("save", "-f", "list.txt", PLAIN, "-a", "all").code == 0
    target = fresh_registry()
    result = load(Path("saved-images.tar.gz"), target.host)
    assert result.code == 1
    assert f"is where {registry.host}/same/name:v1 goes, which is another image" in result.stdout
    assert FAILED.read_text() == f"{other.host}/same/name:v1\n"


def test_the_summary_for_programs(small: Bundle, fresh_registry: RegistryFactory) -> None:
    target = fresh_registry()
    planned = json.loads(loaded(small, target.host, "-dry-run", "-json").stdout)
    assert len(planned["missing"]) == 3 and planned["size"] > 0 and planned["failed"] == {}
    first = json.loads(loaded(small, target.host, "-json").stdout)
    again = json.loads(loaded(small, target.host, "-json").stdout)
    assert sorted(first["pushed"]) == sorted(again["there"]) and not first["there"] and not again["pushed"]
    assert first["sent"] > again["sent"] == 0 and first["seconds"] > 0
    assert Path(first["receipt"]).is_file()
    assert re.search(r"\nsent [0-9.]+ k?B in [0-9.]+ s(, [0-9.]+ .?B/s)?\n", loaded(small, f"{target.host}/other").stdout)


def test_verify_shows_how_far_it_is(small: Bundle) -> None:
    result = run("verify", str(small.path), "-progress", "plain")
    assert result.code == 0, result
