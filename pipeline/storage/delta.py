"""A delta: a bundle without the layers that its base has. ``delta.json`` says which, and takes the place of
``saved-images-list.json``, so that a reader that knows no deltas refuses one instead of loading half of it.

    {"schemaVersion": 1,
     "bases": [{"digest": "sha256:…", "of": "registry.internal:5000", "names": "target"}],
     "repositories": ["registry.internal:5000/library/nginx"],
     "blobs": [{"digest": "sha256:…", "size": 3145728, "base": 0, "repositories": [0]}],
     "list": {…}}

A base is named by the digest of its inventory. ``repositories`` of a blob are numbers in the table, ``base`` says whose names
they are. ``list`` is what ``saved-images-list.json`` would be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core import bounded_json, files
from pipeline.core.bounded_json import natural, text
from pipeline.core.errors import ArchiveError, ContentError, InputError
from pipeline.core.oci import Digest
from pipeline.storage import inventory
from pipeline.storage.inventory import Inventory

FILE = "delta.json"
MISSING = "application/vnd.image-tools.missing.v1+json"
MAX_MISSING = 32 << 20
"""Bytes of a list of what is missing."""


@dataclass(frozen=True, kw_only=True)
class BaseName:
    """An inventory as a delta names it: by its digest, with what it is ``of`` and whose ``names`` it has."""

    digest: Digest
    of: str
    names: str


@dataclass(frozen=True, kw_only=True)
class AbsentBlob:
    """A layer that is left out: which of the bases has it, and in which repositories."""

    size: int
    base: BaseName
    repositories: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What is left out, by digest, and ``images``: the list of what the bundle is."""

    bases: tuple[BaseName, ...]
    absent: Mapping[Digest, AbsentBlob] = field(repr=False)
    images: Mapping[str, Any] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes that are left out."""
        return sum(blob.size for blob in self.absent.values())


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a delta is made against: inventories, of which the first that has a blob counts."""

    inventories: tuple[Inventory, ...]
    carried: frozenset[Digest] = frozenset()
    """What travels all the same, as it turned out to be missing there."""

    @property
    def digests(self) -> list[str]:
        return [str(each.digest) for each in self.inventories]

    def left_out(self, layers: Mapping[Digest, int]) -> tuple[tuple[BaseName, ...], dict[Digest, AbsentBlob]]:
        """The bases by name, and those of the ``layers`` (digests and sizes) that they have."""
        names = tuple(BaseName(digest=each.digest, of=each.of, names=each.names) for each in self.inventories)
        absent: dict[Digest, AbsentBlob] = {}
        for digest, size in layers.items():
            if digest in self.carried:
                continue
            for name, each in zip(names, self.inventories, strict=True):
                if (blob := each.blobs.get(digest)) is not None:
                    absent[digest] = AbsentBlob(size=size, base=name, repositories=blob.repositories)
                    break
        return names, absent


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What a place turned out to lack: layers, and the images that need them, by their names in the bundle."""

    of: str
    images: tuple[str, ...]
    blobs: Mapping[Digest, int]


def dump(delta: Delta) -> bytes:
    table = sorted({name for blob in delta.absent.values() for name in blob.repositories})
    numbers = {name: number for number, name in enumerate(table)}
    bases = {base.digest: number for number, base in enumerate(delta.bases)}
    document = {
        "schemaVersion": 1,
        "bases": [{"digest": str(base.digest), "of": base.of, "names": base.names} for base in delta.bases],
        "repositories": table,
        "blobs": [
            {
                "digest": str(digest),
                "size": blob.size,
                "base": bases[blob.base.digest],
                "repositories": [numbers[name] for name in blob.repositories],
            }
            for digest, blob in sorted(delta.absent.items())
        ],
        "list": delta.images,
    }
    return files.dump_json(document)


def parse(data: bytes, place: str) -> Delta:
    """Raises ArchiveError for what ``dump`` did not make; ``place`` is what messages call it."""
    try:
        document = bounded_json.loads(data)
        if document["schemaVersion"] != 1:
            raise ValueError(f"version {document['schemaVersion']}")
        bases = tuple(_base(each) for each in document["bases"])
        table = [text(name) for name in document["repositories"]]
        absent = {Digest.parse(text(each["digest"])): _absent(each, bases, table) for each in document["blobs"]}
        if not isinstance(document["list"], dict):
            raise TypeError("no list")
        return Delta(bases=bases, absent=absent, images=document["list"])
    except (LookupError, TypeError, ValueError, AttributeError, ContentError) as error:
        raise ArchiveError(f"{FILE} in {place} is damaged: {error}", tip="copy the archive again") from error


def write_missing(path: Path, missing: Missing) -> None:
    document = {
        "schemaVersion": 1,
        "mediaType": MISSING,
        "of": missing.of,
        "images": list(missing.images),
        "blobs": [{"digest": str(digest), "size": size} for digest, size in sorted(missing.blobs.items())],
    }
    files.write_atomic(path, files.dump_json(document))


def read_missing(path: Path) -> Missing:
    """Raises InputError."""
    try:
        data = files.read_bounded(path, MAX_MISSING)
        document = bounded_json.loads(data or b"")
        if document["mediaType"] != MISSING:
            raise ValueError("another kind of document")
        blobs = {Digest.parse(text(each["digest"])): natural(each["size"]) for each in document["blobs"]}
        return Missing(of=text(document["of"]), images=tuple(text(name) for name in document["images"]), blobs=blobs)
    except OSError as error:
        raise InputError([f"cannot read {path}: {error.strerror}"]) from error
    except (LookupError, TypeError, ValueError, AttributeError, ContentError) as error:
        raise InputError([f"{path} is no list of what is missing, as 'image-tools load' writes it"]) from error


def named(images: Collection[str], blobs: Iterable[tuple[str, Digest, int]], of: str) -> Missing:
    """What is missing, of ``blobs``: the image that needs each, its digest, its size. In the order of ``images``."""
    found = list(blobs)
    lacking = {image for image, _, _ in found}
    return Missing(
        of=of,
        images=tuple(name for name in images if name in lacking),
        blobs={digest: size for _, digest, size in found},
    )


def _base(entry: Mapping[str, Any]) -> BaseName:
    names = entry["names"]
    if names not in (inventory.SOURCE, inventory.TARGET):
        raise ValueError("names of nobody")
    return BaseName(digest=Digest.parse(text(entry["digest"])), of=text(entry["of"]), names=names)


def _absent(entry: Mapping[str, Any], bases: Sequence[BaseName], table: Sequence[str]) -> AbsentBlob:
    numbers = [natural(number) for number in entry["repositories"]]
    return AbsentBlob(
        size=natural(entry["size"]),
        base=bases[natural(entry["base"])],
        repositories=tuple(table[number] for number in numbers),
    )
