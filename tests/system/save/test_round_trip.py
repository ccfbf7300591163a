"""What is saved is what the registry has, for every kind of image, read with other people's tools."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import FOREIGN_VARIABLES
from tests.support.kinds import ALL_KINDS, push_kind
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import Result, run, skopeo
from tests.system.save.saving import (
    ARCHIVE,
    CACHE,
    LIST,
    PLAIN,
    SOURCE_DIGEST,
    Unpacked,
    command,
    identity,
    inside,
    lines,
    load,
    prepared,
    save,
    saved,
    unpack,
)

SCHEMA2 = tuple(kind for kind in ALL_KINDS if kind != "schema1")


@dataclass(frozen=True)
class Saved:
    """A bundle of one image of every kind."""

    images: dict[str, PushedImage]
    folder: Path
    unpacked: Unpacked
    result: Result

    def notes(self, kind: str) -> list[str]:
        """The log lines about an image."""
        return [line for line in self.result.stderr.splitlines() if f"/kinds/{kind}:v1" in line]


@pytest.fixture(scope="module")
def folder(registries_folder: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN_VARIABLES:
            patch.delenv(name, raising=False)
        folder = Path(tempfile.mkdtemp(prefix="round-trip-", dir=registries_folder))  # a worker may come back to this module
        patch.setenv("HOME", str(folder))
        yield folder


def save_every_kind(folder: Path, images: dict[str, PushedImage], *arguments: str) -> Saved:
    folder.mkdir()
    (folder / "list.txt").write_text(lines(list(images.values())))
    result = run("save", "-f", "list.txt", PLAIN, "-j", "6", *arguments, cwd=folder)
    assert result.code == 0, result
    return Saved(images, folder, unpack(folder / ARCHIVE, folder / "unpacked"), result)


@pytest.fixture(scope="module")
def whole(folder: Path, every_kind: dict[str, PushedImage]) -> Saved:
    return save_every_kind(folder / "whole", every_kind, "-a", "all")


@pytest.fixture(scope="module")
def chosen(folder: Path, every_kind: dict[str, PushedImage]) -> Saved:
    """With the default architectures."""
    return save_every_kind(folder / "chosen", every_kind)


def test_a_second_run_repeats_nothing(registry: Registry, chosen: Saved) -> None:
    """One manifest request a tag, and that is all; of every kind of image."""
    with inside(chosen.folder):
        before = identity(ARCHIVE), identity(Path("saved-images.tar.gz.sha256"))
        registry.clear_requests()
        result = command("save", "-f", LIST, PLAIN, "-j", "6")
        assert (identity(ARCHIVE), identity(Path("saved-images.tar.gz.sha256"))) == before
    assert result.code == 0, result
    asked = [f"{request.kind} {request.repository} {request.reference}" for request in registry.requests() if request.kind]
    assert sorted(asked) == sorted(f"manifests {each.repository} v1" for each in chosen.images.values())
    assert "unchanged since the last run" in result.stdout
    assert "fetched" not in result.stdout.replace("fetched 0 B", "")
    assert "copying" not in result.stderr
    assert "writing" not in result.stderr


@pytest.mark.parametrize("kind", SCHEMA2)
def test_with_all_architectures_nothing_changes(whole: Saved, kind: str) -> None:
    image = whole.images[kind]
    assert whole.unpacked.raw(image.reference) == image.raw
    entry = whole.unpacked.entry(image.reference)
    assert (entry["digest"], entry["size"]) == (image.digest, len(image.raw))
    assert SOURCE_DIGEST not in entry["annotations"]
    if kind != "no-media-type":
        assert entry["mediaType"] == image.media_type
    assert whole.unpacked.closure(image.digest) == set(image.contents)
    for digest, content in image.contents.items():
        assert whole.unpacked.blobs[digest] == content


@pytest.mark.parametrize("kind", SCHEMA2)
def test_each_platform_keeps_its_digest(chosen: Saved, kind: str) -> None:
    image = chosen.images[kind]
    here = chosen.unpacked.manifests(chosen.unpacked.entry(image.reference)["digest"])
    assert here
    for each in image.platforms:
        wanted = each.platform.architecture in ("amd64", "arm64", "") or each.is_attestation
        assert (each.manifest in here) == wanted, each.platform
        if wanted:
            assert chosen.unpacked.blobs[each.manifest] == each.raw
            assert chosen.unpacked.blobs[each.config] == each.raw_config
            for digest in each.fetched_layers:
                assert chosen.unpacked.blobs[digest] == image.contents[digest]
            assert not any(digest in chosen.unpacked.blobs for digest in each.foreign)


SUBSETS = {"oci-index": ["amd64", "arm64"], "arm-variants": ["arm64"]}


@pytest.mark.parametrize("kind", [kind for kind in SCHEMA2 if kind not in (*SUBSETS, "nested-index")])
def test_an_index_of_which_all_is_asked_for_does_not_change(chosen: Saved, kind: str) -> None:
    image = chosen.images[kind]
    assert chosen.unpacked.raw(image.reference) == image.raw
    assert SOURCE_DIGEST not in chosen.unpacked.entry(image.reference)["annotations"]


@pytest.mark.parametrize("kind", SUBSETS)
def test_a_subset_repeats_the_descriptors_verbatim(chosen: Saved, kind: str) -> None:
    image = chosen.images[kind]
    entry = chosen.unpacked.entry(image.reference)
    source, made = json.loads(image.raw), json.loads(chosen.unpacked.raw(image.reference))
    assert entry["annotations"][SOURCE_DIGEST] == image.digest != entry["digest"]
    assert entry["mediaType"] == image.media_type
    kept = [each for each in source["manifests"] if each["platform"]["architecture"] in SUBSETS[kind]]
    assert made == {**source, "manifests": kept}
    assert [json.dumps(each) for each in made["manifests"]] == [json.dumps(each) for each in kept]


def test_a_subset_of_a_nested_index_leads_to_nothing_else(chosen: Saved, registry: Registry) -> None:
    """skopeo reads it from the layout: amd64 at the top, arm64 in an index of its own, s390x nowhere."""
    image = chosen.images["nested-index"]
    made = json.loads(chosen.unpacked.raw(image.reference))
    source = json.loads(image.raw)
    assert made["manifests"][0] == source["manifests"][0]
    inner = made["manifests"][1]
    assert inner == {**source["manifests"][1], "digest": inner["digest"], "size": inner["size"]}
    content = chosen.unpacked.blobs[inner["digest"]]
    assert len(content) == inner["size"]
    assert [each["platform"]["architecture"] for each in json.loads(content)["manifests"]] == ["arm64"]
    assert chosen.unpacked.entry(image.reference)["annotations"][SOURCE_DIGEST] == image.digest


def test_a_subset_takes_its_attestations_along(registry: Registry, every_kind: dict[str, PushedImage]) -> None:
    image = every_kind["attestations"]
    saved([image], "-a", "arm64")
    unpacked = unpack()
    about = image.platform("linux/arm64").manifest
    source = json.loads(image.raw)["manifests"]
    subject = "vnd.docker.reference.digest"
    kept = [each for each in source if about in (each["digest"], each.get("annotations", {}).get(subject))]
    assert len(kept) == 2
    assert json.loads(unpacked.raw(image.reference))["manifests"] == kept
    assert [each["Arch"] for each in unpacked.listed(image.reference)["Images"]] == ["arm64"], (
        "the 2023 load knows no attestations"
    )
    assert unpacked.listed(image.reference)["ArchList"] == ["arm64"]


def test_pinned_by_digest_the_whole_is_kept(registry: Registry, every_kind: dict[str, PushedImage]) -> None:
    image = every_kind["oci-index"]
    tagged = f"{image.reference}@{image.digest}"
    result = saved([image.pinned, tagged], "-a", "amd64")
    unpacked = unpack()
    assert unpacked.names == [image.pinned, tagged]
    for name in unpacked.names:
        assert unpacked.raw(name) == image.raw
        assert len(unpacked.manifests(unpacked.entry(name)["digest"])) == 3
    assert unpacked.images_list["List"][0]["Tag"] == image.digest
    assert unpacked.images_list["List"][1]["Tag"] == "v1"
    assert f"[M_ID:1] {image.pinned}: pinned by digest" in result.stderr
    assert "linux/arm64, linux/s390x" in result.stderr


def test_a_single_image_pinned_by_digest_is_kept_whatever_its_platform(every_kind: dict[str, PushedImage]) -> None:
    image = every_kind["oci-index"]
    only = f"{image.host}/{image.repository}@{image.platform('linux/s390x').manifest}"
    result = saved([only], "-a", "amd64")
    unpacked = unpack()
    assert unpacked.raw(only) == image.platform("linux/s390x").raw
    assert "linux/s390x" in result.stderr


def test_schema1_is_converted_with_a_warning(whole: Saved) -> None:
    image = whole.images["schema1"]
    entry = whole.unpacked.entry(image.reference)
    assert entry["annotations"][SOURCE_DIGEST] == image.digest != entry["digest"]
    manifest = json.loads(whole.unpacked.raw(image.reference))
    assert manifest["schemaVersion"] == 2
    config = json.loads(whole.unpacked.blobs[manifest["config"]["digest"]])
    diff_ids = config["rootfs"]["diff_ids"]
    assert len(diff_ids) == len(manifest["layers"]) == len(image.platforms[0].layers)
    [warning] = [line for line in whole.notes("schema1") if "schema 1" in line]
    assert "WARN" in warning
    assert "digest changes" in warning


def test_what_an_image_lacks_is_a_note(chosen: Saved) -> None:
    [note] = [line for line in chosen.notes("windows") if "not made for" in line]
    assert "INFO" in note
    assert "not made for arm64" in note


def test_no_two_platforms_share_a_folder(whole: Saved) -> None:
    for item in whole.unpacked.images_list["List"]:
        folders = [image["Folder"] for image in item["Images"]]
        assert len(set(folders)) == len(folders)
        assert all(folder.startswith("images/") and ":" not in folder for folder in folders)


def test_the_images_list(whole: Saved) -> None:
    """The shape that existing loaders read, in the order of the list, keys included."""
    document = whole.unpacked.images_list
    assert list(document) == ["List", "Version", "SavedTime"]
    assert [f"{item['Source']}:{item['Tag']}" for item in document["List"]] == [i.reference for i in whole.images.values()]
    assert document["SavedTime"] == "2024-03-01T12:00:00Z"
    for item in document["List"]:
        assert list(item) == ["Source", "Tag", "ArchList", "Images"]
        for image in item["Images"]:
            assert list(image) == ["Digest", "Arch", "OS", "OsVersion", "Variant", "Folder"]
            assert all(isinstance(value, str) for value in image.values())
    image = whole.images["arm-variants"]
    listed = whole.unpacked.listed(image.reference)
    assert listed["ArchList"] == ["arm", "arm64"]
    assert listed["Images"][0] == {
        "Digest": image.platforms[0].manifest,
        "Arch": "arm",
        "OS": "linux",
        "OsVersion": "",
        "Variant": "v6",
        "Folder": f"images/{image.host.replace(':', '+')}/kinds/arm-variants+v1/linux-arm-v6",
    }
    windows = whole.unpacked.listed(whole.images["windows"].reference)["Images"]
    assert [(each["OS"], each["OsVersion"]) for each in windows] == [
        ("linux", ""),
        ("windows", "10.0.17763.5458"),
        ("windows", "10.0.20348.2322"),
    ]
    assert whole.unpacked.listed(whole.images["helm-chart"].reference)["ArchList"] == []


# skopeo 1.9.3 finds nothing of a Docker media type by its name in a layout; in the image's own folder it does.
BY_NAME = [kind for kind in SCHEMA2 if kind != "windows" and not kind.startswith("docker-")]


def test_skopeo_reads_each_image_by_its_name(whole: Saved, chosen: Saved) -> None:
    for bundle in (whole, chosen):
        for kind in BY_NAME:
            reference = bundle.images[kind].reference
            shown = skopeo("inspect", "--raw", f"oci:{bundle.unpacked.root}:{reference}")
            assert shown.stdout.encode() == bundle.unpacked.raw(reference), (kind, shown)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_skopeo_reads_each_image_in_its_own_folder(chosen: Saved, kind: str) -> None:
    reference = chosen.images[kind].reference
    shown = skopeo("inspect", "--raw", f"oci:{chosen.unpacked.folder(reference)}")
    assert shown.stdout.encode() == chosen.unpacked.raw(reference), shown
    for image in chosen.unpacked.listed(reference)["Images"]:
        shown = skopeo("inspect", "--raw", f"oci:{chosen.unpacked.root / image['Folder']}")
        assert shown.stdout.encode() == chosen.unpacked.blobs[image["Digest"]], shown


# skopeo copies no index inside an index; and a foreign layer it would fetch from its URL.
PUSHED_BACK = [kind for kind in ALL_KINDS if kind not in ("nested-index", "windows")]


@pytest.mark.parametrize("kind", PUSHED_BACK)
def test_skopeo_pushes_it_back_bit_identical(whole: Saved, other_registry: Registry, kind: str) -> None:
    reference = whole.images[kind].reference
    there = f"docker://{other_registry.host}/back/{kind}:v1"
    source = f"oci:{whole.unpacked.folder(reference)}"
    pushed = skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", source, there)
    assert pushed.code == 0, pushed
    with other_registry.client() as client:
        assert client.manifest(f"back/{kind}", "v1").body == whole.unpacked.raw(reference)
        for digest in whole.unpacked.manifests(whole.unpacked.entry(reference)["digest"]):
            assert client.manifest(f"back/{kind}", digest).body == whole.unpacked.blobs[digest]


def test_the_cache_itself_reads_as_the_bundle(every_kind: dict[str, PushedImage]) -> None:
    image = every_kind["oci-index"]
    saved([image])
    by_name = skopeo("inspect", "--raw", f"oci:{CACHE}:{image.reference}")
    assert by_name.stdout.encode() == unpack().raw(image.reference)
    assert load(CACHE / "saved-images-list.json") == unpack().images_list


@pytest.mark.parametrize(
    ("architectures", "expected"),
    [
        ("arm", ["linux/arm/v6", "linux/arm/v7"]),
        ("arm/v7", ["linux/arm/v7"]),
        ("armhf,aarch64", ["linux/arm/v7", "linux/arm64/v8"]),
        ("arm64,arm/v6", ["linux/arm/v6", "linux/arm64/v8"]),
        ("arm64/v8", ["linux/arm64/v8"]),
    ],
)
def test_arm_variants(every_kind: dict[str, PushedImage], architectures: str, expected: list[str]) -> None:
    image = every_kind["arm-variants"]
    prepared([image], "-a", architectures)
    unpacked = unpack()
    by_digest = {each.manifest: str(each.platform) for each in image.platforms}
    assert [by_digest[digest] for digest in unpacked.manifests(unpacked.entry(image.reference)["digest"])] == expected


def test_operating_systems(every_kind: dict[str, PushedImage]) -> None:
    image = every_kind["windows"]
    saved([image], "-os", "windows", "-a", "all")
    unpacked = unpack()
    assert [each["OS"] for each in unpacked.listed(image.reference)["Images"]] == ["windows", "windows"]
    result = save([image], "-os", "linux", "-a", "arm64")
    assert result.code == 3
    assert "it has linux/amd64, windows/amd64 10.0.17763.5458" in result.stdout


def test_source_registry(registry: Registry) -> None:
    """``-s`` changes where an image is fetched, not what it is called."""
    official = push_kind(registry, "oci-single", "mirror/library/nginx", "latest")
    other = push_kind(registry, "docker-single", "mirror/team/app", "1.0")
    saved(["nginx", "registry.example.com:5000/team/app:1.0"], "-s", f"{registry.host}/mirror")
    unpacked = unpack()
    assert unpacked.names == ["docker.io/library/nginx:latest", "registry.example.com:5000/team/app:1.0"]
    assert unpacked.raw("docker.io/library/nginx:latest") == official.raw
    assert unpacked.raw("registry.example.com:5000/team/app:1.0") == other.raw
    assert [item["Source"] for item in unpacked.images_list["List"]] == [
        "docker.io/library/nginx",
        "registry.example.com:5000/team/app",
    ]
    assert (unpacked.root / "images/docker.io/library/nginx+latest/linux-amd64/index.json").is_file()


def test_what_a_list_may_hold(registry: Registry) -> None:
    """Comments, blanks, CRLF, a byte order mark, spaces, duplicates, no tag."""
    first = push_kind(registry, "oci-single", "lists/a/b/c/first", "latest")
    second = push_kind(registry, "docker-single", "lists/second", "1.0")
    text = f"\ufeff# images\r\n\r\n  {second.reference}\t\r\n// more\r\n{second.reference}\n   \n"
    Path("images.txt").write_bytes(f"{text}{registry.host}/{first.repository}\n{first.reference}".encode())
    result = run("save", "-f", "images.txt", PLAIN)
    assert result.code == 0, result
    assert unpack().names == [second.reference, first.reference]
    assert "saved 2 of 2 images" in result.stdout
