"""Where the images of a bundle go in a registry: the same names, or those that Harbor takes."""

from __future__ import annotations

from pipeline.core.reference import DEFAULT_REGISTRY, Reference
from pipeline.reader.contents import BundledImage


def in_registry(image: BundledImage, registry: str, project: str = "") -> Reference:
    """Where ``image`` goes; one without a tag is named by its digest, as no tool takes both."""
    name = image.reference
    by_digest = name.by_digest(image.descriptor.digest)
    return reference_in_registry(
        Reference(name.registry, name.repository, name.tag) if name.tag else by_digest, registry, project
    )


def reference_in_registry(name: Reference, registry: str, project: str = "") -> Reference:
    """Where what is called ``name`` goes. With a ``project``, that of a Harbor for what has none of its own.

    Docker Hub's ``library`` is not a project but the way to write a name without one.
    """
    target = name.at(registry)
    target = Reference(target.registry, target.repository, target.tag, None if target.tag else target.digest)
    if not project or "/" in registry:
        return target
    path = name.repository
    if name.registry == DEFAULT_REGISTRY:
        path = path.removeprefix("library/")
    repository = path if "/" in path else f"{project}/{path}"
    return Reference(target.registry, repository, target.tag, target.digest)
