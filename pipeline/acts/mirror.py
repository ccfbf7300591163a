"""A mirror, from registry to registry: the acts of a save into a cache, then those of a load from it, without a bundle.

Takes a bundle whose result is its cache, and where it goes; returns a ``MirrorResult``. Guarantees: digests are those of the
source; what the target has whole, proved by a byte of each blob, is neither fetched nor sent; an image that fails takes out
itself and nothing else; the next run goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from pipeline.acts.load.options import HarborOptions, LoadOptions
from pipeline.acts.load.run import Load
from pipeline.acts.progress import Tracker
from pipeline.acts.save import plan
from pipeline.acts.save.run import Announce, Save
from pipeline.acts.save.settle import settle
from pipeline.core import image_list
from pipeline.core.bundle import Access, Bundle
from pipeline.core.errors import RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.parallel import in_parallel
from pipeline.core.reference import Reference
from pipeline.reader.targets import reference_in_registry
from pipeline.registry.distribution import Distribution
from pipeline.registry.presence import Presence
from pipeline.steps.images.chosen import ChosenImage, needed_by

Show = Callable[[Tracker], AbstractContextManager[None]]
"""Shows the progress of an act."""


@dataclass(frozen=True, kw_only=True)
class MirrorOptions:
    """``target`` is how the registry of the other side is reached; ``names`` what images are called there, if not alike."""

    bundle: Bundle
    registry: str
    target: Access
    state: Path
    harbor: HarborOptions | None = None
    names: Mapping[Reference, Reference] = field(default_factory=dict)
    list_files: tuple[Path, ...] = ()
    wait: bool = False


@dataclass
class MirrorResult:
    """By the text of the list: what was there, what was brought, what failed and why. Sizes in bytes."""

    there: list[str] = field(default_factory=list)
    brought: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    fetched: int = 0
    sent: int = 0


class Mirror:
    """One run."""

    def __init__(self, options: MirrorOptions, interruption: Interruption, announce: Announce, show: Show) -> None:
        self.result = MirrorResult()
        self._options = options
        self._interruption = interruption
        self._show = show
        self._announce = announce
        self._save = Save(options.bundle, interruption, self._check_room, force=True)

    def run(self) -> MirrorResult:
        """All acts. Failures are recorded, not raised. Raises EnvironmentProblem, UsageError, Interrupted."""
        save, options = self._save, self._options
        save.context.cache.check()
        with save.locked(options.wait):
            save.start()
            images = settle(save.context)
            with self._show(save.context.tracker):
                chosen = save.resolve(images)
                known = {item.image.reference: item for item in chosen}
                missing = self._missing(chosen, known)
                save.fetch_chosen(needed_by(missing, known))
                if options.bundle.waits_for_quota:
                    save.fetch([image for each in save.result.shortages for image in each.images])
                save.pack()
            save.finish(options.list_files)
            self.result.fetched = save.context.fetched
            self.result.there = [item.image.text for item in chosen if not item.is_referrer and item not in missing]
            self.result.failures = {image.text: reason for image, reason in save.result.failures.items()}
            if save.result.saved:
                self._load()
        image_list.write_failed(options.bundle.failed_list, self.result.failures, options.list_files)
        return self.result

    def _check_room(self, order: plan.Plan, needs: Sequence[plan.Need]) -> None:
        """A save that is forced replaces what the cache shows, but is not to fill the disk."""
        self._announce(order, needs)
        plan.check_disk(needs)

    def _missing(self, chosen: Sequence[ChosenImage], known: Mapping[Reference, ChosenImage]) -> list[ChosenImage]:
        """The listed images of which the target lacks anything, or cannot be asked."""
        jobs = 2 * self._options.bundle.jobs
        distribution = Distribution(self._options.target, self._interruption, connections=jobs, mirrors=False)
        presence = Presence(distribution)

        def is_there(item: ChosenImage) -> bool:
            try:
                return all(self._is_there(distribution, presence, part) for part in needed_by([item], known))
            except RegistryError:
                return False  # the push says why

        listed = [item for item in chosen if not item.is_referrer]
        return [item for item, there in zip(listed, in_parallel(is_there, listed, jobs), strict=True) if not there]

    def _is_there(self, distribution: Distribution, presence: Presence, item: ChosenImage) -> bool:
        target = self._target(item.image.reference)
        if distribution.digest_of(target if target.tag else target.by_digest(item.choice.digest)) != item.choice.digest:
            return False
        manifests = {platform.descriptor.digest for platform in item.choice.platforms}
        blobs = {blob.digest: blob for blob in chain.from_iterable(item.closures) if blob.digest not in manifests}
        return bool(item.closures) and all(presence.has(target, blob.digest, blob.size) for blob in blobs.values())

    def _target(self, name: Reference) -> Reference:
        harbor = self._options.harbor
        known = self._options.names.get(name)
        return known or reference_in_registry(name, self._options.registry, harbor.default_project if harbor else "")

    def _load(self) -> None:
        options = self._options
        load = Load(
            LoadOptions(
                source=options.bundle.cache,
                registry=options.registry,
                access=options.target,
                jobs=options.bundle.jobs,
                failed_list=options.bundle.failed_list,
                state=options.state,
                harbor=options.harbor,
                names=options.names,
            ),
            self._interruption,
        )
        load.open()
        with self._show(load.context.tracker):
            load.check()
            load.push()
        texts = {str(item.image.reference): item.image.text for item in self._save.result.saved}
        result = load.result
        self.result.brought = [texts[name] for name in result.pushed if name in texts and name not in result.referrers]
        self.result.there += [texts[name] for name in result.there if name in texts and name not in result.referrers]
        self.result.failures |= {texts.get(name, name): reason for name, reason in result.failures.items()}
        self.result.sent = result.sent
