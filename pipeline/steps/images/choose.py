"""Which of an image's manifests are asked for, and what index the image gets.

Takes an image of the bundle and what its tag names (bytes that are in the cache), returns a ``Choice``; writes nothing. The
rules are those of docs/formats.md, "Digests": an index stays as it is when every platform in it was asked for, or when it is
pinned by digest; otherwise a new one holds the chosen descriptors, verbatim, and the attestations about them. The choice is
among manifests, however many indexes lie between. What names no platform (a Helm chart, say) is kept whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.core import oci
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ContentError, PlatformError
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, Platform, walk
from pipeline.core.reference import shorten
from pipeline.storage.cache import Cache
from pipeline.storage.image_layout import BLOBS, INDEX, LAYOUT_FILE
from pipeline.storage.records.resolved import Resolved

MAX_PLATFORMS = 1000
"""Manifests to fetch of one image; real ones have twenty."""
MAX_NAMED = 20
"""Platforms that a message lists."""


@dataclass(frozen=True)
class PlatformImage:
    """One image/arch to copy. ``slug`` names its folder and task; ``img_id`` counts the chosen ones of an image from 1."""

    descriptor: Descriptor
    platform: Platform
    slug: str
    img_id: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is saved of one image."""

    top: Descriptor
    platforms: tuple[PlatformImage, ...]
    index: bytes | None = None
    """The image's index, or None where the source has none."""
    inner: tuple[tuple[Digest, bytes], ...] = ()
    """Indexes in ``index`` that are new, as only some of what they named was asked for."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """As ``notes``, of what is not as it was at the source, or not all of it."""

    @property
    def digest(self) -> Digest:
        """What the image is in the bundle. (The conversion of a schema 1 image is not known before it is copied.)"""
        return self.top.digest if self.index is None else Digest.of(self.index, self.top.digest.algorithm)

    @property
    def is_subset(self) -> bool:
        return self.digest != self.top.digest

    @property
    def subjects(self) -> tuple[Digest, ...]:
        """What is in the bundle as it was at the source, so that others may refer to it: index and manifests."""
        index = () if self.index is None or self.is_subset else (self.top.digest,)
        return tuple(dict.fromkeys((*index, *(platform.descriptor.digest for platform in self.platforms))))


def choose(cache: Cache, image: BundleImage, resolved: Resolved) -> Choice:
    """Raises PlatformError when nothing asked for is there, ContentError when an object is missing or damaged."""
    top = resolved.descriptor
    if resolved.is_schema1:
        choice = _single(image, top, resolved.platform)
        return replace(choice, warnings=("Docker schema 1 is converted to OCI: its digest changes",))
    parsed = cache.parse(top.digest)
    if isinstance(parsed, Manifest):
        return _single(image, top, platform_of(cache, parsed))
    return _from_index(cache, image, resolved)


def platform_of(cache: Cache, manifest: Manifest) -> Platform:
    """The platform that an image's config names; an artifact has none. Raises ContentError."""
    if manifest.config.media_type not in oci.IMAGE_CONFIG_TYPES:
        return Platform()
    return Platform.from_json(oci.load_json(cache.read(manifest.config.digest)))


def _single(image: BundleImage, top: Descriptor, platform: Platform) -> Choice:
    notes: tuple[str, ...] = ()
    if platform.is_known and not image.platforms.matches(platform):
        if image.reference.digest is None:
            raise PlatformError(f"it is made for {platform} only, but {image.platforms} was asked for", tip="see -a and -os")
        notes = (f"made for {platform}, which was not asked for; it is saved as the digest names it",)
    return Choice(top=top, platforms=(PlatformImage(top, platform, slug(platform), 1),), notes=notes)


@dataclass(frozen=True)
class _Leaf:
    """An entry that is not an index. ``place`` is the index that names it, and its number there."""

    descriptor: Descriptor
    platform: Platform
    """What it says itself, or where it says nothing, the index around it."""
    place: tuple[Digest, int]

    @property
    def is_known(self) -> bool:
        return self.platform.is_known and not self.descriptor.is_attestation


