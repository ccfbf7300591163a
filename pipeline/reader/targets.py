"""Where the images of a bundle go in a registry: the same names, or those that Harbor takes."""

from __future__ import annotations

from pipeline.core.reference import DEFAULT_REGISTRY, Reference
from pipeline.reader.contents import BundledImage


def in_registry(image: BundledImage, registry: str, project: str = "") -> Reference:
    """Where ``image`` goes. With a ``project``, that of a Harbor for what has none of its own.

    Docker Hub's ``library`` is not a project but the way to write a name without one.
    """
    target = image.at(registry)
    if not project or "/" in registry:
        return target
    name = image.reference.repository
    if image.reference.registry == DEFAULT_REGISTRY:
        name = name.removeprefix("library/")
    repository = name if "/" in name else f"{project}/{name}"
    return Reference(target.registry, repository, target.tag, target.digest)
