"""Fixtures: the working directory by the name that the tests of definitions use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def work(clean_environment: Path) -> Path:
    return clean_environment
