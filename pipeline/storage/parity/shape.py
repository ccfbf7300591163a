"""How many blocks of which size an archive gets, and how recovery files are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
"""Bytes: blocks are whole sectors, so that a lost one costs one block."""
MAX_BLOCKS = 32_000
"""The format takes 32,768."""
MAX_FILES = 31
"""The program makes no more."""
_NAME = re.compile(r"(.+?)(?:\.vol[0-9]+\+[0-9]+)?\.par2", re.DOTALL)
_PART = re.compile(r"(.+)\.part[0-9]+", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """``recovery`` blocks for ``blocks`` of ``block_size`` bytes, in so many ``files``."""

    block_size: int
    blocks: int
    recovery: int
    files: int


def shape(sizes: Sequence[int], percent: int, wanted: int) -> Shape:
    """Of files of these ``sizes`` in bytes, with about ``wanted`` blocks.

    At least one whole file of several can be lost: the last volume is shorter, so that ``percent`` of ten volumes is less
    than one of them.
    """
    total = sum(sizes)
    block_size = _whole(-(-total // wanted))
    while _count(sizes, block_size) > MAX_BLOCKS:
        block_size = _whole(block_size + SECTOR)
    blocks = _count(sizes, block_size)
    recovery = -(-blocks * percent // 100)
    if len(sizes) > 1:
        recovery = max(recovery, _count([max(sizes)], block_size) + 1)
    largest = max(sizes) if len(sizes) > 1 else total
    files = -(-recovery * block_size // max(largest - largest // 10, 1))
    return Shape(block_size=block_size, blocks=blocks, recovery=recovery, files=min(max(files, 1), MAX_FILES, recovery))


def _whole(size: int) -> int:
    return max(-(-size // SECTOR), 1) * SECTOR


def _count(sizes: Sequence[int], block_size: int) -> int:
    return sum(-(-size // block_size) for size in sizes)


def base_of(path: Path) -> Path:
    """The name of an archive without the number of a volume, or of a recovery file."""
    match = _NAME.fullmatch(path.name) or _PART.fullmatch(path.name)
    return path.with_name(match[1]) if match else path


def files_beside(archive: Path) -> list[Path]:
    """The recovery files of ``archive`` (without the number of a volume); the smallest, which describes the set, first."""
    folder = archive.absolute().parent
    entries = folder.iterdir() if folder.is_dir() else ()
    found = [path for path in entries if (match := _NAME.fullmatch(path.name)) and match[1] == archive.name]
    return sorted(found, key=lambda path: (len(path.name), path.name))
