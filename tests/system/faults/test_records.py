"""Our own records, damaged or out of date: believed only when they are to the bit what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.steps import split
from pipeline.storage.bundle_state import BundleState
from tests.support.kinds import push_kind
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.system.save.saving import ARCHIVE, CACHE, command, save, saved, shell


@pytest.fixture(scope="session")
def one(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-index", "records/one")


def state() -> BundleState:
    [folder] = (CACHE / ".state/bundles").iterdir()
    return BundleState(folder)


def journal(stale: list[str]) -> None:
    """As a run leaves it that was killed when all was done but removing it."""
    finished = files.read_sealed(state().output)
    assert finished is not None
    document = {"finished": finished, "stale": stale, "checksums": str(Path("saved-images.tar.gz.sha256").resolve())}
    state().journal.write_bytes(files.dump_sealed(document))


def test_a_sealed_record(work: Path) -> None:
    path = Path("record.json")
    document = {"files": [{"name": "a/é", "size": 1}], "none": None}
    data = files.dump_sealed(document)
    path.write_bytes(data)
    assert files.read_sealed(path) == document
    for at in range(len(data)):
        for bit in (1, 4, 32):
            changed = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            path.write_bytes(changed)
            assert files.read_sealed(path) in (None, document)
    for other in (b"", b"[]", b"{}", b'{"checksum": "x"}', json.dumps(document).encode()):
        path.write_bytes(other)
        assert files.read_sealed(path) is None


def test_a_journal_is_completed(one: PushedImage) -> None:
    saved([one])
    stale = Path("saved-images.tar.gz.part0")
    stale.write_text("of an earlier run")
    Path("saved-images.tar.gz.sha256").unlink()
    journal([str(stale.resolve())])
    saved([one])
    assert not stale.exists()
    shell("sha256sum -c saved-images.tar.gz.sha256")
    assert not state().journal.exists()


def test_a_damaged_journal_removes_nothing(one: PushedImage) -> None:
    """It names files to remove: with one bit flipped it would name others."""
    saved([one])
    precious = Path("saved-images.tar.gz.part1")
    precious.write_text("precious")
    journal([str(Path("saved-images.tar.gz.part0").resolve())])
    damaged = state().journal.read_bytes().replace(b"part0", b"part1")
    state().journal.write_bytes(damaged)
    assert save([one]).code == 3, "a reader would take it for a volume of ours"
    assert precious.read_text() == "precious"
    assert not state().journal.exists()


def test_a_journal_that_others_overtook_changes_nothing(registry: Registry, one: PushedImage) -> None:
    """Another cache has saved to the same destination since: its checksums must not be replaced by ours."""
    saved([one])
    journal([])
    other = push_kind(registry, "docker-list", "records/other")
    saved([other], "-cache", "other-cache")
    sums = Path("saved-images.tar.gz.sha256").read_bytes()
    split.roll_forward(state())
    assert Path("saved-images.tar.gz.sha256").read_bytes() == sums
    assert not state().journal.exists()
    shell("sha256sum -c saved-images.tar.gz.sha256")


def no_file(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xff" * 500)


@pytest.mark.parametrize("damage", [no_file, garbage, a_folder])
@pytest.mark.parametrize("name", ["doit.sqlite3", "doit.sqlite3-wal", "lock"])
def test_the_database_and_the_lock(one: PushedImage, name: str, damage: Callable[[Path], None]) -> None:
    if damage is a_folder and name != "doit.sqlite3":
        return
    saved([one])
    data = ARCHIVE.read_bytes()
    path = CACHE / ".state" / name
    path.touch()
    damage(path)
    saved([one])
    assert ARCHIVE.read_bytes() == data
    if path.is_dir():
        shutil.rmtree(path)


NONSENSE = {
    "nested too deeply": b"[" * 200_000,
    "nested as deeply as can be read": b"[" * 900 + b"]" * 900,
    "numbers of 5,000 digits": b'{"size": 1%s, "files": [1%s], "manifests": [{"size": 1%s}]}'
    % (b"0" * 5000, b"0" * 5000, b"0" * 5000),
    "no number": b'{"size": 1e999, "files": [1e999], "manifests": [1e999]}',
    "other types": b'{"files": {"a": 1}, "saved": 7, "failed": {}, "manifests": 3, "version": [], "top": "x", "descriptor": 5}',
    "no Unicode": b'{"files": ["\\ud800"], "saved": ["\\ud800"]}',
    "a list": b"[1, 2, 3]",
    "a text": b'"x"',
    "null": b"null",
}
"""JSON that none of our records is."""


def test_records_that_are_nonsense(one: PushedImage) -> None:
    """All of them at once: looked at by every command, and made again by the next save."""
    saved([one])
    data = ARCHIVE.read_bytes()
    for content in NONSENSE.values():
        for path in CACHE.rglob("*.json"):
            path.write_bytes(content)
        looked = [command(*each) for each in (["cache", "info"], ["graph", "-f", "list.txt"], ["ls", CACHE], ["verify", CACHE])]
        assert not any("should not happen" in result.stderr for result in looked)
        saved([one])
        assert ARCHIVE.read_bytes() == data
