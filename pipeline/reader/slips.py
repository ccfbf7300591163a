"""A slip, demanded of what is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.core.errors import ArchiveError
from pipeline.core.interruption import Interruption
from pipeline.reader.contents import ArchiveStore, Store
from pipeline.storage import slip


def demand_slip(source: Path, store: Store, allowed: Path, interruption: Interruption) -> dict[str, Any]:
    """The slip of ``source``, proved, with its ``signer``. Raises ArchiveError, also for what can have none."""
    if not isinstance(store, ArchiveStore):
        raise ArchiveError(f"{source} is no archive of this program, and only these have slips")
    return slip.verify(source, store.reader, allowed, interruption)
