"""JSON from a registry or a cache, of which nothing is trusted: its size, its depth and its text are bounded."""

from __future__ import annotations

import json
from typing import Any

from pipeline.core import bounded_json
from pipeline.core.errors import ContentError

MAX_MANIFEST_SIZE = 4 * 1024 * 1024
"""Bytes. The distribution spec asks registries to accept manifests up to 4 MiB; none in use comes near."""
_MAX_WEIGHT = 32 * 1024 * 1024
"""Bytes of memory: twice what a manifest of ``MAX_DESCRIPTORS`` takes."""
MAX_NESTING = 64
"""Of the JSON, which we write again where a subset makes a new index: Python's encoder ends where its stack ends."""
MAX_DESCRIPTORS = 10_000
"""Layers of one manifest, or entries of one index."""


def load_json(data: bytes) -> dict[str, Any]:
    """A JSON object from untrusted bytes. Raises ContentError."""
    if len(data) > MAX_MANIFEST_SIZE:
        raise ContentError(f"a manifest of {len(data)} bytes is larger than any that is in use ({MAX_MANIFEST_SIZE})")
    try:
        bounded_json.check_weight(data, _MAX_WEIGHT)
        # Decoded here, as json.loads lets lone surrogates pass, which no file, log or terminal of ours could take.
        document = json.loads(data.decode())
        if b"\\u" in data:
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ContentError("not valid JSON") from error
    if not isinstance(document, dict):
        raise ContentError("not a JSON object")
    if _is_nested_deeper(document, MAX_NESTING):
        raise ContentError(f"JSON nested more than {MAX_NESTING} deep is not a manifest")
    return document


def _is_nested_deeper(document: dict[str, Any], limit: int) -> bool:
    level: list[Any] = [document]
    for _ in range(limit):
        if not level:
            return False
        children = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in children if isinstance(child, dict | list)]
    return bool(level)


def bounded(entries: list[Any]) -> list[Any]:
    if len(entries) > MAX_DESCRIPTORS:
        raise ContentError(f"{len(entries)} entries in one manifest are more than any image has ({MAX_DESCRIPTORS})")
    return entries


def text(value: Any) -> str:
    """``value`` where it is a string, else the empty string."""
    return value if isinstance(value, str) else ""


def shorten(value: Any) -> str:
    """``value`` for a message."""
    shown = repr(value)
    return shown if len(shown) <= 100 else shown[:97] + "..."
