"""Fixtures: the archives of the unit tests, for programs that are not ours."""

from __future__ import annotations

from tests.unit.storage.archive.conftest import sample

__all__ = ["sample"]
