"""No test here waits a second to ask again."""

from __future__ import annotations

import pytest

from pipeline.registry import retry


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.02)