def _from_index(cache: Cache, image: BundleImage, resolved: Resolved) -> Choice:
    top, is_pinned = resolved.descriptor, image.reference.digest is not None
    leaves = _leaves(cache, top)
    known = [leaf for leaf in leaves if leaf.is_known]
    asked = [leaf for leaf in known if image.platforms.matches(leaf.platform)]
    notes = _lacking(image, known)
    if not leaves:
        raise PlatformError("its index is empty")
    if known and not asked and not is_pinned:
        names = list(dict.fromkeys(str(leaf.platform) for leaf in known))
        have = ", ".join([*names[:MAX_NAMED], *(["..."] if len(names) > MAX_NAMED else [])])
        raise PlatformError(f"it has no platform of those asked for ({image.platforms}); it has {have}", tip="see -a and -os")
    if is_pinned and len(asked) < len(known):
        extra = ", ".join(str(leaf.platform) for leaf in known if not image.platforms.matches(leaf.platform))
        notes = (*notes, f"pinned by digest, so all of the index is saved: also {extra}")
    whole = is_pinned or len(asked) == len(known)
    subjects = {str(leaf.descriptor.digest) for leaf in asked}
    wanted = [leaf for leaf in leaves if whole or _is_wanted(image, leaf, subjects)]
    absent = [leaf for leaf in wanted if leaf.descriptor.digest in resolved.absent]
    if absent and image.referrers is not None and image.referrers.is_strict:
        raise ContentError(
            f"the registry does not have its attestation {absent[0].descriptor.digest}",
            tip="-referrers, without =strict, leaves it out",
        )
    if absent and is_pinned:
        raise ContentError(
            f"the registry does not have its attestation {absent[0].descriptor.digest}, and a digest names all of an index",
            tip="name the image by its tag: an attestation that is not there is left out then",
        )
    warnings = tuple(f"the registry does not have its attestation {leaf.descriptor.digest}; it is left out" for leaf in absent)
    present = [leaf for leaf in wanted if leaf.descriptor.digest not in resolved.absent]
    index, inner = (cache.read(top.digest), ()) if len(present) == len(leaves) else _subset(cache, top, present)
    platforms = _platform_images(leaves, present)
    return Choice(top=top, platforms=platforms, index=index, inner=inner, notes=notes, warnings=warnings)


def _leaves(cache: Cache, top: Descriptor) -> list[_Leaf]:
    """What an index leads to. The indexes in it must be in the cache. Raises ContentError."""
    documents = walk.indexes(top, lambda each: cache.parse(each.digest))
    indexes = {descriptor.digest: index for descriptor, index in documents if isinstance(index, Index)}
    outer: dict[Digest, Platform] = {}
    leaves: list[_Leaf] = []
    for digest, index in indexes.items():
        for number, entry in enumerate(index.manifests):
            platform = outer.get(digest, Platform()) if entry.platform == Platform() else entry.platform
            if entry.digest in indexes:
                outer.setdefault(entry.digest, platform)
            else:
                leaves.append(_Leaf(entry, platform, (digest, number)))
    return leaves


def _is_wanted(image: BundleImage, leaf: _Leaf, subjects: set[str]) -> bool:
    """Attestations go with their subject, the digest of a chosen platform; what names no platform is kept whole."""
    if leaf.descriptor.is_attestation:
        return leaf.descriptor.annotations.get(oci.ATTESTATION_SUBJECT) in subjects
    return not leaf.platform.is_known or image.platforms.matches(leaf.platform)


def _subset(cache: Cache, top: Descriptor, wanted: Sequence[_Leaf]) -> tuple[bytes, tuple[tuple[Digest, bytes], ...]]:
    """The index with nothing in it but what leads to ``wanted``, and the new indexes that it names."""
    places = {leaf.place for leaf in wanted}
    made: dict[Digest, bytes] = {}
    new: list[tuple[Digest, bytes]] = []
    for descriptor, index in walk.indexes(top, lambda each: cache.parse(each.digest), innermost_first=True):
        if not isinstance(index, Index):
            continue
        kept = []
        for number, entry in enumerate(index.manifests):
            if entry.digest in made:
                kept += [entry.renewed(made[entry.digest])] if made[entry.digest] else []
            elif (descriptor.digest, number) in places:
                kept.append(entry)
        if tuple(kept) == index.manifests:
            made[descriptor.digest] = cache.read(descriptor.digest)
        else:
            data = made[descriptor.digest] = index.subset(tuple(kept)) if kept else b""
            new += [(descriptor.renewed(data).digest, data)] if kept and descriptor is not top else []
    return made[top.digest], tuple(new)


def _lacking(image: BundleImage, known: Sequence[_Leaf]) -> tuple[str, ...]:
    lacking = [str(a) for a in image.platforms.architectures if not any(a.matches(leaf.platform) for leaf in known)]
    return (f"not made for {', '.join(lacking)}",) if lacking and known else ()


def _platform_images(leaves: Sequence[_Leaf], wanted: Sequence[_Leaf]) -> tuple[PlatformImage, ...]:
    # Named over the whole index, so that a platform's folder does not depend on what else was asked for.
    names = _unique_slugs(dict.fromkeys((leaf.descriptor.digest, leaf.platform) for leaf in leaves))
    images: dict[Digest, PlatformImage] = {}
    for leaf in wanted:
        digest = leaf.descriptor.digest
        if digest not in images:
            images[digest] = PlatformImage(leaf.descriptor, leaf.platform, names[digest, leaf.platform], len(images) + 1)
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
