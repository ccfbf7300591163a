"""A list in two releases: most layers stay, some move, an image goes and one comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.registry import Registry
from tests.system.deltas.releases import Releases, push_releases
from tests.system.load.conftest import work

__all__ = ["work"]


@pytest.fixture(scope="session")
def releases(registries_folder: Path, registry: Registry) -> Releases:
    return push_releases(registry, registries_folder / "releases")
