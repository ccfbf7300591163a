"""Bundles that others made, in the same format or as plain image layouts: read in place where they are folders, unpacked once
and safely where they are archives.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ArchiveError, EnvironmentProblem
from pipeline.core.interruption import Interruption
from pipeline.reader.unpack import unpack
from tests.support.images import Image, Index
from tests.support.kinds import KINDS
from tests.support.registry import RegistryFactory
from tests.support.run import run, skopeo
from tests.system.load.loading import FAILED, Bundle, assert_holds, command, flip, json_of, load, loaded
from tests.system.test_serve import write_layout

DOCKER = "application/vnd.docker.distribution.manifest.list.v2+json"


def foreign_folder(folder: Path, bundle: Bundle) -> Path:
    """``saved-images-list.json``, ``share/``, a layout for each platform; at the root neither an index nor ``oci-layout``."""
    shutil.copytree(bundle.cache, folder, ignore=shutil.ignore_patterns(".state", "index.json", "oci-layout", "blobs"))
    indexes = {digest for image in bundle.images.values() if image.has_index for digest in [image.digest]}
    for digest in indexes:
        (folder / "share" / digest.replace(":", "/")).unlink()
    for listed in json.loads((folder / "saved-images-list.json").read_text())["List"]:
        for image in listed["Images"]:
            shutil.copytree(bundle.cache / image["Folder"], folder / image["Folder"], symlinks=True, dirs_exist_ok=True)
    return folder


def packed(folder: Path, archive: Path, *options: str) -> Path:
    result = run(*options, "-cf", str(archive), "-C", str(folder.parent), folder.name, command=("tar",))
    assert result.code == 0, result
    return archive


def check_platforms(registry: Any, bundle: Bundle) -> None:
    """Each platform arrived bit for bit, under an index of the kind that its images need."""
    with registry.client() as client:
        for image in bundle.images.values():
            top = json.loads(client.manifest(image.repository, "v1").body)
            assert [child["digest"] for child in top["manifests"]] == [platform.manifest for platform in image.platforms]
            assert [child["platform"]["architecture"] for child in top["manifests"]] == ["amd64", "arm64"]
            assert (top["mediaType"] == DOCKER) == (image.kind == "docker-list")
            for platform in image.platforms:
                assert client.manifest(image.repository, platform.manifest).body == platform.raw


def test_a_folder_in_the_same_format(small: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    registry = fresh_registry()
    folder = foreign_folder(work / "foreign", small)
    assert command("verify", folder).code == 0
    loaded(folder, registry.host)
    check_platforms(registry, small)
    registry.clear_requests()
    assert "3 were there already" in loaded(folder, registry.host).stdout


def test_an_archive_of_it_is_unpacked_once(small: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    archive = packed(foreign_folder(work / "saved-image-cache", small), work / "foreign.tar.gz", "-z")
    registry = fresh_registry()
    result = loaded(archive, registry.host)
    assert "was not written by this program: unpacking it to" in result.stderr
    check_platforms(registry, small)
    assert not list(work.glob("state/image-tools/load/*/unpacked")), "nothing needs it any more"


@pytest.mark.parametrize("options", [["-z"], ["--zstd"], ["-J"], []])
def test_tar_in_any_form(small: Bundle, work: Path, options: list[str]) -> None:
    folder = foreign_folder(work / "saved-image-cache", small)
    unpack(packed(folder, work / "foreign.tar", *options), work / "below" / "into", Interruption())
    assert command("verify", work / "below" / "into").code == 0
    assert run("-r", str(folder), str(work / "below" / "into" / folder.name), command=("diff",)).stdout.count("Only in") == 6


def test_what_was_unpacked_serves_the_next_run(small: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    archive = packed(foreign_folder(work / "saved-image-cache", small), work / "foreign.tar.gz", "-z")
    registry = fresh_registry()
    registry.stop()
    failed = load(archive, registry.host, "-retry", "0")
    assert failed.code == 3
    assert len(FAILED.read_text().splitlines()) == 3
    registry.start()
    result = loaded(archive, registry.host)
    assert "unpacking it" not in result.stderr
    check_platforms(registry, small)


def test_volumes_of_others(small: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    archive = packed(foreign_folder(work / "saved-image-cache", small), work / "foreign.tar.gz", "-z")
    assert run("-b", "9K", "-d", archive.name, f"{archive.name}.part", command=("split",)).code == 0
    archive.unlink()
    names = sorted(path.name for path in work.glob("foreign.tar.gz.part*"))
    for number, name in enumerate(names):
        (work / name).rename(work / f"foreign.tar.gz.part{number}")
    registry = fresh_registry()
    loaded(work / "foreign.tar.gz.part1", registry.host, "-compress", "gzip")
    check_platforms(registry, small)


def test_an_archive_that_tar_packed_again(small: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    """Ours, unpacked and packed: every index is there, so every digest stays."""
    (work / "un").mkdir()
    assert run("-xf", str(small.path), "-C", str(work / "un"), command=("tar",)).code == 0
    archive = packed(work / "un" / "saved-image-cache", work / "again.tar.gz", "-z")
    registry = fresh_registry()
    loaded(archive, registry.host)
    for image in small.images.values():
        assert_holds(registry, image)


@pytest.mark.parametrize("make", [lambda: KINDS["oci-index"](), lambda: KINDS["nested-index"](), lambda: KINDS["helm-chart"]()])
def test_image_layouts(fresh_registry: RegistryFactory, work: Path, make: Callable[[], Image | Index]) -> None:
    """Of anybody; with a bare tag, as many tools write it, an image is named after its folder."""
    made = make()
    layout = write_layout(work / "My_Layout", {"1.0": made, "docker.io/library/named:2": made})
    registry = fresh_registry()
    loaded(layout, registry.host)
    data = (made.content if isinstance(made, Index) else made.manifest).data
    with registry.client() as client:
        assert client.manifest("my-layout", "1.0").body == data
        assert client.manifest("library/named", "2").body == data


def test_what_containerd_calls_an_image(work: Path) -> None:
    layout = write_layout(work / "layout", {"1.0": KINDS["oci-single"]()})
    document = json.loads((layout / "index.json").read_text())
    document["manifests"][0]["annotations"]["io.containerd.image.name"] = "docker.io/library/app:1.0"
    (layout / "index.json").write_text(json.dumps(document))
    assert [each["reference"] for each in json_of("ls", layout)["images"]] == ["docker.io/library/app:1.0"]


def test_a_layout_that_skopeo_made(small: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    image = small.images["shared-one"]
    source, registry = f"docker://{image.reference}", fresh_registry()
    assert skopeo("copy", "--all", "-q", "--src-tls-verify=false", source, "oci:made:v1", cwd=work).code == 0
    loaded(work / "made", f"{registry.host}/{image.repository.rpartition('/')[0]}")
    assert_holds(registry, image, f"{image.repository.rpartition('/')[0]}/made")


def test_an_image_that_has_no_name(small: Bundle, fresh_registry: RegistryFactory, work: Path) -> None:
    folder = work / "folder"
    shutil.copytree(small.cache, folder, symlinks=True)
    document = json.loads((folder / "index.json").read_text())
    document["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = "docker.io/UPPER/case:1"
    (folder / "index.json").write_text(json.dumps(document))
    result = load(folder, fresh_registry().host)
    assert result.code == 1
    assert "'docker.io/UPPER/case:1' names no image" in result.stdout
    assert "loaded 2 of 3 images" in result.stdout
    assert FAILED.read_text().startswith("# 'docker.io/UPPER/case:1' names no image")
    assert command("verify", folder).code == 1


# What is refused


@pytest.mark.parametrize("command_name", ["ls", "verify", "serve"])
def test_what_cannot_be_read_in_place(small: Bundle, work: Path, command_name: str) -> None:
    archive = packed(foreign_folder(work / "saved-image-cache", small), work / "foreign.tar.gz", "-z")
    result = command(command_name, archive)
    assert result.code == 3
    assert "TIP: unpack it with tar and name the folder" in result.stderr


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00nonsense", b"\x28\xb5\x2f\xfdnonsense"])
def test_what_is_no_archive(work: Path, content: bytes) -> None:
    Path("thing.tar.gz").write_bytes(content)
    result = load(Path("thing.tar.gz"), "127.0.0.1:1")
    assert result.code == 3
    assert "Traceback" not in result.stderr
    assert "this should not happen" not in result.stderr
    assert not list(work.glob("state/image-tools/load/*/unpacked/*"))


def test_a_truncated_archive(small: Bundle, work: Path) -> None:
    archive = packed(foreign_folder(work / "saved-image-cache", small), work / "foreign.tar.gz", "-z")
    with archive.open("r+b") as file:
        file.truncate(archive.stat().st_size // 2)
    result = load(archive, "127.0.0.1:1")
    assert result.code == 3
    assert "damaged" in result.stderr


def test_an_empty_folder(work: Path) -> None:
    (work / "empty").mkdir()
    assert load(work / "empty", "127.0.0.1:1").code == 3
    assert command("ls", work / "empty").code == 3


def write_tar(path: Path, *members: tuple[str, bytes, str]) -> Path:
    """A tar with members of any kind: name, type, and content or target."""
    with tarfile.open(path, "w") as tar:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, 0o4777
            if kind == tarfile.REGTYPE:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content.encode()))
            else:
                entry.linkname = content
                tar.addfile(entry)
    return path


def test_nothing_gets_out_of_the_folder(work: Path) -> None:
    outside = work / "outside"
    outside.mkdir()
    archive = write_tar(
        work / "evil.tar",
        ("../outside/dots", tarfile.REGTYPE, "x"),
        ("a/../../outside/more-dots", tarfile.REGTYPE, "x"),
        (f"{outside}/absolute", tarfile.REGTYPE, "x"),
        ("link", tarfile.SYMTYPE, str(outside)),
        ("link/through", tarfile.REGTYPE, "x"),
        ("hard", tarfile.LNKTYPE, "/etc/passwd"),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("device", tarfile.CHRTYPE, ""),
        ("./good/file", tarfile.REGTYPE, "first"),
        ("good/file", tarfile.REGTYPE, "last"),
    )
    unpack(archive, work / "below" / "into", Interruption())
    assert not list(outside.iterdir())
    into = work / "below" / "into"
    found = {str(path.relative_to(into)) for path in into.rglob("*") if not path.is_dir()}
    assert found == {"good/file", "link/through"}
    assert (into / "good" / "file").read_text() == "last"
    assert (into / "good" / "file").stat().st_mode & 0o7111 == 0
    assert not (into / "link").is_symlink()


def test_a_bomb_does_not_fill_the_disk(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.core import disk

    archive = write_tar(work / "bomb.tar", ("zeros", tarfile.REGTYPE, "\0" * 200_000))
    monkeypatch.setattr(disk, "free_space", lambda path: 64 * 1024 * 1024 + 100_000)
    with pytest.raises(EnvironmentProblem, match="does not fit on the disk"):
        unpack(archive, work / "below" / "into", Interruption())
    assert not list((work / "below").iterdir())


def test_a_flipped_byte_in_a_foreign_archive(small: Bundle, work: Path) -> None:
    archive = packed(foreign_folder(work / "saved-image-cache", small), work / "foreign.tar.gz", "-z")
    flip(archive, archive.stat().st_size // 2)
    with pytest.raises(ArchiveError):
        unpack(archive, work / "below" / "into", Interruption())
    assert not (work / "below" / "into").exists()
