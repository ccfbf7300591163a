"""Act 1, one image: what does its tag name right now?

In comes an image of the bundle, out go its record (``.state/resolved``) and, in ``share/``, the manifests of the platforms that
were asked for, with the configs that have to be read now, or that a copy would change. Layers are not touched. Promises: one
manifest request for a tag that has not moved and none for a digest whose objects are here; every byte is checked against
the digest that asked for it; the record is rewritten only when it changed, so that what depends on it stays up to date.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.core import files, oci
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ContentError
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, Schema1, walk
from pipeline.registry.skopeo.client import Skopeo
from pipeline.steps.choose import Choice, choose
from pipeline.storage.cache import Cache
from pipeline.storage.records import resolved as resolved_record
from pipeline.storage.records.resolved import Resolved

MAX_INDEXES = 100
"""Below one index; those in use have a handful."""


def resolve(cache: Cache, skopeo: Skopeo, image: BundleImage) -> Choice:
    """Raises RegistryError, PlatformError or ContentError."""
    resolved = _known(cache, image.pin) if image.pin else None
    if resolved is None:
        resolved = _ask(cache, skopeo, image)
    if not resolved.is_schema1:
        _fetch_index_or_config(cache, skopeo, image, resolved.descriptor)
    choice = choose(cache, image, resolved)
    if not resolved.is_schema1:
        for platform in choice.platforms:
            _fetch_manifest(cache, skopeo, image, platform.descriptor)
    files.write_if_changed(cache.resolved_record(image.reference), files.dump_json(resolved.to_json()), durable=False)
    return choice


def is_current(cache: Cache, image: BundleImage) -> bool:
    """Whether nothing needs to be asked: a digest whose manifests and configs are here. A tag may always have moved."""
    record = resolved_record.read(cache.resolved_record(image.reference))
    if image.pin is None or record is None or record.descriptor.digest != image.pin:
        return False
    choice = known_choice(cache, image)
    if choice is None:
        return False
    try:
        manifests = [cache.parse(p.descriptor.digest) for p in choice.platforms]
    except ContentError:
        return False
    read = [m for m in manifests if isinstance(m, Manifest) and _is_read(m) and (choice.index is None or _is_converted(m))]
    return all(cache.has(manifest.config) for manifest in read)


def known_choice(cache: Cache, image: BundleImage) -> Choice | None:
    """The choice by the record of the last resolve, or None where there is none that can be used."""
    resolved = resolved_record.read(cache.resolved_record(image.reference))
    if resolved is None:
        return None
    try:
        return choose(cache, image, resolved)
    except ContentError:
        return None


def _known(cache: Cache, digest: Digest) -> Resolved | None:
    try:
        data = cache.read(digest)
        return Resolved(Descriptor(cache.parse(digest).media_type, digest, len(data)))
    except ContentError:
        return None


def _ask(cache: Cache, skopeo: Skopeo, image: BundleImage) -> Resolved:
    # skopeo takes a tag or a digest, not both.
    pinned = image.pin
    source = image.source.by_digest(pinned) if pinned else image.source
    parsed: list[Manifest | Index | Schema1] = []

    def fits(data: bytes) -> bool:
        parsed[:] = [oci.parse(data)]
        return pinned is None or _digest(parsed[0], data, pinned.algorithm) == pinned

    data = _twice(lambda: skopeo.manifest(source), fits, str(source))
    document = parsed[0]
    if isinstance(document, Schema1):
        return Resolved(Descriptor(document.media_type, document.digest, len(data)), document.platform)
    digest = pinned or Digest.of(data)
    cache.put(data, digest)
    return Resolved(Descriptor(document.media_type, digest, len(data)))


def _digest(document: Manifest | Index | Schema1, data: bytes, algorithm: str) -> Digest:
    return document.digest if isinstance(document, Schema1) else Digest.of(data, algorithm)


def _fetch_index_or_config(cache: Cache, skopeo: Skopeo, image: BundleImage, top: Descriptor) -> None:
    """What ``choose`` has to read: the indexes below an index; the config of a single image, which names its platform."""

    def read(descriptor: Descriptor) -> Manifest | Index:
        if descriptor is not top:
            _fetch_object(cache, skopeo, image, descriptor)
        return cache.parse(descriptor.digest)

    for descriptor, document in walk.indexes(top, read, limit=MAX_INDEXES):
        if descriptor is top and isinstance(document, Manifest):
            _fetch_config(cache, skopeo, image, top.digest, document)


def _fetch_manifest(cache: Cache, skopeo: Skopeo, image: BundleImage, descriptor: Descriptor) -> None:
    _fetch_object(cache, skopeo, image, descriptor)
    manifest = cache.parse(descriptor.digest)
    if isinstance(manifest, Manifest) and _is_converted(manifest):
        _fetch_config(cache, skopeo, image, descriptor.digest, manifest)


def _fetch_object(cache: Cache, skopeo: Skopeo, image: BundleImage, descriptor: Descriptor) -> None:
    """A manifest or index by its digest, unless it is here."""
    if _is_here(cache, descriptor):
        return
    source = image.source.by_digest(descriptor.digest)
    _put(cache, descriptor, lambda: skopeo.manifest(source), str(source))


def _fetch_config(cache: Cache, skopeo: Skopeo, image: BundleImage, digest: Digest, manifest: Manifest) -> None:
    if _is_read(manifest) and not _is_here(cache, manifest.config):
        source = image.source.by_digest(digest)
        _put(cache, manifest.config, lambda: skopeo.config(source), f"the config of {source}")


def _is_read(manifest: Manifest) -> bool:
    """Configs of artifacts say nothing that we read."""
    return manifest.config.media_type in oci.IMAGE_CONFIG_TYPES


def _is_converted(manifest: Manifest) -> bool:
    """skopeo's copy of a Docker image holds another config; others it copies as they are."""
    return manifest.media_type == oci.DOCKER_MANIFEST


def _is_here(cache: Cache, descriptor: Descriptor) -> bool:
    if not cache.has(descriptor):
        return False
    try:
        cache.read(descriptor.digest)
    except ContentError:
        log.warning("%s in the cache is damaged; it is fetched again", descriptor.digest)
        return False
    return True


def _put(cache: Cache, descriptor: Descriptor, fetch: Callable[[], bytes], what: str) -> None:
    def fits(data: bytes) -> bool:
        return Digest.of(data, descriptor.digest.algorithm) == descriptor.digest

    cache.put(_twice(fetch, fits, what), descriptor.digest)


def _twice(fetch: Callable[[], bytes], fits: Callable[[bytes], bool], what: str) -> bytes:
    """Fetch; once more if the bytes are wrong, as a bad proxy or cable may be the reason. Then raises ContentError."""
    error = ContentError(f"{what}: the registry served, twice, bytes that do not match the digest")
    for number in range(2):
        data = fetch()
        try:
            if fits(data):
                return data
            log.warning("%s: the registry served bytes that do not match the digest", what)
        except ContentError as no_manifest:
            error = no_manifest
            if number == 0:
                log.warning("%s: the registry served what is no manifest: %s; asking once more", what, error)
    raise error
