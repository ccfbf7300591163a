"""What differs between two states of a list: images that came, went or moved, and the bytes that carrying the change costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.errors import InputError
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference, parse
from pipeline.storage import inventory
from pipeline.storage.inventory import Inventory


@dataclass(frozen=True, kw_only=True)
class State:
    """Images by the name that both states call them; the digest is None in a plain list. ``blobs`` is None where none are
    known."""

    images: Mapping[str, Digest | None]
    blobs: Mapping[Digest, int] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Names, sorted. ``size`` counts the bytes that NEW has and OLD has not; None where that is not known."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[tuple[str, Digest, Digest], ...]
    size: int | None
    blobs: int | None

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved)

    def to_json(self) -> dict[str, Any]:
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "moved": [{"image": name, "old": str(old), "new": str(new)} for name, old, new in self.moved],
            "blobs": self.blobs,
            "size": self.size,
        }


def of_list(references: Iterable[Reference], *, bare: bool) -> State:
    return State(images={_name(reference, bare): reference.digest for reference in references})


def of_inventory(found: Inventory, *, bare: bool) -> State:
    """``bare`` names leave out the registry: those of a target are compared with those of a source so."""
    prefix = found.of.partition("/")[2]
    images: dict[str, Digest | None] = {}
    for name, digest in found.images:
        try:
            reference = parse(name)
        except InputError:
            continue
        short = _name(reference, bare)
        images[short.removeprefix(f"{prefix}/") if bare and found.names == inventory.TARGET and prefix else short] = digest
    return State(images=images, blobs={digest: blob.size for digest, blob in found.blobs.items()})


def difference(old: State, new: State) -> Difference:
    both = old.images.keys() & new.images.keys()
    moved = []
    for name in sorted(both):
        before, after = old.images[name], new.images[name]
        if before is not None and after is not None and before != after:
            moved.append((name, before, after))
    lacking = None
    if old.blobs is not None and new.blobs is not None:
        lacking = [size for digest, size in new.blobs.items() if digest not in old.blobs]
    return Difference(
        added=tuple(sorted(new.images.keys() - both)),
        removed=tuple(sorted(old.images.keys() - both)),
        moved=tuple(moved),
        size=None if lacking is None else sum(lacking),
        blobs=None if lacking is None else len(lacking),
    )


def _name(reference: Reference, bare: bool) -> str:
    """As in bundles: a digest beside a tag is what is compared, not a part of the name."""
    if not bare:
        return str(Reference(reference.registry, reference.repository, reference.tag)) if reference.tag else str(reference)
    return f"{reference.repository}:{reference.tag}" if reference.tag else f"{reference.repository}@{reference.digest}"
