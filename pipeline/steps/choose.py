"""Which of an image's manifests are asked for, and what index the image gets.

In come an image of the bundle and what its tag names (bytes that are in the cache), out goes a ``Choice``; nothing is
written. The rules are those of docs/formats.md, "Digests": an index stays as it is when every platform it names was asked
for, or when it is pinned by digest; otherwise a new one holds the chosen descriptors, verbatim, and the attestations about
them. What names no platform (a Helm chart, say) is kept whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core import files, oci
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ContentError, PlatformError
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, Platform
from pipeline.core.reference import shorten
from pipeline.storage.cache import BLOBS, INDEX, LAYOUT_FILE, MAX_DEPTH, Cache

RECORD_VERSION = 1
MAX_PLATFORMS = 1000
"""Manifests to fetch of one image; real ones have twenty."""
MAX_NAMED = 20
"""Platforms that a message lists."""


@dataclass(frozen=True)
class Resolved:
    """What a reference names right now: the top object's descriptor. It does not depend on ``-a`` or ``-os``."""

    descriptor: Descriptor
    platform: Platform = field(default_factory=Platform)
    """Of a schema 1 image, whose manifest says it; it has no other place."""

    @property
    def is_schema1(self) -> bool:
        return self.descriptor.media_type in oci.SCHEMA1_TYPES

    def to_json(self) -> dict[str, Any]:
        return {
            "version": RECORD_VERSION,
            "descriptor": self.descriptor.to_json(),
            "platform": {"os": self.platform.os, "architecture": self.platform.architecture},
        }


@dataclass(frozen=True)
class PlatformImage:
    """One image/arch to copy. ``slug`` names its folder and task; ``img_id`` counts the chosen ones of an image from 1."""

    descriptor: Descriptor
    platform: Platform
    slug: str
    img_id: int


@dataclass(frozen=True)
class Choice:
    """What is saved of one image."""

    top: Descriptor
    platforms: tuple[PlatformImage, ...]
    index: bytes | None
    """The image's index, or None where the source has none."""
    notes: tuple[str, ...] = ()

    @property
    def is_subset(self) -> bool:
        return self.index is not None and Digest.of(self.index) != self.top.digest

    @property
    def subjects(self) -> tuple[Digest, ...]:
        """What is in the bundle as it was at the source, so that others may refer to it: index and manifests."""
        index = () if self.index is None or self.is_subset else (self.top.digest,)
        return tuple(dict.fromkeys((*index, *(platform.descriptor.digest for platform in self.platforms))))


def read_record(path: Path) -> Resolved | None:
    """A record that ``resolve`` wrote, or None where it is missing, damaged or of another version."""
    document = files.read_json(path)
    try:
        if document["version"] != RECORD_VERSION:
            return None
        return Resolved(Descriptor.from_json(document["descriptor"]), Platform.from_json(document["platform"]))
    except (TypeError, KeyError, ContentError):
        return None


def choose(cache: Cache, image: BundleImage, resolved: Resolved) -> Choice:
    """Raises PlatformError when nothing asked for is there, ContentError when an object is missing or damaged."""
    top = resolved.descriptor
    if resolved.is_schema1:
        return _single(image, top, resolved.platform, ("Docker schema 1 is converted to OCI: its digest changes",))
    parsed = cache.parse(top.digest)
    if isinstance(parsed, Manifest):
        return _single(image, top, platform_of(cache, parsed), ())
    return _from_index(cache, image, top, parsed)


def platform_of(cache: Cache, manifest: Manifest) -> Platform:
    """The platform that an image's config names; an artifact has none. Raises ContentError."""
    if manifest.config.media_type not in oci.IMAGE_CONFIG_TYPES:
        return Platform()
    return Platform.from_json(oci.load_json(cache.read(manifest.config.digest)))


def nested(cache: Cache, index: Index, depth: int = 1, seen: set[Digest] | None = None) -> Iterator[Descriptor]:
    """The descriptors of an index with those of the indexes in it, which must be in the cache. Raises ContentError.

    An index that comes again is left out: few, each with many that are one, would unfold to more than anybody can count.
    """
    if depth > MAX_DEPTH:
        raise ContentError(f"indexes are nested more than {MAX_DEPTH} deep")
    seen = set() if seen is None else seen
    for descriptor in index.manifests:
        if descriptor.media_type in oci.INDEX_TYPES:
            child = None if descriptor.digest in seen else cache.parse(descriptor.digest)
            seen.add(descriptor.digest)
            if isinstance(child, Index):
                yield from nested(cache, child, depth + 1, seen)
        else:
            yield descriptor


