"""A working directory in memory, pauses cut short, and images with all that may refer to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline import attempts
from pipeline.skopeo import find_program

from ..save.conftest import other_registry, work
from ..support.registry import Registry
from .signed import Signed, push_signed

__all__ = ["other_registry", "work"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_PAUSE", 0.02)


@pytest.fixture(scope="session")
def signed(registry: Registry) -> Signed:
    """Nobody changes it, or adds to it."""
    return push_signed(registry, "signed/image")
