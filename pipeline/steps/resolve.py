"""Act 1, one image: what does its reference name right now?

Takes an image of the bundle, returns its ``Choice``; leaves its record (``.state/resolved``) and, in ``share/``, the manifests
of the platforms that were asked for, with the configs that have to be read now. Layers are not touched. Guarantees: one HEAD
for a tag that has not moved, nothing for a digest whose objects are here, and otherwise a GET for each manifest that is not
here; the record is rewritten only when it changed, so that what depends on it stays up to date.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.core import oci
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, walk
from pipeline.steps.images.choose import Choice, choose
from pipeline.steps.manifest_source import Gets, ManifestSource, in_cache
from pipeline.storage.cache import Cache
from pipeline.storage.records import resolved as resolved_record
from pipeline.storage.records.resolved import Resolved

MAX_INDEXES = 100
"""Below one index; those in use have a handful."""
USUAL_PLATFORMS = 2
"""Of an image of which all were asked for: how many it has is not known before its index is here."""


def resolve(cache: Cache, source: ManifestSource, image: BundleImage) -> Choice:
    """Raises RegistryError, PlatformError or ContentError."""
    record = resolved_record.read(cache.resolved_record(image.reference))
    digest = image.pin or source.digest_of(image.source)
    resolved = _resolved(cache, record, digest)
    choice = _whole(cache, image, resolved) if resolved is not None else None
    if choice is None:
        with source.gets(image.source, _expected(cache, image, resolved)) as gets:
            if resolved is None:
                resolved = gets.top(image.source.by_digest(image.pin) if image.pin else image.source, digest)
            try:
                resolved, choice = _fetch(cache, gets, image, resolved)
            except BaseException:
                # An image that is cut short: the next run knows how much of it is here.
                _write(cache, image, resolved)
                raise
    assert resolved is not None, "it was found or fetched"
    if resolved != record:
        _write(cache, image, resolved)
    return choice


def known_choice(cache: Cache, image: BundleImage) -> Choice | None:
    """The choice by the record of the last resolve, or None where there is none that can be used."""
    resolved = resolved_record.read(cache.resolved_record(image.reference))
    if resolved is None:
        return None
    try:
        return choose(cache, image, resolved)
    except ContentError:
        return None


def current_choice(cache: Cache, image: BundleImage) -> Choice | None:
    """The choice of an image of which nothing needs to be asked: a digest whose manifests and configs are here.

    None for any other; a tag may always have moved.
    """
    record = resolved_record.read(cache.resolved_record(image.reference))
    if image.pin is None or record is None or record.descriptor.digest != image.pin:
        return None
    return _whole(cache, image, record)


def lacks(cache: Cache, image: BundleImage) -> int:
    """How many manifests of an image have to be fetched, as far as is known without asking its registry."""
    record = resolved_record.read(cache.resolved_record(image.reference))
    return _expected(cache, image, record)


def _resolved(cache: Cache, record: Resolved | None, digest: Digest | None) -> Resolved | None:
    """What ``digest`` is, by the record or by the cache; None where it has to be fetched."""
    if digest is None:
        return None
    if record is not None and record.descriptor.digest == digest and (record.is_schema1 or in_cache(cache, digest)):
        return record
    return in_cache(cache, digest)


def _whole(cache: Cache, image: BundleImage, resolved: Resolved) -> Choice | None:
    """The choice, where all its manifests are here, and the configs that are read with them."""
    try:
        choice = choose(cache, image, resolved)
        if resolved.is_schema1:
            return choice
        manifests = [cache.parse(platform.descriptor.digest) for platform in choice.platforms]
    except ContentError:
        return None
    read = [m.config for m in manifests if isinstance(m, Manifest) and _is_read_now(m, choice.index is None)]
    return choice if all(map(cache.has, read)) else None


def _expected(cache: Cache, image: BundleImage, resolved: Resolved | None) -> int:
    """How many manifests are still to be fetched, as far as can be known."""
    usual = len(image.platforms.architectures) or USUAL_PLATFORMS
    if resolved is None or not cache.blob(resolved.descriptor.digest).exists():
        return 0 if resolved is not None and resolved.is_schema1 else 1 + usual
    try:
        choice = choose(cache, image, resolved)
    except ContentError:
        return usual
    return sum(not cache.blob(platform.descriptor.digest).exists() for platform in choice.platforms)


def _fetch(cache: Cache, gets: Gets, image: BundleImage, resolved: Resolved) -> tuple[Resolved, Choice]:
    """Everything of an image that is asked for and not here; what is not there at the registry either is remembered."""
    if resolved.is_schema1:
        return resolved, choose(cache, image, resolved)
    _fetch_index_or_config(cache, gets, image, resolved.descriptor)
    choice = choose(cache, image, resolved)
    gets.expect(sum(not cache.blob(platform.descriptor.digest).exists() for platform in choice.platforms))
    absent = []
    for platform in choice.platforms:
        try:
            manifest = gets.manifest(image.source, platform.descriptor)
        except RegistryError as error:
            if error.cause is not Cause.NOT_FOUND or not platform.descriptor.is_attestation:
                raise
            absent.append(platform.descriptor.digest)
            continue
        if isinstance(manifest, Manifest) and _is_read_now(manifest, choice.index is None):
            gets.config(image.source, platform.descriptor, manifest.config)
    if absent:
        resolved = replace(resolved, absent=(*resolved.absent, *absent))
        choice = choose(cache, image, resolved)
    return resolved, choice


def _fetch_index_or_config(cache: Cache, gets: Gets, image: BundleImage, top: Descriptor) -> None:
    """What ``choose`` has to read: the indexes below an index; the config of a single image, which names its platform."""

    def read(descriptor: Descriptor) -> Manifest | Index:
        return cache.parse(descriptor.digest) if descriptor is top else gets.manifest(image.source, descriptor)

    for descriptor, document in walk.indexes(top, read, limit=MAX_INDEXES):
        if descriptor is top and isinstance(document, Manifest) and _is_read_now(document, is_single=True):
            gets.config(image.source, top, document.config)


def _is_read_now(manifest: Manifest, is_single: bool) -> bool:
    """Whether a config is fetched with its manifest: it names the platform of a single image, and skopeo's copy of a Docker
    image holds another one. Configs of artifacts say nothing that we read.
    """
    return manifest.config.media_type in oci.IMAGE_CONFIG_TYPES and (is_single or manifest.media_type == oci.DOCKER_MANIFEST)


def _write(cache: Cache, image: BundleImage, resolved: Resolved) -> None:
    resolved_record.write(cache.resolved_record(image.reference), resolved)
