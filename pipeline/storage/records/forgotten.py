"""Bundles whose forgetting has begun (``.state/forgotten.json``), until all that only they needed is removed.

Their state goes first, so that nothing names what is not there. With this record, a prune that was killed in its middle can be
finished by the same command, which would not know their names otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.core import files


def read(path: Path) -> dict[str, str]:
    """Destination (empty where it is not known) by id. Nothing where there is no such record, or it is damaged."""
    document = files.read_sealed(path)
    try:
        return {str(name): str(destination) for name, destination in document["bundles"].items()}
    except (TypeError, KeyError, AttributeError):
        return {}


def write(path: Path, bundles: Mapping[str, str]) -> None:
    files.write_atomic(path, files.dump_sealed({"bundles": dict(bundles)}))
