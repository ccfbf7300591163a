"""Act 2, one image/arch: its folder in the cache, an OCI layout of one manifest.

``copy`` makes ``images/<reference>/<platform>/`` of blobs that ``fetch`` brought into ``share/``. ``copy_from_registry`` has
skopeo fetch them as well: for images whose signatures it must check, for schema 1, and with ``-via skopeo``. Guarantees: the
folder is renamed into place when all it needs is here; manifest and config keep the source's bytes, whatever skopeo made of
them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.core import files
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ContentError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import REF_NAME, SCHEMA1_TYPES, Descriptor, Digest, Manifest
from pipeline.registry.skopeo.client import Skopeo
from pipeline.steps.images.choose import PlatformImage
from pipeline.steps.layout_copies import LayoutCopies
from pipeline.storage.cache import SHARE, Cache
from pipeline.storage.image_layout import (
    INDEX,
    SOURCE_DIGEST,
    fresh_folder,
    layout_index,
    read_layout_index,
    write_image,
)

POLL = 0.2
"""Seconds between two looks at whether a blob that another copy fetches has arrived."""


class Leases:
    """Who fetches which blob right now. A copy takes all it lacks at once, so that no two can wait for each other."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._held: set[Digest] = set()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def lacking(self, missing: Callable[[], tuple[Descriptor, ...]]) -> Iterator[tuple[Descriptor, ...]]:
        """Wait until nobody else fetches any of ``missing()``, then hold what is still missing for the block.

        A blob that another copy fetches counts as soon as it is in its place, not when that copy ends.
        """
        with self._changed:
            while self._held & {d.digest for d in missing()}:
                self._changed.wait(POLL)
                self._interruption.check()
            taken = missing()
            mine = {d.digest for d in taken}
            self._held |= mine
        try:
            yield taken
        finally:
            with self._changed:
                self._held -= mine
                self._changed.notify_all()


def folder(cache: Cache, image: BundleImage, platform: PlatformImage) -> Path:
    return cache.image_folder(image.reference) / platform.slug


def is_under_policy(image: BundleImage, platform: PlatformImage) -> bool:
    """What runs must be signed; signatures and attestations are not signed themselves."""
    return image.about is None and not platform.descriptor.is_attestation


def copy(cache: Cache, copies: LayoutCopies, image: BundleImage, platform: PlatformImage) -> int:
    """Make the platform's folder of what is in ``share/``: so many bytes. Raises ContentError."""
    target, descriptor = folder(cache, image, platform), platform.descriptor
    cache.require(descriptor)
    manifest = cache.parse(descriptor.digest)
    if not isinstance(manifest, Manifest):
        raise ContentError(f"{descriptor.digest} is an index where an image is expected")
    for algorithm in {blob.digest.algorithm for blob in (descriptor, *manifest.blobs)}:
        # The blobs were synced and renamed; their names must be as durable before an index speaks of them.
        files.sync_folder(cache.share / algorithm)
    if cache.sized(manifest.config).size == manifest.config.size:
        # skopeo refuses a config of another size than its manifest states, though its digest is right.
        copies.prove(target, manifest, descriptor)
    size = cache.require(descriptor)
    write_image(target, _entry(cache, image, descriptor), cache.share)
    return size


def copy_from_registry(cache: Cache, skopeo: Skopeo, leases: Leases, image: BundleImage, platform: PlatformImage) -> int:
    """Make the platform's folder. Bytes of the blobs that were fetched for it. Raises RegistryError, ContentError."""
    target = folder(cache, image, platform)
    descriptor = platform.descriptor
    if descriptor.media_type in SCHEMA1_TYPES:
        converted, size = _copy_schema1(cache, skopeo, image, descriptor, target)
        entry = converted.to_json()
        entry["annotations"] = {REF_NAME: str(image.reference), SOURCE_DIGEST: str(descriptor.digest)}
    else:
        size = _fetch(cache, skopeo, leases, image, platform, target)
        entry = _entry(cache, image, descriptor)
    write_image(target, entry, cache.share)
    return size


def is_current(cache: Cache, image: BundleImage, platform: PlatformImage) -> bool:
    """Whether the folder is as ``copy`` makes it and all it needs is here."""
    path, descriptor = folder(cache, image, platform) / INDEX, platform.descriptor
    found = read_layout_index(path)
    if found is None or cache.missing(found):
        return False
    if descriptor.media_type in SCHEMA1_TYPES:
        return found.annotations.get(SOURCE_DIGEST) == str(descriptor.digest)
    return path.read_bytes() == layout_index([_entry(cache, image, descriptor)])


def _entry(cache: Cache, image: BundleImage, descriptor: Descriptor) -> dict[str, Any]:
    return {
        **descriptor.to_json(),
        "size": cache.sized(descriptor).size,  # of a manifest: its index may be wrong about it, and readers check
        "annotations": {**descriptor.annotations, REF_NAME: str(image.reference)},
    }


def _fetch(cache: Cache, skopeo: Skopeo, leases: Leases, image: BundleImage, platform: PlatformImage, target: Path) -> int:
    descriptor = platform.descriptor
    checked = skopeo.has_policy and is_under_policy(image, platform)
    with leases.lacking(lambda: cache.missing(descriptor)) as missing:
        if not missing and not checked:
            return 0
        for blob in missing:
            # skopeo reuses whatever has the name: an empty or truncated blob would stay for ever.
            cache.blob(blob.digest).unlink(missing_ok=True)
        size = sum(blob.size for blob in missing)
        # Of a manifest that is gone it is not known what it lacks.
        expected = None if descriptor in missing else size
        with _copied(cache, skopeo, image, descriptor.digest, target, expected, checked):
            still = cache.missing(descriptor)
        if still:
            raise ContentError(f"skopeo copied it without a complaint, but {still[0].digest} is not there")
        return size


def _copy_schema1(
    cache: Cache, skopeo: Skopeo, image: BundleImage, descriptor: Descriptor, target: Path
) -> tuple[Descriptor, int]:
    """Docker schema 1 has no config and no media types to keep: the image is what skopeo converts it to."""
    with _copied(cache, skopeo, image, descriptor.digest, target) as temporary:
        converted = read_layout_index(temporary / INDEX)
    if converted is None or cache.missing(converted):
        raise ContentError("skopeo converted it without a complaint, but the result is not there")
    return converted, sum(blob.size for blob in cache.closure(converted))


@contextlib.contextmanager
def _copied(
    cache: Cache,
    skopeo: Skopeo,
    image: BundleImage,
    digest: Digest,
    target: Path,
    expected: int | None = None,
    checked: bool = True,
) -> Iterator[Path]:
    """skopeo's own copy, in a temporary folder beside ``target`` that is gone after the block; the blobs stay."""
    temporary = files.temporary_beside(target)

    def fresh() -> None:
        fresh_folder(target)

    try:
        folder = str(temporary.relative_to(cache.root))
        skopeo.copy(image.source.by_digest(digest), cache.root, folder, SHARE, fresh, expected, checked)
        # skopeo synced the blobs' bytes; their names must be as durable before an index speaks of them.
        files.sync_folder(cache.share / "sha256")
        yield temporary
    finally:
        files.remove(temporary)
