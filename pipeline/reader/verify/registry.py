"""What a registry has of a source: every tag, manifest and config is asked for, by digest.

Layers are not: no request of skopeo's tells whether one is there without fetching it. But a registry accepts no manifest
whose layers it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.core import oci
from pipeline.core.errors import ContentError, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.log import about
from pipeline.core.oci import Descriptor, Digest, Manifest, walk
from pipeline.core.parallel import in_parallel
from pipeline.core.reference import Reference
from pipeline.reader.contents import BundledImage, Contents
from pipeline.reader.verify.findings import Fault, Report
from pipeline.registry.distribution import Distribution
from pipeline.registry.skopeo.client import Skopeo


def compare(
    contents: Contents,
    place: Callable[[BundledImage], Reference],
    skopeo: Skopeo,
    distribution: Distribution,
    jobs: int,
    interruption: Interruption,
) -> Report:
    """Compare with what is at the ``place`` where ``load`` brought each image. Raises Interrupted, EnvironmentProblem."""

    def of_image(image: BundledImage) -> list[Fault]:
        interruption.check()
        with about(image.m_id):
            target = place(image)
            found = list(_differences(contents, image, target, skopeo))
            return found or list(_unlisted(contents, image, target, distribution))

    faults = [Fault(contents.store.place, problem) for problem in contents.problems]
    for found in in_parallel(of_image, contents.bundled, jobs):
        faults += found
    referrers = len(contents.along)
    return Report(contents.store.place, len(contents.bundled) - referrers, 0, 0, tuple(faults), referrers=referrers)


def _differences(contents: Contents, image: BundledImage, target: Reference, skopeo: Skopeo) -> Iterator[Fault]:
    name, expected = (str(image.reference),), image.descriptor.digest
    try:
        data = skopeo.manifest(target)
        found = Digest.of(data, expected.algorithm)
        if found != expected:
            yield Fault(str(target), f"it is {found} there, and {expected} here", name)
            return
        below = list(_below(contents, image.descriptor))
    except (RegistryError, ContentError) as error:
        yield Fault(str(target), error.message, name)
        return
    for digest, wanted in below:
        where = target.by_digest(digest)
        try:
            data = skopeo.config(where) if wanted else skopeo.manifest(where)
        except RegistryError as error:
            yield Fault(str(where), error.message, name)
            continue
        if Digest.of(data, (wanted or digest).algorithm) != (wanted or digest):
            yield Fault(str(where), "the registry serves other bytes under this digest", name)


def _unlisted(contents: Contents, image: BundledImage, target: Reference, distribution: Distribution) -> Iterator[Fault]:
    """Whether who asks what refers to a manifest is told of this one."""
    try:
        subject = contents.parse(image.descriptor.digest).subject
        listed = subject is None or str(image.descriptor.digest) in distribution.referrers(target, subject.digest).digests
    except (RegistryError, ContentError) as error:
        yield Fault(str(target), error.message, (str(image.reference),))
        return
    if not listed:
        yield Fault(str(target), "it is there, but not listed as a referrer: load again", (str(image.reference),))


def _below(contents: Contents, top: Descriptor) -> Iterator[tuple[Digest, Digest | None]]:
    """The manifests below ``top``; and for each that has one, ``top`` too, the digest of its config. Raises ContentError."""
    for descriptor, document in walk.walk(top, contents.read_document, check=contents.check):
        if descriptor is not top:
            yield descriptor.digest, None
        if isinstance(document, Manifest) and document.config.media_type in oci.IMAGE_CONFIG_TYPES:
            yield descriptor.digest, document.config.digest
