"""Amounts as people write them in flags and definitions: sizes, percentages."""

from __future__ import annotations

import re

from pipeline.core.errors import UsageError

_SIZE = re.compile(r"([0-9]{1,18})([KMGTkmgt]?)")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def parse_size(text: str) -> int:
    """Bytes, or with K, M, G, T (powers of 1024, as ``split`` counts). Raises UsageError for zero and nonsense."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f'invalid part size "{text}": use bytes or a number with K, M, G or T, e.g. 2G')
    size = int(match[1]) * _UNITS[match[2].upper()]
    if size == 0:
        raise UsageError(f'invalid part size "{text}": it must be larger than zero')
    return size


def parse_percent(text: str) -> int:
    """``10%`` or ``10``. Raises UsageError for what is not from 1 to 100."""
    match = re.fullmatch(r"([0-9]{1,3})%?", text.strip())
    if match is None or not 1 <= int(match[1]) <= 100:
        raise UsageError(f'invalid value "{text}": use a percentage from 1 to 100, e.g. 10%')
    return int(match[1])
