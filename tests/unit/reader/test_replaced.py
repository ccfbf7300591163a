"""Who reads an archive reads it to its end, though another run replaces or removes it meanwhile."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipeline.core.errors import Interrupted
from pipeline.core.interruption import Interruption
from pipeline.reader.contents import Contents, open_store
from pipeline.reader.verify import check
from pipeline.storage.archive.audit import audit
from pipeline.storage.archive.reader import ArchiveReader
from pipeline.storage.archive.volume_reader import find
from tests.support.damage import Sample, samples


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return samples(tmp_path_factory.mktemp("made"))


def put(sample: Sample, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in sample.files.items():
        (folder / f"{name}.new").write_bytes(data)
        (folder / f"{name}.new").replace(folder / name)
    return folder / next(iter(sample.files))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_what_was_opened_is_read_on(made: list[Sample], number: int, how: str, tmp_path: Path) -> None:
    path = put(made[number], tmp_path / "place")
    store = open_store(path)
    contents = Contents(store)
    assert not store.has_changed()
    for file in sorted(path.parent.iterdir()):
        if how == "removed":
            file.unlink()
        else:
            (tmp_path / "other").write_bytes(b"x" * (file.stat().st_size + 1))
            (tmp_path / "other").replace(file)
    assert store.has_changed()
    for digest in store.blobs():
        assert hashlib.sha256(b"".join(contents.open_blob(digest))).hexdigest() == digest.hex
    (image,) = contents.bundled
    assert [str(entry.platform) for entry in contents.platforms(image.descriptor)] == ["linux/amd64", "linux/arm64"]


def test_a_folder_that_changes_is_known(made: list[Sample], tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "index.json").write_text('{"manifests": []}')
    (folder / "oci-layout").write_text("{}")
    store = open_store(folder)
    assert not store.has_changed()
    (folder / "index.json").write_text('{"manifests": [ ]}')
    assert store.has_changed()


def test_a_plain_tar_that_changes_is_known(made: list[Sample], tmp_path: Path) -> None:
    path = put(made[4], tmp_path / "place")
    store = open_store(path)
    assert (store.kind, store.has_changed()) == ("tar", False)
    path.write_bytes(path.read_bytes() + bytes(512))
    assert store.has_changed()


@pytest.mark.parametrize("number", range(4))
def test_an_audit_ends_when_the_run_is_to_stop(made: list[Sample], number: int, tmp_path: Path) -> None:
    path = put(made[number], tmp_path / "place")
    calls = 0

    def stop_at_once() -> None:
        nonlocal calls
        calls += 1
        raise Interrupted(15)

    archive = ArchiveReader(find(path))
    assert audit(archive) == []
    with pytest.raises(Interrupted):
        audit(archive, stop_at_once)
    assert calls == 1
    interruption = Interruption()
    interruption.request(15)
    with pytest.raises(Interrupted):
        check(path, 1, interruption)
