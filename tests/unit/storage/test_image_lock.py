"""The lock file: what is written is read back, versions, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.core.oci import Descriptor, Digest
from pipeline.storage import image_lock
from pipeline.storage.image_lock import LockedImage, LockedPlatform

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer(name: str, size: int = 10) -> Descriptor:
    return Descriptor(LAYER, Digest.of(name.encode()), size)


def locked(position: int, *layers: Descriptor) -> LockedImage:
    size = 100 + sum(each.size for each in layers)
    digest = Digest.of(str(position).encode())
    platform = LockedPlatform(platform="linux/amd64", digest=digest, size=size, layers=layers)
    return LockedImage(asked="amd64", fetched_from="x", source=digest, digest=digest, platforms=(platform,), position=position)


def test_what_is_written_is_read_back_in_the_order_of_the_list(tmp_path: Path) -> None:
    images = {"b": locked(1, layer("one"), layer("two")), "a": locked(2, layer("two", 10))}
    (tmp_path / "x.lock.yaml").write_bytes(image_lock.dump("x", images))
    found = image_lock.read(tmp_path / "x.lock.yaml")
    assert dict(found.images) == images and list(found.images) == ["b", "a"] and found.version == 2
    assert image_lock.dump("x", dict(reversed(images.items()))) == image_lock.dump("x", images)


def test_layers_whose_digests_begin_alike_are_named_in_full(tmp_path: Path) -> None:
    alike = [Descriptor(LAYER, Digest("sha256", "0" * 63 + last), 5) for last in "12"]
    (tmp_path / "x.lock.yaml").write_bytes(image_lock.dump("x", {"a": locked(1, *alike)}))
    assert image_lock.read(tmp_path / "x.lock.yaml").images["a"].platforms[0].layers == tuple(alike)


def test_a_lock_of_version_1_is_read_and_is_no_base(tmp_path: Path) -> None:
    digest = Digest.of(b"")
    entry = f"image: a, asked: all, from: a, source: '{digest}', digest: '{digest}', platforms: []"
    (tmp_path / "x.lock.yaml").write_text(f"version: 1\nbundle: x\nimages: [{{{entry}}}]\n")
    found = image_lock.read(tmp_path / "x.lock.yaml")
    assert found.images["a"].digest == digest
    with pytest.raises(InputError, match="version 1, which says nothing of layers"):
        found.require_layers(tmp_path / "x.lock.yaml")


@pytest.mark.parametrize(
    "change",
    [
        ("layers: [", "layers: [ffffffffffff, "),
        ("size: 110", "size: -1"),
        ("position: 1", "position: one"),
        ("version: 2", "version: 3"),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    text = image_lock.dump("x", {"a": locked(1, layer("one"))}).decode()
    assert change[0] in text
    (tmp_path / "x.lock.yaml").write_text(text.replace(*change))
    with pytest.raises(InputError, match=r"x\.lock\.yaml: "):
        image_lock.read(tmp_path / "x.lock.yaml")
