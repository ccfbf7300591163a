"""JSON in memory that is known before."""

from __future__ import annotations

import pytest

from pipeline.core import bounded_json


@pytest.mark.parametrize("piece", [b"{},", b"[],", b'{"a":1},', b'"ab",', b"1,"])
def test_what_would_take_too_much_is_refused(piece: bytes) -> None:
    with pytest.raises(ValueError, match="would take about"):
        bounded_json.loads(b"[" + piece * (20 * 1024 * 1024 // len(piece)) + b"0]", 40 * 1024 * 1024)


def test_what_is_not_json_is_a_value_error() -> None:
    for data in (b"", b"{", b"\xff", b"[" * 500_000):
        with pytest.raises(ValueError):
            bounded_json.loads(data)


def test_an_ordinary_document() -> None:
    assert bounded_json.loads(b'{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
