"""Ranges of versions over tags."""

from __future__ import annotations

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.versions import check_range, matching

TAGS = ["latest", "1.25", "1.25.0", "v1.26.3", "1.27.1", "1.27.10", "1.27.1-alpine", "1.28.0-rc.1", "1.28.0", "2024.01.02", "x"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (">=1.25 <1.28", ["1.25.0", "v1.26.3", "1.27.1", "1.27.10"]),
        ("~1.27", ["1.27.1", "1.27.10"]),
        ("1.27.x", ["1.27.1", "1.27.10"]),
        ("^v1.26", ["v1.26.3", "1.27.1", "1.27.10", "1.28.0"]),
        (">=1.27.1-0 <1.27.2", ["1.27.1-alpine", "1.27.1"]),
        ("<1", []),
    ],
)
def test_ranges(wanted: str, found: list[str]) -> None:
    assert matching(TAGS, wanted) == found


@pytest.mark.parametrize("text", ["", "newest", ">>1", "1.2.3.4.5", "9" * 300])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no range of versions"):
        check_range(text)
