"""The task ``check`` of a load: whether a target is what the bundle has, all of it."""

from __future__ import annotations

from pipeline.core.errors import ContentError, RegistryError
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.reader.contents import BundledImage, Contents
from pipeline.reader.verify import lacking
from pipeline.registry.distribution import Distribution
from pipeline.registry.presence import Presence, is_denied


def check(distribution: Distribution, presence: Presence, contents: Contents, image: BundledImage, target: Reference) -> bool:
    """Whether ``target`` names the image's very digest, and the registry can give all that it leads to.

    Raises RegistryError where the registry cannot be asked.
    """
    expected = image.descriptor.digest
    try:
        data = distribution.manifest(target)
        if data is None or Digest.of(data, expected.algorithm) != expected:
            return False
        return next(lacking(distribution, presence, contents, image, target), None) is None
    except ContentError:
        # Other bytes, here or there: the push tells which.
        return False
    except RegistryError as error:
        # Whether we may push, the push itself tells.
        if is_denied(error):
            return False
        raise
