"""The file of checksums beside an archive, as ``sha256sum`` writes and checks it.

Source: coreutils manual, "md5sum invocation".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

MAX_SIZE = 16 * 1024 * 1024
"""Bytes: 10,000 volumes with the longest names need a fifth of it."""
# A line with an escaped name begins with a backslash.
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)")


def dump(sums: Iterable[tuple[str, str]]) -> bytes:
    """Of files in one folder: name and SHA-256 in hex of each."""
    return b"".join(_line(name, sha256) for name, sha256 in sums)


def read(path: Path) -> dict[str, str]:
    """SHA-256 by name, of files in the same folder. Empty where there is no such file; lines of another form do not count."""
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_SIZE).splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        if match := _LINE.fullmatch(line):
            name = match[3].replace(b"\\n", b"\n").replace(b"\\\\", b"\\") if match[1] else match[3]
            if b"/" not in name:
                found[os.fsdecode(name)] = match[2].decode()
    return found


def _line(name: str, sha256: str) -> bytes:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    return os.fsencode(f"{chr(92) if escaped != name else ''}{sha256}  {escaped}\n")
