"""How some formats are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """How some formats are read: values for charts, the flavor of zarf packages."""

    values: tuple[Path, ...] = ()
    flavor: str = ""
