"""What ``verify`` finds in a folder: every fault, with the images that it breaks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.core.errors import ArchiveError, Interrupted
from pipeline.core.interruption import Interruption
from pipeline.reader.verify import check
from pipeline.reader.verify.findings import Fault, Report
from pipeline.reader.verify.hashing import Checksums
from pipeline.storage.archive.volume_reader import find
from tests.support.images import Content, Image, Index, image, index, layer
from tests.support.layouts import blob_file, contents_of, write_layout

BASE = layer("base")
AMD64, ARM64 = (image(f"linux/{each}", [BASE, layer(each)]) for each in ("amd64", "arm64"))
OTHER = image("linux/amd64", [BASE, layer("other")])
BOTH = index(AMD64, ARM64)
IMAGES: dict[str, Image | Index] = {"r.io/app:v1": BOTH, "r.io/other:v1": OTHER}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "layout", IMAGES)


def looked_at(path: Path) -> Report:
    return check(path, 2, Interruption())


def test_one_that_is_whole(layout: Path) -> None:
    blobs = {content.digest: len(content.data) for made in IMAGES.values() for content in contents_of(made)}
    assert looked_at(layout) == Report(source=str(layout), images=2, blobs=len(blobs), size=sum(blobs.values()), faults=())


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_flipped_bit_breaks_all_that_need_the_blob(layout: Path) -> None:
    flip(blob_file(layout, BASE.digest))
    flip(blob_file(layout, ARM64.config.digest))
    report = looked_at(layout)
    problems = {fault.what: fault for fault in report.faults}
    assert problems.keys() == {BASE.digest, ARM64.config.digest}
    assert problems[BASE.digest].breaks == ("r.io/app:v1", "r.io/other:v1")
    assert problems[ARM64.config.digest].breaks == ("r.io/app:v1",)
    assert all("does not match its digest" in fault.problem for fault in report.faults)
    assert report.broken == {"r.io/app:v1", "r.io/other:v1"}


def test_what_is_missing(layout: Path) -> None:
    blob_file(layout, BASE.digest).unlink()
    blob_file(layout, OTHER.manifest.digest).unlink()
    assert set(looked_at(layout).faults) == {
        Fault(BASE.digest, "is missing", ("r.io/app:v1",)),
        Fault(OTHER.manifest.digest, "is missing", ("r.io/other:v1",)),
    }


def test_a_size_that_is_not_as_said(layout: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The digest decides: a wrong size is no more than a warning."""
    document = json.loads((layout / "index.json").read_text())
    document["manifests"][1]["size"] += 1
    (layout / "index.json").write_text(json.dumps(document))
    assert looked_at(layout).faults == ()
    assert OTHER.manifest.digest in caplog.text


def test_a_manifest_that_has_its_digest_and_is_none(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"r.io/app:v1": AMD64})
    text = Content("application/vnd.oci.image.manifest.v1+json", b"no JSON")
    blob_file(layout, text.digest).write_bytes(text.data)
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [text.descriptor()]}))
    [fault] = looked_at(layout).faults
    assert fault.what == text.digest and fault.breaks


def test_an_index_that_cannot_be_read_leaves_nothing_to_name(layout: Path) -> None:
    (layout / "index.json").write_text("{")
    flip(blob_file(layout, BASE.digest))
    report = looked_at(layout)
    assert not report.is_readable
    assert {fault.breaks for fault in report.faults} == {()}
    assert len(report.faults) == 2, "the blobs are hashed all the same"


def test_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no"):
        looked_at(tmp_path / "gone.tar.gz")


def test_an_interruption_ends_it(layout: Path) -> None:
    interruption = Interruption()
    interruption.request(15)
    with pytest.raises(Interrupted):
        check(layout, 2, interruption)


# The checksum file


def test_a_checksum_file_names_what_is_missing_foreign_and_changed(tmp_path: Path) -> None:
    volumes = [tmp_path / f"saved.tar.gz.part{number}" for number in range(3)]
    for number, volume in enumerate(volumes):
        volume.write_bytes(bytes([number]) * 100)
    lines = [f"{hashlib.sha256(volume.read_bytes()).hexdigest()}  {volume.name}\n" for volume in volumes[:2]]
    (tmp_path / "saved.tar.gz.sha256").write_text("".join(lines) + f"{'0' * 64}  saved.tar.gz.part3\n")
    volumes[1].write_bytes(b"x" * 100)
    sums = Checksums.beside(find(tmp_path / "saved.tar.gz"))
    assert sums is not None and sums.count == 3
    assert list(sums.mismatches()) == [
        Fault("saved.tar.gz.part3", "is missing; saved.tar.gz.sha256 names it"),
        Fault("saved.tar.gz.part2", "saved.tar.gz.sha256 does not name it"),
    ]
    read: list[int] = []
    assert list(sums.compare(read.append)) == [
        Fault("saved.tar.gz.part1", "does not match its checksum in saved.tar.gz.sha256")
    ]
    assert sum(read) == 300


def test_no_checksum_file(tmp_path: Path) -> None:
    (tmp_path / "saved.tar.gz").write_bytes(b"x")
    assert Checksums.beside(find(tmp_path / "saved.tar.gz")) is None
