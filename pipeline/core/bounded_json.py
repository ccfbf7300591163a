"""Parse JSON that nobody vouches for, in memory that is known before.

Python needs up to thirty times the bytes of a document to hold it: ``{},{},…`` of 8 MB takes 250 MB.
"""

from __future__ import annotations

import json
from typing import Any

MAX_WEIGHT = 96 * 1024 * 1024
"""Bytes that a parsed document may take, by estimate: twice what an archive index of 60,000 blobs takes."""
_OBJECT, _ITEM = 240, 64


def loads(data: bytes, max_weight: int = MAX_WEIGHT) -> Any:
    """The document in ``data``. Raises ValueError for what is not JSON, or would take more than ``max_weight`` bytes."""
    check_weight(data, max_weight)
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("a JSON document is nested too deep") from error


def check_weight(data: bytes, max_weight: int) -> None:
    """Raises ValueError where the document in ``data`` would take more than ``max_weight`` bytes."""
    weight = 2 * len(data) + _OBJECT * data.count(b"{") + _ITEM * (data.count(b"[") + data.count(b","))
    if weight > max_weight:
        raise ValueError(f"a JSON document of {len(data)} bytes would take about {weight} bytes of memory")


def text(value: Any) -> str:
    """``value``, where it is a text. Raises TypeError for anything else: what YAML's aliases make may have no end as one."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def natural(value: Any) -> int:
    """``value``, where it is a whole number from 0. Raises ValueError."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no number from 0")
    return value
