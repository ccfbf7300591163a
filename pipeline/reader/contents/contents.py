"""The images of a source: found in its ``index.json``, or brought together from its ``saved-images-list.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pipeline.core import bounded_json, oci, reference
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import ArchiveError, ContentError, InputError
from pipeline.core.oci import REF_NAME, Descriptor, Digest, Index, Manifest, Platform, walk
from pipeline.core.reference import Reference
from pipeline.reader.contents.overlay import OverlayStore
from pipeline.reader.contents.parsed import ParsedManifests
from pipeline.reader.contents.stores import Store, open_store
from pipeline.storage.archive import ForeignArchiveError
from pipeline.storage.bundle_state import IMAGES_LIST
from pipeline.storage.delta import FILE as DELTA
from pipeline.storage.delta import AbsentBlob, Delta
from pipeline.storage.delta import parse as parse_delta
from pipeline.storage.image_layout import INDEX, SUBJECT

_T = TypeVar("_T")

FULL_NAME = "io.containerd.image.name"
"""What containerd and ``docker save`` call an image whose ``ref.name`` is a bare tag."""
MAX_IMAGES = 40_000
"""Entries of an index or a list; 2,000 images with nineteen signatures each."""
_ENDING = re.compile(r"(\.(tar|tgz|tzst|txz|gz|xz|zstd?|part[0-9]+))+")


@dataclass(frozen=True, eq=False)
class BundledImage:
    """An image in a source. ``m_id`` is its place there, from 1."""

    reference: Reference
    descriptor: Descriptor
    m_id: int

    @cached_property
    def subject(self) -> Digest | None:
        """What it came along with; None of an image that was asked for itself."""
        try:
            return Digest.parse(self.descriptor.annotations.get(SUBJECT, ""))
        except ContentError:
            return None


@dataclass(frozen=True)
class PlatformEntry:
    """One manifest of an image. ``platform`` is what the index says of it, or what its config says."""

    descriptor: Descriptor
    platform: Platform


class Contents:
    """The images of a source, and their blobs."""

    def __init__(
        self,
        store: Store,
        check: Callable[[], None] = walk.no_check,
        parse: Callable[[Digest], Manifest | Index] | None = None,
    ) -> None:
        """``check`` is called all along a walk through indexes, and ends it by raising. ``parse`` serves whoever has parsed
        what is in the store. Raises ArchiveError where no image can be made out.
        """
        self.store = store
        self.check = check
        self._made: dict[Digest, bytes] = {}
        self.delta = _delta(store)
        """What is left out, of a delta."""
        problems: list[str] = []
        self.bundled = tuple(self._find_images(problems))
        self.problems = tuple(problems)
        """Entries that do not name an image, in words."""
        if not self.bundled and not self.problems:
            raise ArchiveError(f"{store.place} holds no image")
        self.parse = parse or ParsedManifests(self._parse)
        self._known_size = lru_cache(maxsize=None)(self.size)

    @property
    def images(self) -> list[tuple[str, Descriptor]]:
        return [(str(image.reference), image.descriptor) for image in self.bundled]

    @cached_property
    def along(self) -> tuple[BundledImage, ...]:
        """Referrers that came along with images."""
        return tuple(held for held in self.bundled if held.subject is not None)

    @cached_property
    def families(self) -> Mapping[BundledImage, tuple[BundledImage, ...]]:
        """Each image with what came along with it: what refers to it, and to that. What refers to nothing here is its own."""
        about: dict[str, dict[Digest, list[BundledImage]]] = {}
        for held in self.along:
            if held.subject is not None:
                about.setdefault(held.reference.name, {}).setdefault(held.subject, []).append(held)
        images = [held for held in self.bundled if held.subject is None]
        found = {image: self._family(image, about.get(image.reference.name, {})) for image in images}
        known = {member for family in found.values() for member in family}
        return {**found, **{held: () for held in self.along if held not in known}}

    def _family(self, image: BundledImage, about: Mapping[Digest, Sequence[BundledImage]]) -> tuple[BundledImage, ...]:
        """``about`` has the referrers in the image's repository, by subject."""
        if not about:
            return ()
        level = [image.descriptor.digest]
        with suppress(ContentError):  # one that is damaged is reported where it is read
            level += [entry.descriptor.digest for entry in self.platforms(image.descriptor)]
        found: dict[BundledImage, None] = {}
        while level:
            new = {each for subject in level for each in about.get(subject, ()) if each not in found}
            found.update(dict.fromkeys(sorted(new, key=lambda each: each.m_id)))
            level = [each.descriptor.digest for each in new]
        return tuple(found)

    def left_out(self, digest: Digest) -> AbsentBlob | None:
        """What a delta says of a blob that it lacks; None of what is here, and of what simply is missing."""
        absent = self.delta.absent.get(digest) if self.delta else None
        return absent if absent is not None and self.size(digest) is None else None

    def why_not(self, digest: Digest) -> str:
        """Why a blob is not here, where that is known."""
        return "it is left out of this delta, as its base has it: see -base" if self.left_out(digest) else ""

    @cached_property
    def absent(self) -> Mapping[Digest, AbsentBlob]:
        """All blobs that a delta lacks; those of its base are here where that was opened with it."""
        found = self.delta.absent if self.delta else {}
        return {digest: blob for digest, blob in found.items() if self.size(digest) is None}

    def size(self, digest: Digest) -> int | None:
        made = self._made.get(digest)
        return self.store.size(digest) if made is None else len(made)

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        made = self._made.get(digest)
        if made is None:
            return self.store.open_blob(digest, offset, length)
        return iter([made[offset : None if length is None else offset + length]])

    def read(self, digest: Digest) -> bytes:
        """A manifest, an index or a config, checked. Raises ContentError, also where it is missing or far too large."""
        size = self.size(digest)
        if size is None:
            raise ContentError(f"{digest} is not in {self.store.place}")
        if size > oci.MAX_MANIFEST_SIZE:
            raise ContentError(f"{digest} has {bytes_text(size)}, more than any manifest or config in use")
        try:
            return b"".join(self.open_blob(digest))
        except ArchiveError as error:
            raise ContentError(str(error)) from error

    def _parse(self, digest: Digest) -> tuple[Manifest | Index, int]:
        """The manifest or index in the blob ``digest``, and its size. Raises ContentError."""
        data = self.read(digest)
        document = oci.parse(data)
        if not isinstance(document, Manifest | Index):
            raise ContentError(f"{digest} is a schema 1 manifest, which cannot be kept as it is")
        return document, len(data)

    def referrer_entry(self, descriptor: Descriptor) -> dict[str, Any]:
        """As ``oci.referrer_entry``, of something in here."""
        return oci.referrer_entry(descriptor.digest, self.read(descriptor.digest))

    def closure(self, descriptor: Descriptor) -> dict[Digest, Descriptor]:
        """A manifest or index and all it needs, foreign layers excepted, in order of first use. Raises ContentError.

        Sizes are those of the blobs that are here, whatever a manifest says.
        """
        found = walk.closure(descriptor, self.read_document, check=self.check)
        sizes = ((blob, self._known_size(blob.digest)) for blob in found.values())
        return {blob.digest: blob if size is None or size == blob.size else replace(blob, size=size) for blob, size in sizes}

    def read_document(self, descriptor: Descriptor) -> Manifest | Index:
        """For walks. Raises ContentError."""
        return self.parse(descriptor.digest)

    def platforms(self, descriptor: Descriptor) -> tuple[PlatformEntry, ...]:
        """Every manifest below an index, each once, in order; a manifest is its own. Raises ContentError."""
        parsed = self.parse(descriptor.digest)
        if isinstance(parsed, Manifest):
            return (PlatformEntry(descriptor, self._platform_of(descriptor, parsed)),)
        found: dict[Digest, PlatformEntry] = {}
        for child in walk.leaves(descriptor, self.read_document, check=self.check):
            found.setdefault(child.digest, PlatformEntry(child, child.platform))
        return tuple(found.values())

    def _platform_of(self, descriptor: Descriptor, manifest: Manifest) -> Platform:
        if descriptor.platform != Platform() or manifest.config.media_type not in oci.IMAGE_CONFIG_TYPES:
            return descriptor.platform
        return Platform.from_json(oci.load_json(self.read(manifest.config.digest)))

    def _find_images(self, problems: list[str]) -> Iterator[BundledImage]:
        number = 0
        for name, descriptor in self._named(problems):
            self.check()
            try:
                found = reference.parse(name)
            except InputError as error:
                problems.append(f"{name!a} names no image: {error.message}")
                continue
            number += 1
            yield BundledImage(found, descriptor, number)

    def _named(self, problems: list[str]) -> Iterator[tuple[str, Descriptor]]:
        index = self._document(INDEX)
        entries = index.get("manifests") if index else None
        if isinstance(entries, list) and entries:
            place = self.store.place
            yield from self._readable(entries, lambda entry: _entry(place, entry), problems)
            return
        images = self._document(IMAGES_LIST)
        if index is None and images is None:
            raise ForeignArchiveError(f"{self.store.place} holds no bundle: it has neither {INDEX} nor {IMAGES_LIST}")
        listed = images.get("List") if images else None
        yield from self._readable(listed if isinstance(listed, list) else [], self._brought_together, problems)

    def _readable(self, entries: list[Any], read: Callable[[Any], _T], problems: list[str]) -> Iterator[_T]:
        if len(entries) > MAX_IMAGES:
            raise ArchiveError(f"{self.store.place} lists {len(entries)} images, more than any bundle has ({MAX_IMAGES})")
        for number, entry in enumerate(entries, start=1):
            try:
                yield read(entry)
            except (ContentError, KeyError, TypeError, ValueError, AttributeError) as error:
                reason = str(error) if isinstance(error, ContentError) else "it is not as it must be"
                problems.append(f"image {number} of {self.store.place} cannot be read: {reason}")

    def _brought_together(self, item: Mapping[str, Any]) -> tuple[str, Descriptor]:
        """The image of an entry of ``saved-images-list.json``."""
        tag = str(item["Tag"])
        name = f"{item['Source']}{'@' if ':' in tag else ':'}{tag}"
        children = [self._listed(image, name) for image in item["Images"]]
        if not children:
            raise ContentError(f"{name} has no images")
        if len(children) == 1:
            (only,) = children
            return name, Descriptor.from_json({key: only[key] for key in ("mediaType", "digest", "size")})
        docker = all(child["mediaType"] == oci.DOCKER_MANIFEST for child in children)
        media_type = oci.DOCKER_LIST if docker else oci.OCI_INDEX
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": children}, indent=2).encode()
        self._made[Digest.of(data)] = data
        return name, Descriptor(media_type, Digest.of(data), len(data))

    def _listed(self, image: Mapping[str, Any], name: str) -> dict[str, Any]:
        """The descriptor of one platform: what its folder says, as others' digests are those before skopeo's conversion."""
        folder = str(image.get("Folder", ""))
        layout = self._document(f"{folder}/{INDEX}") if folder else None
        digest = Digest.parse(layout["manifests"][0]["digest"] if layout else image["Digest"])
        try:
            document = oci.parse(self.read(digest))
        except ContentError as error:
            raise ContentError(f"{name}: {error.message}") from error
        keys = {"os": "OS", "architecture": "Arch", "variant": "Variant", "os.version": "OsVersion"}
        platform = {key: str(image[field]) for key, field in keys.items() if image.get(field)}
        size = self.size(digest)
        return {"mediaType": document.media_type, "digest": str(digest), "size": size, "platform": platform}

    def _document(self, path: str) -> dict[str, Any] | None:
        data = self.store.metadata(path)
        if data is None:
            return None
        try:
            document = bounded_json.loads(data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ArchiveError(f"{path} in {self.store.place} is damaged: it holds no JSON object")
        return document


def open_contents(
    path: Path, check: Callable[[], None] = walk.no_check, place: str = "", bases: Sequence[Path] = ()
) -> Contents:
    """What lies at ``path``: an archive, volumes (any of their names), a folder, a tar. Raises as ``open_store``.

    What a delta lacks is taken from ``bases``, the bundles that it was made against.
    """
    return Contents(with_bases(open_store(path, place), bases), check)


def with_bases(store: Store, bases: Sequence[Path]) -> Store:
    """``store`` with the blobs of these bundles, which count as its own. Raises as ``open_store``."""
    return OverlayStore(store, [open_store(base) for base in bases]) if bases else store


def _delta(store: Store) -> Delta | None:
    data = store.metadata(DELTA)
    return None if data is None else parse_delta(data, store.place)


def name_of_entry(place: str, descriptor: Descriptor) -> str:
    """The reference of an entry of an ``index.json``; one that has a bare tag, or none, is named after its folder or file."""
    name, full = descriptor.annotations.get(REF_NAME, ""), descriptor.annotations.get(FULL_NAME, "")
    if full and ((full.endswith(name) and "/" in full) or not _is_full(name)):
        return full  # hauler cuts off the registry in the other
    if _is_full(name):
        return name
    file = _ENDING.sub("", Path(place).absolute().name.lower())
    folder = re.sub(r"[^a-z0-9]+", "-", file).strip("-") or "layout"
    return f"localhost/{folder}:{name}" if name else f"localhost/{folder}@{descriptor.digest}"


def _is_full(name: str) -> bool:
    """Whether it is more than a tag."""
    return "/" in name or ":" in name


def _entry(place: str, entry: Any) -> tuple[str, Descriptor]:
    descriptor = Descriptor.from_json(entry)
    return name_of_entry(place, descriptor), descriptor
