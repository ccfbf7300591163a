"""Act 2 as doit tasks: fetch what is missing, copy each image/arch, write each image's index. All wiring, no logic.

    fetch:<digest>  →  copy:<ref>:<platform>  →  index:<bundle>:<ref>

There is a ``fetch`` for each blob that is not in the cache, and none for those that are; it stands in no database. A blob is
fetched by one task, whoever needs it. Images that only skopeo may fetch have no ``fetch``: their ``copy`` asks the registry.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.acts.engine import PAUSED, TaskDict, unchanged
from pipeline.acts.save.tasks import SaveContext, is_paused
from pipeline.core import files
from pipeline.core.amounts import bytes_text, duration_text
from pipeline.core.bundle import BundleImage
from pipeline.core.log import Done, log, log_done
from pipeline.core.oci import SCHEMA1_TYPES, Descriptor, Digest
from pipeline.registry.skopeo.client import bytes_below
from pipeline.steps import copy, index
from pipeline.steps.fetch import Fetch, MissingBlob, missing_blobs
from pipeline.steps.images.choose import PlatformImage
from pipeline.steps.images.chosen import ChosenImage
from pipeline.storage.image_layout import INDEX


@dataclass(frozen=True)
class Fetches:
    """What act 2 must fetch. ``needed`` names, for each copy task, the blobs that it waits for."""

    blobs: Mapping[Digest, MissingBlob]
    needed: Mapping[str, tuple[Digest, ...]]

    def tasks_of(self, copy_task: str) -> list[str]:
        return [f"fetch:{digest}" for digest in self.needed.get(copy_task, ())]


NO_FETCHES = Fetches({}, {})


def find_fetches(context: SaveContext, chosen: Sequence[ChosenImage]) -> Fetches:
    """What is missing of images that our own HTTP may fetch."""
    missing: dict[str, tuple[BundleImage, PlatformImage, tuple[Descriptor, ...]]] = {}
    for item in chosen:
        for platform, closure in item.platforms:
            if not is_left_to_skopeo(context, item.image, platform):
                # Manifests are no blobs to registries: act 1 brings them, or says why not.
                lacks = tuple(
                    blob for blob in closure if blob.digest != platform.descriptor.digest and not context.cache.has(blob)
                )
                missing[copy_task_name(item.image, platform)] = (item.image, platform, lacks)
    needed = {name: tuple(blob.digest for blob in lacks) for name, (_, _, lacks) in missing.items() if lacks}
    return Fetches(missing_blobs(missing.values()), needed)


def is_left_to_skopeo(context: SaveContext, image: BundleImage, platform: PlatformImage) -> bool:
    """Whether skopeo is to fetch the blobs, too: what must be signed is not fetched before its signature is checked."""
    if context.is_via_skopeo(image.source.registry) or platform.descriptor.media_type in SCHEMA1_TYPES:
        return True
    policy = context.required_policy if copy.is_under_policy(image, platform) else None
    return (policy or context.default_policy).asks_for_more(image.source.by_digest(platform.descriptor.digest))


def fetch_tasks(context: SaveContext, fetches: Fetches) -> Iterator[TaskDict]:
    for digest, blob in fetches.blobs.items():
        image, platform = blob.image, blob.platform
        yield {
            "basename": "fetch",
            "name": str(digest),
            "doc": f"fetch a blob of {label(image, platform)}",
            "actions": [
                context.action(
                    f"fetch:{digest}", partial(_fetch, context, blob), image, platform.img_id, called=label(image, platform)
                )
            ],
            "meta": {PAUSED: partial(is_paused, context, image)},
        }


def copy_tasks(context: SaveContext, chosen: ChosenImage, fetches: Fetches = NO_FETCHES) -> Iterator[TaskDict]:
    """Of one image: its platforms, then its index."""
    image, choice = chosen.image, chosen.choice
    for platform in choice.platforms:
        name = copy_task_name(image, platform)
        fetched = fetches.tasks_of(name)
        from_registry = is_left_to_skopeo(context, image, platform)
        work = partial(_copy_from_registry if from_registry else _copy, context, image, platform)
        yield {
            "basename": "copy",
            "name": name.removeprefix("copy:"),
            "doc": f"copy {label(image, platform, ' for ')}",
            "actions": [context.action(name, work, image, platform.img_id, asks=from_registry, called=label(image, platform))],
            "task_dep": fetched,
            "meta": {PAUSED: partial(is_paused, context, image)} if from_registry else {},
            "file_dep": [str(context.cache.resolved_record(image.reference))],
            "targets": [str(copy.folder(context.cache, image, platform) / INDEX)],
            "uptodate": [
                not fetched,
                partial(copy.is_current, context.cache, image, platform),
                *_policy(context, image, platform),
            ],
        }
    name = index_task_name(context, image)
    write = partial(_write_index, context, chosen)
    yield {
        "basename": "index",
        "name": name.removeprefix("index:"),
        "doc": f"write the index of {image.reference}",
        "actions": [context.action(name, write, image, asks=False)],
        "file_dep": [str(copy.folder(context.cache, image, platform) / INDEX) for platform in choice.platforms],
        "targets": [str(context.state.image_index(image.reference))],
        "uptodate": [
            unchanged(
                bundle=context.bundle.id,
                top=str(choice.top.digest),
                platforms=[str(platform.descriptor.digest) for platform in choice.platforms],
            ),
            partial(index.is_current, context.cache, context.state, image, choice),
        ],
    }


def _write_index(context: SaveContext, chosen: ChosenImage) -> None:
    """The last step of act 2 of an image, which is whole then."""
    image, choice = chosen.image, chosen.choice
    index.write_index(context.cache, context.state, image, choice)
    if not chosen.is_referrer:
        sizes = {blob.digest: blob.size for closure in chosen.closures for blob in closure}
        platforms = tuple(str(each.platform.architecture or each.platform) for each in choice.platforms)
        log_done(Done(image.text, platforms, sum(sizes.values())))


def copy_task_name(image: BundleImage, platform: PlatformImage) -> str:
    return f"copy:{image.reference}:{platform.slug}"


def index_task_name(context: SaveContext, image: BundleImage) -> str:
    return f"index:{context.bundle.name}:{image.reference}"


def label(image: BundleImage, platform: PlatformImage, between: str = " ") -> str:
    """What people call an image/arch; a referrer has no platform."""
    return f"{image.text}{between}{platform.platform}" if image.about is None else image.text


def _policy(context: SaveContext, image: BundleImage, platform: PlatformImage) -> Iterator[object]:
    """What was fetched without this policy is held to it, too."""
    if context.bundle.access.policy is not None and copy.is_under_policy(image, platform):
        yield unchanged(policy=context.policy_state, digest=str(platform.descriptor.digest))


def _fetch(context: SaveContext, blob: MissingBlob) -> None:
    started = time.monotonic()
    digest, name = blob.descriptor.digest, label(blob.image, blob.platform)
    context.begin_copy(copy_task_name(blob.image, blob.platform), name)
    fetch = Fetch(context.cache, context.distribution, context.interruption, blob)
    with (
        context.copies.blob_arrives(),
        context.tracker.transfer(f"{name} {digest.short}", (blob.descriptor,), lambda: fetch.size),
    ):
        size = fetch.run()
    context.count_fetched(size)
    context.tracker.credit(f"fetch:{digest}", size)
    log.debug("fetched %s of %s: %s, %s", digest, name, bytes_text(size), duration_text(time.monotonic() - started))


def _copy(context: SaveContext, image: BundleImage, platform: PlatformImage) -> None:
    name = label(image, platform)
    context.begin_copy(copy_task_name(image, platform), name)
    context.end_copy(copy_task_name(image, platform), name, copy.copy(context.cache, context.copies, image, platform))


def _copy_from_registry(context: SaveContext, image: BundleImage, platform: PlatformImage) -> None:
    name = label(image, platform)
    context.begin_copy(copy_task_name(image, platform), name)
    growing = partial(bytes_below, files.temporary_beside(copy.folder(context.cache, image, platform)))
    with context.tracker.transfer(name, context.cache.missing(platform.descriptor), growing):
        size = copy.copy_from_registry(context.cache, context.skopeo, context.leases, image, platform)
    context.count_fetched(size)
    context.tracker.credit(copy_task_name(image, platform), size)
    context.end_copy(copy_task_name(image, platform), name, size)
