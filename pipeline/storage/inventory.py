"""An inventory: one small file that says what a place has, or was told to have. The base of a delta is one.

    {"schemaVersion": 1, "mediaType": "application/vnd.image-tools.inventory.v1+json",
     "of": "registry.internal:5000", "names": "target",
     "images": [{"reference": "registry.internal:5000/library/nginx:1.27", "digest": "sha256:…"}],
     "blobs": [{"digest": "sha256:…", "size": 3145728, "known": "read",
                "repositories": ["registry.internal:5000/library/nginx"]}]}

``names`` says whose names these are: those of the ``source``, which ``load`` maps to a registry, or those of the ``target``,
the registry ``of`` itself. ``known`` says how: a byte was ``read`` there, a ``manifest`` there names it, or it was
``recorded``.
All is sorted: the same contents are the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.core import bounded_json, files
from pipeline.core.amounts import bytes_text
from pipeline.core.bounded_json import natural, text
from pipeline.core.errors import ContentError, InputError
from pipeline.core.oci import Digest

MEDIA_TYPE = "application/vnd.image-tools.inventory.v1+json"
SUFFIX = ".receipt.json"
"""Of the inventory that ``load`` writes."""
MAX_SIZE = 64 << 20
"""Bytes of an inventory: some 200,000 blobs."""
MAX_WEIGHT = 512 << 20
"""Bytes that one takes when it is read."""
SOURCE, TARGET = "source", "target"
READ, MANIFEST, RECORDED = "read", "manifest", "recorded"
_STRENGTH = (RECORDED, MANIFEST, READ)


@dataclass(frozen=True, kw_only=True)
class PlacedBlob:
    """``repositories`` are names without tags (``docker.io/library/nginx``), sorted."""

    size: int
    repositories: tuple[str, ...]
    known: str


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """``images`` are references and digests; ``blobs`` are manifests, configs and layers alike."""

    of: str
    names: str
    images: tuple[tuple[str, Digest], ...]
    blobs: Mapping[Digest, PlacedBlob] = field(repr=False)

    @cached_property
    def digest(self) -> Digest:
        """What names it, as the base of a delta."""
        return Digest.of(dump(self))


class InventoryMaker:
    """Collects what a place has."""

    def __init__(self, of: str, names: str) -> None:
        self._of = of
        self._names = names
        self._images: dict[tuple[str, Digest], None] = {}
        self._blobs: dict[Digest, tuple[int, set[str], str]] = {}

    def add_image(self, reference: str, digest: Digest) -> None:
        self._images[reference, digest] = None

    def add_blob(self, digest: Digest, size: int, repository: str, known: str) -> None:
        """Of several ways to know, the strongest counts."""
        _, repositories, before = self._blobs.get(digest, (size, set[str](), known))
        repositories.add(repository)
        self._blobs[digest] = size, repositories, max(before, known, key=_STRENGTH.index)

    def made(self) -> Inventory:
        blobs = {
            digest: PlacedBlob(size=size, repositories=tuple(sorted(repositories)), known=known)
            for digest, (size, repositories, known) in sorted(self._blobs.items())
        }
        return Inventory(of=self._of, names=self._names, images=tuple(sorted(self._images)), blobs=blobs)


def dump(inventory: Inventory) -> bytes:
    """As it is written: a line for each image and each blob, as it may be looked at by people and by ``diff``."""
    images = (_line({"reference": name, "digest": str(digest)}) for name, digest in inventory.images)
    blobs = (
        _line({"digest": str(digest), "size": blob.size, "repositories": list(blob.repositories), "known": blob.known})
        for digest, blob in inventory.blobs.items()
    )
    head = {"schemaVersion": 1, "mediaType": MEDIA_TYPE, "of": inventory.of, "names": inventory.names}
    return (_line(head)[:-1] + ',\n"images": [\n' + _lines(images) + '],\n"blobs": [\n' + _lines(blobs) + "]}\n").encode()


def write(path: Path, inventory: Inventory) -> None:
    """Raises OSError."""
    files.write_if_changed(path, dump(inventory))


def read(path: Path) -> Inventory:
    """Raises InputError for what is no inventory."""
    try:
        data = files.read_bounded(path, MAX_SIZE)
    except OSError as error:
        raise InputError([f"cannot read {path}: {error.strerror}"]) from error
    if data is None:
        raise InputError([f"{path} is larger than {bytes_text(MAX_SIZE)}, more than any inventory"])
    return parse(data, str(path))


def parse(data: bytes, place: str) -> Inventory:
    """Raises InputError for what is no inventory; ``place`` is what messages call it."""
    try:
        document = bounded_json.loads(data, MAX_WEIGHT)
        if document["mediaType"] != MEDIA_TYPE or document["schemaVersion"] != 1:
            raise ValueError
        names = document["names"]
        if names not in (SOURCE, TARGET):
            raise ValueError
        blobs = {Digest.parse(text(each["digest"])): _blob(each) for each in document["blobs"]}
        images = tuple((text(each["reference"]), Digest.parse(text(each["digest"]))) for each in document["images"])
        return Inventory(of=text(document["of"]), names=names, images=images, blobs=blobs)
    except (LookupError, TypeError, ValueError, AttributeError, ContentError) as error:
        raise InputError(
            [f"{place} is no inventory of this program"], tip="'image-tools inventory SOURCE -o FILE' writes one"
        ) from error


def _blob(entry: Mapping[str, Any]) -> PlacedBlob:
    known = entry["known"]
    if known not in _STRENGTH:
        raise ValueError
    return PlacedBlob(
        size=natural(entry["size"]), repositories=tuple(text(name) for name in entry["repositories"]), known=known
    )


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False)


def _lines(lines: Iterable[str]) -> str:
    joined = ",\n".join(lines)
    return f"{joined}\n" if joined else ""
