"""A save, from bundle to archive: three acts, each a run of doit, so that a failed image takes itself out and nothing else.

Takes a bundle and an interruption, returns a ``SaveResult``, and prints nothing. Guarantees: what succeeded is packed, whatever
failed; a good bundle is never replaced by a worse one; what was fetched stays, however the run ends, and the next run goes on
from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from pipeline.acts import engine
from pipeline.acts.engine import Status, TaskDict, TaskResult
from pipeline.acts.save import copy_tasks, gate, pack_tasks, plan, resolve_tasks, shortage
from pipeline.acts.save import result as save_result
from pipeline.acts.save.earlier_bundle import Earlier, reason_to_keep, what_was_replaced
from pipeline.acts.save.reasons import reason_of_failure
from pipeline.acts.save.recheck import Recheck
from pipeline.acts.save.result import SaveResult
from pipeline.acts.save.tasks import SaveContext
from pipeline.core import disk
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.errors import DamagedBlobsError, EnvironmentProblem, ImageToolsError
from pipeline.core.interruption import Interruption
from pipeline.core.log import about, log
from pipeline.core.reference import Reference
from pipeline.steps.images.chosen import ChosenImage, needed_by
from pipeline.storage import locks, parity

Announce = Callable[[plan.Plan, Sequence[plan.Need]], None]
"""Takes what a run is about to do, and what room it needs."""

SMALL = 2
"""Workers for each job where they mostly wait: manifests and small blobs take round trips and no processor, and there are as
many connections to a host. In act 2 three times as many: a blob often comes from another host than the one that names it, and
copies wait for each other, so many that nobody would be left to fetch.
"""


class Save:
    """One run. Call ``fetch`` with the images (all at once, or one by one as they are typed), then ``pack`` and ``finish``."""

    def __init__(
        self,
        bundle: Bundle,
        interruption: Interruption,
        announce: Announce,
        *,
        force: bool = False,
        verify: bool = False,
    ) -> None:
        self.context = SaveContext(bundle, interruption)
        self.context.patient = False
        self.result = SaveResult()
        self._bundle = bundle
        self._earlier = Earlier(bundle, self.context.state)
        self._announce = announce
        self._force = force
        self._verify = verify
        self._before: tuple[str, ...] = ()
        self._interruption = interruption

    @contextlib.contextmanager
    def locked(self, wait: bool = False) -> Iterator[None]:
        """Hold the cache and the destination. Raises EnvironmentProblem where another run has one and ``wait`` is false."""
        self.context.waits = wait
        with locks.lock_cache(self.context.cache, wait=wait, sleep=self._interruption.sleep), self.context.destination_locked():
            yield

    def start(self) -> None:
        """Find what would only fail later; finish what a killed run left. Call while ``locked``.

        Raises EnvironmentProblem, and UsageError for the failed list of an earlier run.
        """
        pack_tasks.source_date_epoch()
        if not self._force:
            self._earlier.refuse_failed_list()
        for folder in (self._bundle.output.destination.parent, self._bundle.failed_list.parent):
            disk.check_writable(folder)
        if self._bundle.output.parity:
            parity.require()
        _ = self.context.skopeo
        self.context.begin()

    def remember(self, images: Sequence[BundleImage]) -> None:
        """Keep the list: going on after an interruption needs no typing."""
        self.context.remember(images)

    def fetch(self, images: Sequence[BundleImage]) -> None:
        """Acts 1 and 2. Failures are recorded, not raised. Raises EnvironmentProblem, Interrupted."""
        waiting = images
        while waiting:
            self._forget(waiting)
            self.fetch_chosen(self.resolve(waiting))
            waiting = [image for each in self.result.shortages for image in each.images]
            if waiting and self._bundle.waits_for_quota:
                shortage.wait(self.result.shortages, self.context.quota, self.context.distribution, self._interruption)
            else:
                return

    def fetch_chosen(self, chosen: Sequence[ChosenImage]) -> None:
        """Act 2 of what act 1 chose. Raises as ``fetch``."""
        if possible := self._possible(chosen):
            self._copy(possible, self._check_room(possible))

    def _forget(self, images: Sequence[BundleImage]) -> None:
        """An image that is entered once more counts once, with what becomes of it now."""
        again = {image.reference for image in images}
        stay = [item for item in self.result.saved if not item.is_referrer and item.image.reference not in again]
        self.result.saved = needed_by(stay, _by_name(self.result.saved))
        self.result.failures = {i: why for i, why in self.result.failures.items() if i.reference not in again}
        self.result.reused = {image for image in self.result.reused if image.reference not in again}

    # Act 1

    def resolve(self, images: Sequence[BundleImage]) -> list[ChosenImage]:
        """Act 1: what every tag names, which platforms of it are asked for, and what refers to them."""
        self.context.tracker.begin("resolving", len(images), 0, "resolve")
        self.context.errors.clear()
        shortage.warn_of_quotas(self.context, images)
        graph = resolve_tasks.act_1([[(self.context, image)] for image in shortage.begun_first(self.context, images)])
        results = self._run(graph, workers=1 if self._bundle.access.via == "skopeo" else SMALL)
        steps = {
            image: [results[name] for name in resolve_tasks.task_names(self.context, image) if name in results]
            for image in images
        }
        chosen = self.context.chosen(image for image in images if all(step.ok for step in steps[image]))
        known = _by_name(chosen)
        for image in images:
            if image.reference not in known:
                reasons = [step.message for step in steps[image] if step.message]
                self.result.failures[image] = (reasons or ["it could not be read from the cache; run the command again"])[0]
                continue
            choice = known[image.reference].choice
            with about(image.m_id):
                for warning in choice.warnings:
                    log.warning("%s: %s", image.text, warning)
                for note in choice.notes:
                    log.info("%s: %s", image.text, note)
        self.result.shortages = shortage.shortages(self.context, images)
        if any(image.referrers is not None for image in images):
            found, requests = sum(len(item.referrers) for item in chosen), self.context.distribution.requests
            log.info("%d signatures and other referrers found, in %d requests", found, requests)
        return chosen

    # Between act 1 and act 2

    def _possible(self, chosen: Sequence[ChosenImage]) -> list[ChosenImage]:
        """Without the images that can never be fetched, which fail, and what comes along with them alone."""
        impossible = {} if self._force else plan.impossible_blobs(self.context.cache, chosen)
        if not impossible:
            return list(chosen)
        known = _by_name(chosen)
        listed = []
        for item in (each for each in chosen if not each.is_referrer):
            reason = next(
                (impossible[digest] for digest in plan.distinct_blobs(needed_by([item], known)) if digest in impossible), ""
            )
            if reason:
                self.result.failures[item.image] = reason
            else:
                listed.append(item)
        return needed_by(listed, known)

    def preview(self, images: Sequence[BundleImage]) -> tuple[plan.Plan, Sequence[plan.Need]]:
        """What a save would do, and what room it needs (``-dry-run``). No layer is fetched; failures are recorded."""
        self.result.saved = self._possible(self.resolve(images))
        order = plan.make_plan(self.context.cache, self.result.saved)
        return order, plan.needs(self.context.cache, self._bundle, order, self._earlier.finished)

    def _check_room(self, chosen: Sequence[ChosenImage]) -> plan.Plan:
        order = plan.make_plan(self.context.cache, chosen)
        seconds, requests = self.context.tracker.seconds["resolving"], self.context.distribution.requests
        order = plan.with_waits(order, self._bundle.jobs, seconds, requests)
        plan.check_file_size(self._bundle, order)
        needs = plan.needs(self.context.cache, self._bundle, order, self._earlier.finished)
        self._announce(order, needs)
        if not self._force:
            plan.check_disk(needs)
        return order

    # Act 2

    def _copy(self, chosen: Sequence[ChosenImage], figures: plan.Plan) -> None:
        """Act 2: bring every platform's blobs here, and write the indexes."""
        self.context.tracker.begin("copying", figures.copies, figures.to_fetch, "copy")
        known = _by_name(chosen)
        fetches = copy_tasks.find_fetches(self.context, chosen)
        made = {item.image.reference: list(copy_tasks.copy_tasks(self.context, item, fetches)) for item in chosen}
        # Image after image with its referrers, so that the first ones are whole early.
        order = dict.fromkeys(part.image.reference for item in chosen for part in needed_by([item], known))
        names = [f"{task['basename']}:{task['name']}" for reference in order for task in made[reference]]
        graph = chain(copy_tasks.fetch_tasks(self.context, fetches), chain.from_iterable(made.values()))
        results = self._run(graph, names, workers=3 * SMALL if fetches.blobs else 1)
        with contextlib.suppress(OSError):  # what it holds waits for the next run
            self.context.cache.partials.rmdir()
        listed = [item for item in self.result.saved if not item.is_referrer]
        for item in chosen:
            if item.is_referrer:
                continue
            parts = needed_by([item], known)
            reason = reason_of_failure(self.context, parts, fetches, results)
            if reason is None:
                listed.append(item)
                self._count_reused(parts, results)
            else:
                self.result.failures[item.image] = reason
        listed.sort(key=lambda item: item.image.m_id)
        self.result.saved = needed_by(listed, _by_name(self.result.saved) | known)

    def _count_reused(self, parts: Sequence[ChosenImage], results: Mapping[str, TaskResult]) -> None:
        image = parts[0].image
        copies = [results[copy_tasks.copy_task_name(part.image, each)] for part in parts for each in part.choice.platforms]
        self.result.reused.discard(image)
        if all(copy.status is Status.UP_TO_DATE for copy in copies):
            self.result.reused.add(image)

    # Act 3

    def pack(self) -> None:
        """Act 3. With ``verify``, what it leaves as it was is hashed again; what is damaged then is packed again."""
        if self._bundle.gate:
            gate.hold(self.context, self.result, self._run)
        self._before = self._earlier.references()
        self._pack()
        if self.result.repacked:
            self.result.replaced = what_was_replaced(self._before, self._saved_images())
            if self.result.replaced:
                log.warning("%s: %s", self._bundle.output.destination, self.result.replaced)

    def _pack(self) -> None:
        if not self._verify:
            self._pack_unless_worse()
            return
        recheck = Recheck(self.context.state, self._bundle, self._interruption, self.context.tracker)
        recheck.accept_times()
        self._pack_unless_worse()
        if self.result.repacked:
            return
        if recheck.is_intact():
            self.result.verified = recheck.size
        else:
            self._pack_unless_worse()

    def _pack_unless_worse(self) -> None:
        """Act 3, unless an earlier archive is better. Damaged blobs are fetched again, once."""
        self.result.kept = self._reason_to_keep()
        if self.result.kept or not self.result.saved:
            return
        damaged = self._pack_once()
        if damaged:
            log.warning("%d damaged blobs in the cache: fetching them again", len(damaged))
            self._fetch_again()
            self.result.kept = self._reason_to_keep()
            if self.result.saved and not self.result.kept and self._pack_once():
                self._pack_without_damaged()

    def _pack_once(self) -> tuple[str, ...]:
        """Run act 3. Digests of the blobs that turned out to be damaged. Raises whatever else stopped it."""
        name = self._bundle.name
        total = sum(blob.size for blob in plan.distinct_blobs(self.result.saved).values())
        self.context.tracker.begin("packing", 0, total, "pack")
        results = self._run(pack_tasks.pack_tasks(self.context, self.result.saved))
        self.result.repacked = results[f"compress:{name}"].status is Status.DONE
        for task in (f"{kind}:{name}" for kind in pack_tasks.ACT_3 if f"{kind}:{name}" in results):
            result = results[task]
            error = self.context.errors.get(task)
            if result.status is Status.FAILED and isinstance(error, DamagedBlobsError):
                return error.digests
            if not result.ok:
                raise error or ImageToolsError(f"{task}: {result.message}")
        return ()

    def _reason_to_keep(self) -> ImageToolsError | None:
        if not self.result.failures or (self._force and self.result.saved):
            return None
        return reason_to_keep(self._bundle.output.destination, self._before, self._saved_images())

    def _saved_images(self) -> list[BundleImage]:
        return [item.image for item in self.result.listed]

    def _fetch_again(self) -> None:
        """The damaged blobs are gone from the cache: the copies that lack them, and only they, run again."""
        again, self.result.saved = self.result.saved, []
        self.context.errors.clear()
        self.fetch([item.image for item in again if not item.is_referrer])

    def _pack_without_damaged(self) -> None:
        """What is damaged after it was fetched again is the disk's fault: leave its images out."""
        known = _by_name(self.result.saved)
        listed = [item for item in self.result.saved if not item.is_referrer]
        for item in listed:
            parts = needed_by([item], known)
            if any(self.context.cache.missing(each.descriptor) for part in parts for each in part.choice.platforms):
                self.result.failures[item.image] = "its blobs are damaged as soon as they are written; check the disk"
        self.result.saved = needed_by((item for item in listed if item.image not in self.result.failures), known)
        self.result.kept = self._reason_to_keep()
        if self.result.saved and not self.result.kept and self._pack_once():
            raise EnvironmentProblem("blobs are damaged as soon as they are written", tip="check the disk of the cache")

    # After the acts

    def finish(self, list_files: Sequence[Path]) -> SaveResult:
        """Write the failed list, and remember what failed. ``list_files`` are never removed."""
        self.result.finished = self._earlier.finished
        save_result.remember(self.context, self.result, list_files)
        return self.result

    def _run(self, graph: Iterable[TaskDict], names: Sequence[str] | None = None, workers: int = 1) -> Mapping[str, TaskResult]:
        """With so many ``workers`` for each of the bundle's jobs; one job is one worker, whatever it waits for."""
        results = engine.run(
            graph,
            names,
            jobs=self._bundle.jobs * workers if self._bundle.jobs > 1 else 1,
            database=self.context.cache.database,
            observer=self.context.tracker,
            interruption=self._interruption,
        )
        self.context.tracker.end()
        self._interruption.check()
        if self.context.fatal is not None:
            raise self.context.fatal
        return results


def _by_name(chosen: Iterable[ChosenImage]) -> dict[Reference, ChosenImage]:
    return {item.image.reference: item for item in chosen}
