"""What a cache has learned of registries, so that the next run need not learn it again: ``.state/registries.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core import files

VERSION = 1


@dataclass(frozen=True)
class KnownRegistries:
    """By name, ``host`` or ``host:port``."""

    heads_lie: frozenset[str] = frozenset()
    """Those whose HEAD of a manifest is not to be believed."""
    quotas: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """GETs of manifests that each allows, and in how many seconds."""


def write(path: Path, known: KnownRegistries) -> None:
    document = {
        "version": VERSION,
        "headsLie": sorted(known.heads_lie),
        "quotas": {name: list(quota) for name, quota in sorted(known.quotas.items())},
    }
    files.write_if_changed(path, files.dump_sealed(document), durable=False)


def read(path: Path) -> KnownRegistries:
    """The record; nothing is known where it is missing, damaged or of another version."""
    document = files.read_sealed(path)
    try:
        if document["version"] != VERSION:
            return KnownRegistries()
        quotas = {str(name): (int(limit), int(window)) for name, (limit, window) in document["quotas"].items()}
        return KnownRegistries(frozenset(map(str, document["headsLie"])), quotas)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return KnownRegistries()
