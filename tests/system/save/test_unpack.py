"""The commands of the document unpack what was saved: one file or volumes, gzip or zstd, or a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.images import image as image_of
from tests.support.images import index, layer
from tests.support.kinds import push_kind
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import skopeo
from tests.system.faults.disks import disk
from tests.system.save.saving import ARCHIVE, CACHE, Unpacked, cached, files_below, identity, prepared, saved, shell


@pytest.fixture(scope="session")
def image(registry: Registry) -> PushedImage:
    layers = [layer("unpack/random", 40_000), layer("unpack/text", 90_000, "", text=True), layer("unpack/zstd", 5000, "zstd")]
    return push(registry, "unpack/image", "v1", index(*(image_of(f"linux/{each}", layers) for each in ("amd64", "arm64"))))


def unpacked(image: PushedImage) -> None:
    """What a command unpacked into ``saved-image-cache`` is the bundle."""
    bundle = Unpacked(CACHE)
    bundle.check()
    assert bundle.raw(image.reference) == image.raw


def out_of_the_way() -> None:
    """The cache, from which unpacking shall take nothing."""
    CACHE.rename("cache-of-the-run")


@pytest.mark.parametrize(
    "script",
    [
        "gunzip saved-images.tar.gz && tar -xf saved-images.tar",
        "tar -zxvf saved-images.tar.gz > listing && grep -q index.json listing",
    ],
)
def test_gzip(image: PushedImage, script: str) -> None:
    prepared([image])
    assert shell("sha256sum -c saved-images.tar.gz.sha256") == "saved-images.tar.gz: OK\n"
    out_of_the_way()
    shell(script)
    unpacked(image)


@pytest.mark.parametrize(
    "script",
    [
        "zstd -dq saved-images.tar.zst && tar -xf saved-images.tar",
        "tar --zstd -xf saved-images.tar.zst",
    ],
)
def test_zstd(image: PushedImage, script: str) -> None:
    """Without ``-d`` the file is called what it is."""
    prepared([image], "-compress=zstd")
    assert not ARCHIVE.exists()
    assert shell("sha256sum -c saved-images.tar.zst.sha256") == "saved-images.tar.zst: OK\n"
    out_of_the_way()
    shell(script)
    unpacked(image)


def test_a_name_that_says_another_format_is_warned_about(image: PushedImage) -> None:
    result = prepared([image], "-compress", "zstd", "-d", "saved.tar.gz")
    assert "WARN" in result.stderr
    assert "saved.tar.gz" in result.stderr
    result = saved([image], "-compress", "zstd", "-d", "saved.tar.zstd")
    assert "WARN" not in result.stderr
    out_of_the_way()
    shell("tar --zstd -xf saved.tar.zstd")
    unpacked(image)


@pytest.mark.parametrize("count", [1, 2, 11, 101])
@pytest.mark.parametrize(("codec", "name", "flag"), [("gzip", "saved-images.tar.gz", "-z"), ("zstd", "s.tar.zst", "--zstd")])
def test_volumes(image: PushedImage, count: int, codec: str, name: str, flag: str) -> None:
    prepared([image], "-compress", codec, "-d", name)
    whole = Path(name).read_bytes()
    size = next(size for size in range(len(whole) // count, len(whole) + 1) if -(-len(whole) // size) == count)
    saved([image], "-compress", codec, "-d", name, "-part", f"-part-size={size}")
    volumes = sorted(Path().glob(f"{name}.part*"))
    width = len(str(count - 1))
    assert [path.name for path in volumes] == [f"{name}.part{number:0{width}}" for number in range(count)]
    assert all(path.stat().st_size == size for path in volumes[:-1])
    assert not Path(name).exists()
    listing = shell(f"sha256sum -c {name}.sha256")
    assert listing == "".join(f"{path.name}: OK\n" for path in volumes)
    # As `split` cuts, and as the shell joins.
    assert shell(f"cat ./{name}.part* | sha256sum") == shell("sha256sum", data=whole)
    out_of_the_way()
    if count == 2:
        shell(f"cat ./{name}.part* > {name} && tar {flag} -xvf ./{name} > listing && grep -q index.json listing")
    else:
        shell(f"cat ./{name}.part* | tar {flag} -x")
    unpacked(image)


@pytest.mark.parametrize(
    ("text", "size"), [("16K", 16 << 10), ("20000", 20_000), ("8k", 8 << 10), ("1M", 1 << 20), ("1G", 1 << 30), ("1T", 1 << 40)]
)
def test_part_sizes(image: PushedImage, text: str, size: int) -> None:
    prepared([image], "-part", "-part-size", text)
    volumes = sorted(Path().glob("*.part*"))
    assert all(volume.stat().st_size == size for volume in volumes[:-1])
    assert volumes[-1].stat().st_size <= size
    assert (len(volumes) > 1) == (size < 30_000)
    assert not ARCHIVE.exists()


def test_part_without_a_size_is_2g(image: PushedImage) -> None:
    prepared([image], "-part")
    assert [path.name for path in Path().glob("*.part*")] == ["saved-images.tar.gz.part0"]


def test_part_switched_off(image: PushedImage) -> None:
    result = prepared([image], "-part=false", "-part-size=1K")
    assert ARCHIVE.exists()
    assert not list(Path().glob("*.part*"))
    assert "-part-size has no effect without -part" in result.stderr


def test_a_folder_of_links(image: PushedImage) -> None:
    """``-compress=dir -d DIR``: exactly the bundle, in hard links, readable by itself."""
    prepared([image, image.pinned])
    result = saved([image], "-compress=dir", "-d", "bundle", "-j", "4")
    assert "written:\n  bundle" in result.stdout
    bundle = Unpacked(Path("bundle"))
    bundle.check()
    assert bundle.names == [image.reference]
    for digest in image.layers & set(bundle.blobs):
        assert cached(digest, Path("bundle")).samefile(cached(digest))
    shown = skopeo("inspect", "--raw", f"oci:bundle:{image.reference}")
    assert shown.stdout.encode() == image.raw
    before = {name: identity(Path("bundle", name)) for name in files_below(Path("bundle"))}
    again = saved([image], "-compress=dir", "-d", "bundle")
    assert "unchanged since the last run" in again.stdout
    assert before == {name: identity(Path("bundle", name)) for name in files_below(Path("bundle"))}


def test_a_folder_changes_over_as_a_whole(registry: Registry, image: PushedImage) -> None:
    other = push_kind(registry, "oci-single", "unpack/other")
    saved([image], "-compress=dir", "-d", "bundle")
    saved([other], "-compress=dir", "-d", "bundle")
    bundle = Unpacked(Path("bundle"))
    bundle.check()
    assert bundle.names == [other.reference]
    assert sorted(path.name for path in Path().iterdir()) == ["bundle", "list.txt", CACHE.name]


def test_the_cache_as_the_result(image: PushedImage) -> None:
    """``-compress=dir`` without ``-d``: nothing else is made."""
    result = prepared([image], "-compress=dir")
    assert "saved-image-cache is the bundle" in result.stdout
    assert sorted(path.name for path in Path().iterdir()) == ["list.txt", CACHE.name]
    shown = skopeo("inspect", "--raw", f"oci:{CACHE}:{image.reference}")
    assert shown.stdout.encode() == image.raw
    saved([image], "-compress=dir", "-d", CACHE)
    assert sorted(path.name for path in Path().iterdir()) == ["list.txt", CACHE.name]


def test_a_folder_on_another_file_system(image: PushedImage, tmp_path: Path) -> None:
    """There can be no links, so it is copied."""
    with disk(tmp_path / "disk", 64 << 20) as other:
        place = other / "bundle"
        prepared([image], "-compress=dir", "-d", place)
        assert place.stat().st_dev != CACHE.stat().st_dev
        Unpacked(place).check()
        assert not any(cached(digest, place).samefile(cached(digest)) for digest in image.layers)


def test_the_result_does_not_depend_on_links(image: PushedImage) -> None:
    """FAT and exFAT cannot hold the ``blobs`` link: without it, everything is there all the same."""
    prepared([image])
    out_of_the_way()
    listing = shell("tar -tvf saved-images.tar.gz")
    links = [line.split()[-3] for line in listing.splitlines() if line.startswith("l")]
    assert all(name.endswith("/blobs") for name in links)
    shell("tar -xf saved-images.tar.gz --exclude=blobs")
    bundle = Unpacked(CACHE)
    assert bundle.raw(image.reference) == image.raw
    for path in CACHE.rglob("blobs"):
        raise AssertionError(path)
    assert set(bundle.blobs) == bundle.closure(image.digest)


def test_what_stands_in_the_tar(image: PushedImage) -> None:
    """Folders before what is in them, metadata before blobs, one time, one owner."""
    prepared([image])
    listing = shell("TZ=UTC tar --numeric-owner --full-time -tvf saved-images.tar.gz")
    found = [line.split(None, 5) for line in listing.splitlines()]
    assert {(owner, day, time) for _, owner, _, day, time, _ in found} == {("0/0", "2024-03-01", "12:00:00")}
    assert {mode for mode, *_ in found} == {"drwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx"}
    names = [name.partition(" -> ")[0] for *_, name in found]
    assert names[0] == "saved-image-cache/"
    for number, name in enumerate(names):
        parent = name.rstrip("/").rpartition("/")[0]
        assert not parent or f"{parent}/" in names[:number], name
    blobs = [number for number, name in enumerate(names) if "/share/sha256/" in name and not name.endswith("/")]
    metadata = [number for number, name in enumerate(names) if name.endswith((".json", "oci-layout"))]
    assert metadata[-1] == len(names) - 1, "the archive's own index is last"
    assert max(metadata[:-1]) < min(blobs)
