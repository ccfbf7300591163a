"""A slice of ``benchmarks/archive_damage``."""

from __future__ import annotations

from pathlib import Path

from tests.support.damage import run


def test_nobody_is_deceived(tmp_path: Path) -> None:
    tally = run(tmp_path, 210, seed=2)
    assert (tally.crashes, tally.deceived) == ([], [])
    assert sum((tally.found + tally.harmless).values()) == 210
    assert all(tally.found[name] > 20 for name in ("gzip", "gzip volumes", "zstd", "zstd volumes"))
