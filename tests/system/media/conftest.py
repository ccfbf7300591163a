"""Fixtures: a working directory in memory."""

from __future__ import annotations

from tests.system.bundles.conftest import work

__all__ = ["work"]