def _single(image: BundleImage, top: Descriptor, platform: Platform, notes: tuple[str, ...]) -> Choice:
    if platform.is_known and not image.platforms.matches(platform):
        if image.reference.digest is None:
            raise PlatformError(f"it is made for {platform} only, but {image.platforms} was asked for", tip="see -a and -os")
        notes = (*notes, f"made for {platform}, which was not asked for; it is saved as the digest names it")
    return Choice(top, (PlatformImage(top, platform, slug(platform), 1),), None, notes)


def _from_index(cache: Cache, image: BundleImage, top: Descriptor, index: Index) -> Choice:
    known = [d for d in index.manifests if d.platform.is_known and not d.is_attestation]
    asked = [d for d in known if image.platforms.matches(d.platform)]
    notes = _lacking(image, tuple(nested(cache, index)))
    if known and not asked and image.reference.digest is None:
        names = list(dict.fromkeys(str(d.platform) for d in known))
        have = ", ".join([*names[:MAX_NAMED], *(["..."] if len(names) > MAX_NAMED else [])])
        raise PlatformError(f"it has no platform of those asked for ({image.platforms}); it has {have}", tip="see -a and -os")
    whole = len(asked) == len(known)
    if image.reference.digest is not None and not whole:
        extra = ", ".join(str(d.platform) for d in known if not image.platforms.matches(d.platform))
        notes = (*notes, f"pinned by digest, so all of the index is saved: also {extra}")
        whole = True
    if whole:
        chosen, data = index.manifests, cache.read(top.digest)
    else:
        subjects = {str(d.digest) for d in asked}
        chosen = tuple(d for d in index.manifests if _is_wanted(image, d, subjects))
        data = index.subset(chosen)
    if not chosen:
        raise PlatformError("its index is empty")
    return Choice(top, _platform_images(cache, index, chosen), data, notes)


def _is_wanted(image: BundleImage, descriptor: Descriptor, subjects: set[str]) -> bool:
    """Attestations go with their subject, the digest of a chosen platform; what names no platform is kept whole."""
    if descriptor.is_attestation:
        return descriptor.annotations.get(oci.ATTESTATION_SUBJECT) in subjects
    return not descriptor.platform.is_known or image.platforms.matches(descriptor.platform)


def _lacking(image: BundleImage, manifests: tuple[Descriptor, ...]) -> tuple[str, ...]:
    platforms = [d.platform for d in manifests if d.platform.is_known]
    lacking = [str(a) for a in image.platforms.architectures if not any(map(a.matches, platforms))]
    return (f"not made for {', '.join(lacking)}",) if lacking and platforms else ()


def _platform_images(cache: Cache, index: Index, chosen: tuple[Descriptor, ...]) -> tuple[PlatformImage, ...]:
    # Named over the whole index, so that a platform's folder does not depend on what else was asked for.
    names = _unique_slugs(dict.fromkeys((d.digest, d.platform) for d in nested(cache, index)))
    images: dict[Digest, PlatformImage] = {}
    for descriptor in nested(cache, Index(index.media_type, chosen)):
        if descriptor.digest not in images:
            name = names[descriptor.digest, descriptor.platform]
            images[descriptor.digest] = PlatformImage(descriptor, descriptor.platform, name, len(images) + 1)
    if len(images) > MAX_PLATFORMS:
        raise ContentError(f"its index names {len(images)} manifests to fetch, more than any image has ({MAX_PLATFORMS})")
    return tuple(images.values())


def _unique_slugs(platforms: Iterable[tuple[Digest, Platform]]) -> dict[tuple[Digest, Platform], str]:
    """A short digest tells platforms of one name apart; the whole one, where a registry chose a name that looks so."""
    slugs = {key: slug(key[1]) for key in platforms}
    occurrences = Counter(slugs.values())
    taken: set[str] = set()
    for key, name in slugs.items():
        digest = key[0]
        if occurrences[name] > 1:
            name = f"{name}-{digest.short}"
        if name in taken:
            name = f"{name[:120]}~{digest.hex}"
        taken.add(name)
        slugs[key] = name
    return slugs


def slug(platform: Platform) -> str:
    """``linux-arm-v7``: safe as a folder name beside what an image layout holds, whatever a registry wrote into it."""
    parts = (platform.os, platform.architecture, platform.variant, platform.os_version)
    text = re.sub(r"[^A-Za-z0-9._-]", "+", "-".join(part for part in parts if part)).lstrip(".")
    return shorten(f"{text}+" if text in (BLOBS, INDEX, LAYOUT_FILE) else text) or "unknown"
