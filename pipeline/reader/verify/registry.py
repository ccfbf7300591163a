"""What a registry has of a source: every tag and manifest is asked for, and one byte of every blob; with ``deep`` all of them.

A registry accepts no manifest whose layers it does not have, but it may have lost them since: a byte that it gives is a proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from pipeline.core.errors import ContentError, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.log import about
from pipeline.core.oci import Digest, Manifest, walk
from pipeline.core.parallel import in_parallel
from pipeline.core.reference import Reference
from pipeline.reader.contents import BundledImage, Contents
from pipeline.reader.verify.findings import Fault, Report
from pipeline.registry.distribution import Distribution
from pipeline.registry.presence import Presence

BUFFER = 1 << 20
"""Bytes of a blob that are read at once."""


def compare(
    contents: Contents,
    place: Callable[[BundledImage], Reference],
    distribution: Distribution,
    *,
    deep: bool,
    jobs: int,
    interruption: Interruption,
) -> Report:
    """Compare with what is at the ``place`` where ``load`` brought each image. Raises Interrupted, EnvironmentProblem."""
    presence = _Deep(distribution) if deep else Presence(distribution)

    def of_image(image: BundledImage) -> list[Fault]:
        interruption.check()
        with about(image.m_id):
            target = place(image)
            found = list(_differences(contents, image, target, distribution, presence))
            return found or list(_unlisted(contents, image, target, distribution))

    faults = [Fault(contents.store.place, problem) for problem in contents.problems]
    for found in in_parallel(of_image, contents.bundled, jobs):
        faults += found
    referrers = len(contents.along)
    return Report(
        source=contents.store.place,
        images=len(contents.bundled) - referrers,
        blobs=0,
        size=0,
        faults=tuple(faults),
        referrers=referrers,
    )


def lacking(
    distribution: Distribution, presence: Presence, contents: Contents, image: BundledImage, target: Reference
) -> Iterator[Reference]:
    """What below the image the target's repository cannot give, by digest, as it is asked for. Raises RegistryError,
    ContentError."""
    for descriptor, document in walk.walk(image.descriptor, contents.read_document, check=contents.check):
        where = target.by_digest(descriptor.digest)
        if descriptor is not image.descriptor and distribution.manifest(where) is None:
            yield where
        for blob in document.blobs if isinstance(document, Manifest) else ():
            size = contents.size(blob.digest)
            if not presence.has(target, blob.digest, blob.size if size is None else size):
                yield target.by_digest(blob.digest)


class _Deep(Presence):
    """Reads whole blobs."""

    def has(self, repository: Reference, digest: Digest, size: int) -> bool:
        if not super().has(repository, digest, size):
            return False
        hasher, buffer = hashlib.new(digest.algorithm), memoryview(bytearray(BUFFER))
        with self._distribution.open_blob(repository, digest) as stream:
            while count := stream.readinto(buffer):
                hasher.update(buffer[:count])
        if hasher.hexdigest() != digest.hex:
            raise ContentError(f"{repository.by_digest(digest)}: the registry serves other bytes under this digest")
        return True


def _differences(
    contents: Contents, image: BundledImage, target: Reference, distribution: Distribution, presence: Presence
) -> Iterator[Fault]:
    name, expected = (str(image.reference),), image.descriptor.digest
    try:
        data = distribution.manifest(target)
        if data is None:
            yield Fault(str(target), "it is not there", name)
        elif (found := Digest.of(data, expected.algorithm)) != expected:
            yield Fault(str(target), f"it is {found} there, and {expected} here", name)
        else:
            for where in lacking(distribution, presence, contents, image, target):
                yield Fault(str(where), "not found, or the registry cannot give it", name)
    except (RegistryError, ContentError) as error:
        yield Fault(str(target), error.message, name)


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
