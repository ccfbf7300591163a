"""Where tests keep their files: in memory, where there is enough of it."""

from __future__ import annotations

import shutil
from pathlib import Path

IN_MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 1 << 30
"""Bytes that must be free there for the tests to keep their files in memory, where the many syncs cost nothing."""


def has_memory() -> bool:
    """Whether files may be kept in memory: containers often have 64 MB there."""
    return IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > MEMORY_NEEDED
