"""What a cache has learned of registries."""

from __future__ import annotations

from pathlib import Path

from pipeline.storage.records import registries
from pipeline.storage.records.registries import KnownRegistries

KNOWN = KnownRegistries(frozenset({"r.example"}), {"docker.io": (100, 21600)})


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    registries.write(tmp_path / "registries.json", KNOWN)
    assert registries.read(tmp_path / "registries.json") == KNOWN


def test_nothing_is_known_where_it_is_missing_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "registries.json"
    assert registries.read(path) == KnownRegistries()
    registries.write(path, KNOWN)
    good = path.read_bytes()
    for damaged in (good.replace(b"21600", b"21601"), good.replace(b"r.example", b"s.example"), good[:-10], b""):
        assert damaged != good
        path.write_bytes(damaged)
        assert registries.read(path) == KnownRegistries()
