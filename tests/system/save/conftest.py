"""Fixtures of the save tests: a working directory in memory, and registries to push back to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registry import Registry
from tests.system.save import saving


@pytest.fixture(autouse=True, scope="session")
def store(registries_folder: Path) -> None:
    """Where ``saving.fetched_before`` keeps what it fetched."""
    saving.STORE = registries_folder


@pytest.fixture(autouse=True)
def work(clean_environment: Path, registries_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, in memory where there is room: every save syncs what it writes, which takes its time on a disk."""
    with tempfile.TemporaryDirectory(prefix="work-", dir=registries_folder) as folder:
        monkeypatch.chdir(folder)
        yield Path(folder)
        monkeypatch.chdir(clean_environment)


@pytest.fixture(scope="session")
def other_registry(registries_folder: Path) -> Iterator[Registry]:
    """A second registry: where a bundle goes, or another source."""
    with Registry(registries_folder / "other") as started:
        yield started
