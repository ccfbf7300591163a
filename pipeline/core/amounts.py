"""Amounts as people write and read them: sizes and percentages in flags and definitions, sizes and times in messages."""

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


def bytes_text(size: float) -> str:
    """``1.5 GB``, in powers of 1000 as disks and networks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB"):
        if size < 999.5 or unit == "EB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``2 min 5 s``, ``1 h 20 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
