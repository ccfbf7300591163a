"""What a registry's quota kept a run from: how much is missing, how long that takes, and what shortens it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.acts.save import resolve_tasks
from pipeline.acts.save.tasks import SaveContext
from pipeline.core.bundle import BundleImage
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.registry.distribution import Distribution
from pipeline.registry.quota import Quota, QuotaReached, QuotaWatch, duration
from pipeline.steps import resolve

LONGEST_POLL, SHORTEST_POLL = 300.0, 1.0
"""Seconds between two looks at whether a new window has begun."""
POLLS = 60
"""In one window."""
UNKNOWN_WINDOW = 6 * 3600
"""Seconds: that of Docker Hub, for a registry that does not name its own."""


@dataclass(frozen=True)
class Shortage:
    """At one registry. ``gets`` is how many manifests its ``images`` lack, ``smallest`` how many the first of them does."""

    registry: str
    quota: Quota
    images: tuple[BundleImage, ...]
    gets: int
    smallest: int

    @property
    def message(self) -> str:
        """One sentence on what is missing."""
        windows = self.quota.windows(self.gets)
        takes = f", which takes {windows:,} more of its windows of {duration(self.quota.window)}" if windows else ""
        return (
            f"{self.registry} grants no more manifests for now: {_count(len(self.images), 'image')} "
            f"{'lacks' if len(self.images) == 1 else 'lack'} {_count(self.gets, 'manifest')}{takes}."
        )

    @property
    def tip(self) -> str:
        """What shortens it."""
        return f"{_shorter(self.registry)}; -quota wait waits and goes on by itself"


def begun_first(context: SaveContext, images: Sequence[BundleImage]) -> Sequence[BundleImage]:
    """In the order of the list; at a registry with a quota, first what an earlier window has begun."""

    def is_begun(image: BundleImage) -> bool:
        return context.cache.resolved_record(image.reference).exists() and resolve.lacks(context.cache, image) > 0

    return sorted(images, key=lambda image: not (image.source.registry in context.quota.known and is_begun(image)))


def warn_of_quotas(context: SaveContext, images: Sequence[BundleImage]) -> None:
    """Say where a quota is too small: now where it is known, else as soon as the registry names it."""

    def warn(registry: str, quota: Quota) -> None:
        lacking = sum(resolve.lacks(context.cache, image) for image in images if image.source.registry == registry)
        if quota.limit and lacking > quota.limit:
            log.warning(
                "%s grants %s, and about %s are needed: that takes %d windows; %s",
                *(registry, quota, f"{lacking:,}", quota.windows(lacking), _shorter(registry)),
            )

    known = context.quota.known
    for registry, quota in known.items():
        warn(registry, quota)
    context.quota.when_learned = lambda registry, quota: None if registry in known else warn(registry, quota)


def shortages(context: SaveContext, images: Sequence[BundleImage]) -> tuple[Shortage, ...]:
    """What quotas kept from being resolved: by registry, in the order of the images."""
    refused = _refused(context, images)
    found: dict[str, list[BundleImage]] = {}
    for image, error in refused.items():
        found.setdefault(error.registry, []).append(image)
    return tuple(
        Shortage(
            registry,
            refused[images[0]].quota,
            tuple(images),
            sum(refused[image].missing for image in images),
            min(refused[image].missing for image in images),
        )
        for registry, images in found.items()
    )


def _refused(context: SaveContext, images: Sequence[BundleImage]) -> dict[BundleImage, QuotaReached]:
    found = {}
    for image in images:
        for name in resolve_tasks.task_names(context, image):
            error = context.errors.get(name)
            if isinstance(error, QuotaReached):
                found[image] = error
    return found


def wait(found: Sequence[Shortage], quota: QuotaWatch, distribution: Distribution, interruption: Interruption) -> None:
    """Until the registries grant enough for at least one image each. Raises Interrupted, RegistryError."""
    for shortage in found:
        window = shortage.quota.window or UNKNOWN_WINDOW
        enough = min(shortage.smallest, shortage.quota.limit or 1)
        log.info("waiting for the next window of %s, for %s at the most", shortage.registry, duration(window))
        pause = min(LONGEST_POLL, max(SHORTEST_POLL, window / POLLS))
        for _ in range(int(window / pause) + 1):
            interruption.sleep(pause)
            quota.begin_window(shortage.registry)
            distribution.head(shortage.images[0].source)
            if (quota.remaining(shortage.registry) or 0) >= enough:
                break
        else:
            quota.begin_window(shortage.registry)


def _shorter(registry: str) -> str:
    return f"a login ('skopeo login {registry}') may raise the quota, a mirror (-s, or registries.conf) spares it"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
