"""Act 1, one registry: does it answer, and does it let us in?

Asked before its images, so that a name that does not resolve, a certificate or a login fails once, in one message, for them
all.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.errors import Cause, RegistryError
from pipeline.core.log import log
from pipeline.core.reference import Reference
from pipeline.registry.distribution import Distribution
from pipeline.registry.skopeo.client import Skopeo

_OURS = (Cause.CERTIFICATE, Cause.UNAUTHORIZED, Cause.UNSUPPORTED)
"""What skopeo may be able to do where we are not."""


def probe(distribution: Distribution, skopeo: Skopeo, references: Sequence[Reference]) -> bool:
    """Whether our own HTTP gets at these references of one registry; False where only skopeo does.

    Raises RegistryError where neither does: one repository that lets us in is enough.
    """
    refusal = _refusal(distribution, references)
    if refusal is None:
        return True
    if refusal.cause not in _OURS or not _lets_in(skopeo, references[0]):
        raise refusal
    log.warning("%s; skopeo gets through, and fetches its images by itself", refusal.message)
    return False


def _refusal(distribution: Distribution, references: Sequence[Reference]) -> RegistryError | None:
    """Why the registry does not let us in. Some deny each repository of its own."""
    first: RegistryError | None = None
    for reference in {each.repository: each for each in references}.values():
        try:
            distribution.probe(reference)
        except RegistryError as error:
            if error.cause is Cause.QUOTA:
                return None
            first = first or error
            if error.cause is not Cause.UNAUTHORIZED:
                break
        else:
            return None
    return first


def _lets_in(skopeo: Skopeo, reference: Reference) -> bool:
    try:
        skopeo.manifest(reference)
    except RegistryError as error:
        return error.cause is Cause.NOT_FOUND
    return True
