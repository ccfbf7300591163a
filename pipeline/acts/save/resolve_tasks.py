"""Act 1 as doit tasks: what every reference names right now. All wiring, no logic.

probe:<registry>  →  resolve:<ref>  →  referrers:<bundle>:<ref>       (where they are asked for)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from pipeline.acts.engine import PAUSED, TaskDict
from pipeline.acts.save.tasks import SaveContext, is_paused
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ContentError, ImageError, RegistryError
from pipeline.core.log import log
from pipeline.steps import probe, referrers, resolve
from pipeline.steps.images.chosen import with_referrers
from pipeline.storage.records import referrers as referrers_record

Wanted = Sequence[tuple[SaveContext, BundleImage]]
"""One reference, in each bundle that holds it."""


def act_1(wanted: Sequence[Wanted]) -> Iterator[TaskDict]:
    """All tasks: a registry comes before its images, and none where nothing is asked of it."""
    asks = [not all(_is_current(*one) for one in each) for each in wanted]
    registries: dict[str, list[tuple[SaveContext, BundleImage]]] = {}
    for each, is_asking in zip(wanted, asks, strict=True):
        for context, image in each if is_asking else ():
            registries.setdefault(image.source.registry, []).append((context, image))
    for registry, images in registries.items():
        yield probe_task(registry, images)
    for each, is_asking in zip(wanted, asks, strict=True):
        yield resolve_task(each, [f"probe:{name}" for name in _registries(each)] if is_asking else [])
    for each in wanted:
        for context, image in each:
            if image.referrers is not None:
                yield referrers_task(context, image)


def probe_task(registry: str, wanted: Wanted) -> TaskDict:
    """Act 1, of one registry: does it answer, and does it let us in?"""
    context, _ = wanted[0]
    return {
        "basename": "probe",
        "name": registry,
        "doc": f"whether {registry} answers and lets us in",
        "actions": [context.action(f"probe:{registry}", partial(_probe, registry, wanted))],
        "uptodate": [lambda: all(registry in each.probed for each, _ in wanted)],
        "meta": {PAUSED: partial(context.skopeo.is_paused, registry)},
    }


def resolve_task(wanted: Wanted, probes: Sequence[str]) -> TaskDict:
    """Act 1, of one reference, for all bundles that hold it."""
    context, first = wanted[0]
    name = str(first.reference)

    def work() -> None:
        for each_context, image in wanted:
            _resolve(each_context, image)

    return {
        "basename": "resolve",
        "name": name,
        "doc": f"what {name} names right now",
        "actions": [context.action(f"resolve:{name}", work, first)],
        "task_dep": list(probes),
        "targets": [str(context.cache.resolved_record(first.reference))],
        "uptodate": [lambda: all(_is_current(*each) for each in wanted)],
        "meta": {PAUSED: partial(is_paused, context, first)},
    }


def referrers_task(context: SaveContext, image: BundleImage) -> TaskDict:
    """Act 1, of one image of one bundle: what refers to it. Signatures are made at any time, so it is always asked."""
    name = f"{context.bundle.name}:{image.reference}"
    return {
        "basename": "referrers",
        "name": name,
        "doc": f"what refers to {image.reference} right now",
        "actions": [context.action(f"referrers:{name}", partial(_find_referrers, context, image), image)],
        "task_dep": [f"resolve:{image.reference}"],
        "targets": [str(context.state.referrers(image.reference))],
        "uptodate": [False],
        "meta": {PAUSED: partial(is_paused, context, image)},
    }


def task_names(context: SaveContext, image: BundleImage) -> tuple[str, ...]:
    """Those tasks of act 1 that have to succeed for an image, in their order."""
    asking = () if _is_current(context, image) else (f"probe:{image.source.registry}",)
    names = (*asking, f"resolve:{image.reference}")
    return names if image.referrers is None else (*names, f"referrers:{context.bundle.name}:{image.reference}")


def _registries(wanted: Wanted) -> Iterable[str]:
    return dict.fromkeys(image.source.registry for _, image in wanted)


def _is_current(context: SaveContext, image: BundleImage) -> bool:
    """Whether nothing needs to be asked about an image. (Signatures are made at any time.)"""
    if image.pin is None or (image.referrers is not None and image.locked_referrers is None):
        return False
    choice = resolve.current_choice(context.cache, image)
    if choice is not None:
        context.choices[image.reference] = choice
    return choice is not None


def _probe(registry: str, wanted: Wanted) -> None:
    """With the logins of each bundle that has images there: one that is let in is enough."""
    refusal: RegistryError | None = None
    for access in dict.fromkeys(context.bundle.access for context, _ in wanted):
        alike = [(context, image) for context, image in wanted if context.bundle.access == access]
        context, _ = alike[0]
        try:
            is_ours = probe.probe(context.distribution, context.skopeo, [image.source for _, image in alike])
        except RegistryError as error:
            refusal = refusal or error
            continue
        for each, _ in alike:
            each.probed.add(registry)
            if not is_ours:
                each.via_skopeo.add(registry)
    if refusal is not None and not any(registry in context.probed for context, _ in wanted):
        raise refusal


def _resolve(context: SaveContext, image: BundleImage) -> None:
    choice = context.choices[image.reference] = resolve.resolve(context.cache, context.source, image)
    context.keep_known_registries()
    planned = context.planned.get(image.reference)
    if planned is not None and planned.choice != choice:
        raise ImageError(f"{image.reference} has moved since these tasks were drawn; run the same command again")
    platforms = ", ".join(str(platform.platform) for platform in choice.platforms)
    log.debug("%s is %s: %s", image.reference, choice.top.digest, platforms)


def _find_referrers(context: SaveContext, image: BundleImage) -> None:
    choice = context.known_choice(image)
    if choice is None:
        raise ContentError("it could not be read from the cache; run the command again")
    found = referrers.find(context.cache, context.source, image, choice)
    referrers_record.write(context.state, image, found)
    planned = context.planned.get(image.reference)
    if planned is not None and planned not in with_referrers(context.cache, context.state, image, choice):
        raise ImageError(f"what refers to {image.reference} has changed since; run the same command again")
    log.debug("%s: %d manifests refer to it", image.reference, len(found.referrers))
