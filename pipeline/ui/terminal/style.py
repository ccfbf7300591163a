"""A little colour on standard output, where a person looks at it."""

from __future__ import annotations

import os
import shutil
import sys

_CODES = {"bold": "1", "dim": "2", "good": "32", "bad": "31", "notable": "33"}


def styled(text: str, style: str) -> str:
    """``text`` in bold, dim, or the colour of good, bad and notable things; as it is where there is no terminal for it."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if text and _has_colour() else text


def columns() -> int | None:
    """The width of the terminal that standard output is, or None where it is none: then nothing is broken or cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _has_colour() -> bool:
    # no-color.org: set to anything but nothing.
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
