"""Fixtures: a working directory in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def work(clean_environment: Path, registries_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, where syncs cost nothing."""
    with tempfile.TemporaryDirectory(prefix="bundles-", dir=registries_folder) as folder:
        monkeypatch.chdir(folder)
        yield Path(folder)
        monkeypatch.chdir(clean_environment)
