"""Which images a source holds, how they are called, and what each needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ArchiveError, ContentError
from pipeline.core.oci import MAX_MANIFEST_SIZE, Digest
from pipeline.reader.contents import BundledImage, Contents, open_contents
from pipeline.storage.image_layout import SUBJECT
from tests.support.images import Content, Image, Index, attestation, foreign_layer, image, index, layer
from tests.support.layouts import blob_file, contents_of, write_layout
from tests.support.signatures import referrer

SHARED = layer("shared")
AMD64, ARM64 = (image(f"linux/{each}", [SHARED, layer(each)]) for each in ("amd64", "arm64"))
BOTH = index(AMD64, ARM64)


def opened(folder: Path, **images: Image | Index) -> Contents:
    """The contents of a layout with these images, under ``r.io/<name>:v1``."""
    return open_contents(write_layout(folder / "layout", {f"r.io/{name}:v1": made for name, made in images.items()}))


def digests(*made: Image | Index) -> list[str]:
    return list(dict.fromkeys(content.digest for each in made for content in contents_of(each)))


# Names


def test_images_in_the_order_of_the_index(tmp_path: Path) -> None:
    contents = opened(tmp_path, b=BOTH, a=AMD64)
    assert [(str(each.reference), each.m_id) for each in contents.bundled] == [("r.io/b:v1", 1), ("r.io/a:v1", 2)]
    assert [str(descriptor.digest) for _, descriptor in contents.images] == [BOTH.content.digest, AMD64.manifest.digest]


@pytest.mark.parametrize(
    "annotation, others, name",
    [
        ("r.io/team/app:1", {}, "r.io/team/app:1"),
        ("nginx:1.25", {}, "docker.io/library/nginx:1.25"),
        ("v1", {}, "localhost/my-layout:v1"),
        ("v1", {"io.containerd.image.name": "r.io/app:v1"}, "r.io/app:v1"),
        ("", {}, f"localhost/my-layout@{AMD64.manifest.digest}"),
    ],
)
def test_what_an_entry_is_called(tmp_path: Path, annotation: str, others: dict[str, str], name: str) -> None:
    folder = write_layout(tmp_path / "My_Layout", {annotation: AMD64}, **others)
    assert [str(each.reference) for each in open_contents(folder).bundled] == [name]


def test_an_entry_that_names_no_image_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    folder = write_layout(tmp_path, {"r.io/BIG/app:v1": AMD64, "r.io/app:v1": ARM64})
    contents = open_contents(folder)
    assert [str(each.reference) for each in contents.bundled] == ["r.io/app:v1"]
    [problem] = contents.problems
    assert problem.startswith("'r.io/BIG/app:v1' ")


@pytest.mark.parametrize("entry", [{}, None, "text", {"mediaType": "x", "digest": "sha256:0", "size": 1}, {"digest": 1}])
def test_an_entry_that_is_broken_is_a_problem(tmp_path: Path, entry: Any) -> None:
    folder = write_layout(tmp_path, {"r.io/app:v1": AMD64})
    document = json.loads((folder / "index.json").read_text())
    document["manifests"].append(entry)
    (folder / "index.json").write_text(json.dumps(document))
    contents = open_contents(folder)
    assert len(contents.bundled) == len(contents.problems) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "[" * 100_000])
def test_an_index_that_is_no_object(tmp_path: Path, text: str) -> None:
    folder = write_layout(tmp_path, {"r.io/app:v1": AMD64})
    (folder / "index.json").write_text(text)
    with pytest.raises(ArchiveError, match=r"index\.json in .* is damaged: it holds no JSON object"):
        open_contents(folder)


def test_a_folder_that_holds_none(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no bundle"):
        open_contents(tmp_path)
    write_layout(tmp_path, {})
    with pytest.raises(ArchiveError, match="holds no image"):
        open_contents(tmp_path)


# What an image needs


def test_each_object_once_in_order_of_first_use(tmp_path: Path) -> None:
    contents = opened(tmp_path, app=BOTH)
    [(_, top)] = contents.images
    assert list(map(str, contents.closure(top))) == digests(BOTH)


def test_a_foreign_layer_is_not_needed(tmp_path: Path) -> None:
    made = image("linux/amd64", [foreign_layer("base"), layer("own")])
    contents = opened(tmp_path, app=made)
    [(_, top)] = contents.images
    assert list(map(str, contents.closure(top))) == digests(made)


def test_platforms(tmp_path: Path) -> None:
    """A manifest alone is asked for its config; one in an index is not."""
    contents = opened(tmp_path, both=index(AMD64, ARM64, attestation(AMD64)), single=ARM64)
    found = [[str(each.platform) for each in contents.platforms(descriptor)] for _, descriptor in contents.images]
    assert found == [["linux/amd64", "linux/arm64", "unknown/unknown"], ["linux/arm64"]]


def test_what_is_missing_damaged_or_far_too_large(tmp_path: Path) -> None:
    contents = opened(tmp_path, app=AMD64)
    digest = Digest.parse(AMD64.config.digest)
    file = blob_file(tmp_path / "layout", AMD64.config.digest)
    assert contents.read(digest) == AMD64.config.data
    file.write_bytes(AMD64.config.data[:-1] + b"!")
    with pytest.raises(ContentError, match="does not match its digest"):
        contents.read(digest)
    with file.open("r+b") as stream:
        stream.truncate(MAX_MANIFEST_SIZE + 1)
    with pytest.raises(ContentError, match="more than any manifest or config in use"):
        contents.read(digest)
    file.unlink()
    with pytest.raises(ContentError, match="is not in"):
        contents.read(digest)


# What refers to images


def test_families(tmp_path: Path) -> None:
    """An SBOM of an image, its signature, and one that refers to nothing here."""
    sbom = referrer(AMD64.manifest.descriptor(), "application/spdx+json", [Content("text/plain", b"sbom")])
    signature = referrer(sbom.manifest.descriptor(), "application/x", [Content("text/plain", b"signature")])
    stray = referrer(ARM64.manifest.descriptor(), "application/x", [Content("text/plain", b"stray")])
    folder = write_layout(tmp_path, {"r.io/app:v1": AMD64})
    for made, subject in ((sbom, AMD64.manifest), (signature, sbom.manifest), (stray, ARM64.manifest)):
        add(folder, made, subject)
    contents = open_contents(folder)

    def names(held: tuple[BundledImage, ...]) -> list[str]:
        return [str(each.descriptor.digest) for each in held]

    families = {str(head.descriptor.digest): names(family) for head, family in contents.families.items()}
    assert families == {
        AMD64.manifest.digest: [sbom.manifest.digest, signature.manifest.digest],
        stray.manifest.digest: [],
    }


def add(folder: Path, made: Image, subject: Content) -> None:
    """One more entry, which refers to ``subject``, as a save writes it."""
    document = json.loads((folder / "index.json").read_text())
    name = f"r.io/app@{made.manifest.digest}"
    other = write_layout(folder / "other", {name: made}, **{SUBJECT: subject.digest})
    document["manifests"] += json.loads((other / "index.json").read_text())["manifests"]
    for file in other.glob("blobs/sha256/*"):
        file.rename(folder / "blobs" / "sha256" / file.name)
    (folder / "index.json").write_text(json.dumps(document))


# From a list alone, as others write it


def test_an_image_of_a_list_becomes_an_index_of_its_platforms(tmp_path: Path) -> None:
    folder = write_layout(tmp_path, {"a": AMD64, "b": ARM64})
    (folder / "index.json").unlink()
    (folder / "blobs").rename(folder / "share")
    images = [
        {"Digest": made.manifest.digest, "Arch": arch, "OS": "linux", "Folder": "gone"}
        for arch, made in (("amd64", AMD64), ("arm64", ARM64))
    ]
    items = [{"Source": "r.io/app", "Tag": "v1", "Images": images}, {"Source": "r.io/one", "Tag": "v2", "Images": images[:1]}]
    (folder / "saved-images-list.json").write_text(json.dumps({"List": items, "Version": "v1.1.0"}))
    contents = open_contents(folder)
    assert [name for name, _ in contents.images] == ["r.io/app:v1", "r.io/one:v2"]
    [(_, both), (_, one)] = contents.images
    platforms = [(str(each.platform), str(each.descriptor.digest)) for each in contents.platforms(both)]
    assert platforms == [("linux/amd64", AMD64.manifest.digest), ("linux/arm64", ARM64.manifest.digest)]
    assert str(one.digest) == AMD64.manifest.digest, "one manifest alone stays what it is"
    assert Digest.of(b"".join(contents.open_blob(both.digest))) == both.digest
