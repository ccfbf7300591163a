"""Before act 1: candidates become images of the bundle. Registries are asked, and nothing is fetched.

A probable image is taken where it exists, and only asked of a registry that a sure image comes from: words of private files
leave the house otherwise. A range of versions becomes the tags that it covers.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.acts.save.tasks import SaveContext
from pipeline.core import versions
from pipeline.core.bundle import BundleImage, Candidate
from pipeline.core.errors import InputError, RegistryError
from pipeline.core.log import log
from pipeline.core.parallel import in_parallel


def settle(context: SaveContext) -> tuple[BundleImage, ...]:
    """All images of the context's bundle, its candidates among them where they are there. Raises InputError, Interrupted."""
    bundle = context.bundle
    if not bundle.candidates:
        return bundle.images
    images = {image.reference: image for image in bundle.images}
    registries = {image.source.registry for image in bundle.images}
    asked: list[Candidate] = []
    for each in bundle.candidates:
        if each.tags or each.image.source.registry in registries:
            asked.append(each)
        else:
            log.warning(
                "%s is probable, and not taken: no sure image comes from %s ('-probable take' takes it)",
                *(each.image.text, each.image.source.registry),
            )
    problems: list[str] = []
    for candidate, tags in zip(
        asked, in_parallel(lambda each: _tags(context, each), asked, 2 * bundle.jobs if asked else 1), strict=True
    ):
        if isinstance(tags, str):
            problems.append(tags)
            continue
        for image in _become(candidate, tags, len(images)):
            images.setdefault(image.reference, image)
    if problems:
        raise InputError(problems)
    if not images:
        raise InputError(
            ["no image is sure, and nothing that is probable was asked for or is there"],
            tip="'-probable take' takes what reads like an image; 'image-tools images FILE' shows it",
        )
    return tuple(images.values())


def _become(candidate: Candidate, tags: list[str], before: int) -> Iterator[BundleImage]:
    reference = candidate.image.reference
    for number, tag in enumerate(tags, start=before + 1):
        yield candidate.becomes(reference.by_tag(tag) if candidate.tags else reference, number)
    if candidate.tags:
        log.info("%s %s: %s", candidate.image.text, candidate.tags, ", ".join(tags))


def _tags(context: SaveContext, candidate: Candidate) -> list[str] | str:
    """The tags that count, or what is wrong; of an image that is probable, one (its own), or none."""
    image = candidate.image
    try:
        if not candidate.tags:
            found = context.distribution.head(image.source) is not None
            (log.info if found else log.warning)(
                "%s is probable: %s", image.text, "it is there, and taken" if found else "it is not there, and left out"
            )
            return [image.reference.tag] if found else []
        tags = context.distribution.tags(image.source)
    except RegistryError as error:
        if candidate.tags:
            return error.message
        log.warning("%s is probable, and left out: %s", image.text, error.message)
        return []
    if tags is None:
        return f"{image.source.name}: there is no such repository, so no tag in {candidate.tags}"
    wanted = versions.matching(tags, candidate.tags)
    return wanted or f"{image.source.name} has no tag in {candidate.tags}: {_newest(tags)}"


def _newest(tags: list[str]) -> str:
    all_versions = versions.matching(tags, "*")
    return f"its newest version is {all_versions[-1]}" if all_versions else f"none of its {len(tags)} tags is a version"
