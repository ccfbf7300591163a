"""A save, from bundle to archive: three acts, each a run of doit, so that a failed image takes itself out and nothing else.

In come a bundle and an interruption, out goes an ``Outcome``. Promises: what succeeded is packed, whatever failed; a good
bundle is never replaced by a worse one; what was fetched stays, however the run ends, and the next run goes on from there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import display, engine, files, imagelist, layout, lock, plan, tar, tasks
from .archive import open_archive
from .bundle import Bundle, BundleImage
from .choice import Choice, everything
from .engine import Status, TaskDict, TaskResult
from .errors import DamagedBlobsError, EnvironmentProblem, ImageToolsError, UsageError
from .interruption import Interruption
from .layout import IMAGES_LIST
from .lock import LockedImage, LockedPlatform
from .logs import about, log
from .oci import SCHEMA1_TYPES
from .recheck import Recheck
from .result import Finished, read_finished
from .tar import SavedImage
from .tasks import Workshop


@dataclass
class Outcome:
    """What became of the images, and of the archive."""

    saved: list[SavedImage] = field(default_factory=list)
    reused: set[BundleImage] = field(default_factory=set)
    """Those saved of which nothing was copied in this run: all was here."""
    failures: dict[BundleImage, str] = field(default_factory=dict)
    kept: str = ""
    """Why an earlier archive was left as it was; empty when it was not."""
    repacked: bool = False
    verified: int = 0
    """Bytes of a bundle that stayed as it was, and was hashed again (``-verify``)."""


class Save:
    """One run. Call ``fetch`` with the images (all at once, or one by one as they are typed), then ``pack``."""

    def __init__(self, bundle: Bundle, interruption: Interruption, force: bool = False, verify: bool = False) -> None:
        self.shop = Workshop(bundle, interruption)
        self.shop.patient = False
        self.outcome = Outcome()
        self._bundle = bundle
        self._force = force
        self._verify = verify
        self._interruption = interruption

    def start(self) -> None:
        """Find what would only fail later; finish what a killed run left. Call under the lock.

        Raises EnvironmentProblem, and UsageError for the failed list of an earlier run.
        """
        self._refuse_failed_list()
        for folder in (self._bundle.output.destination.parent, self._bundle.failed_list.parent):
            files.check_writable(folder)
        _ = self.shop.skopeo
        self.shop.begin()

    def remember(self, images: Sequence[BundleImage]) -> None:
        """Keep the list: going on after an interruption needs no typing."""
        self.shop.remember(images)

    def show_plan(self, images: Sequence[BundleImage], report_file: Path | None = None) -> None:
        """What a save would do (``-dry-run``). No layer is fetched."""
        chosen = self.resolve(images)
        order = plan.make_plan(self.shop.cache, chosen)
        display.print_plan(order, plan.needs(self.shop.cache, self._bundle, order, self.finished))
        display.print_failures(self.outcome.failures)
        self.outcome.saved = [SavedImage(image, choice) for image, choice in chosen]
        if report_file is not None:
            self._report(report_file, planned=True)
        plan.check_file_size(self._bundle, order)

    def finish(self, list_file: Path | None, write_lock: bool, how_to_go_on: str, report_file: Path | None = None) -> None:
        """Write failed list, lock and report, remember what failed, and tell. ``list_file`` is never removed."""
        failures, saved = self.outcome.failures, self.outcome.saved
        failed_list = self._bundle.failed_list
        if failures:
            files.write_atomic(failed_list, imagelist.format_list(image.text for image in failures))
        elif list_file is None or not files.same_file(failed_list, list_file):
            failed_list.unlink(missing_ok=True)
        record = {
            "saved": [item.image.reference.listed for item in saved],
            "failed": [image.reference.listed for image in failures],
        }
        files.write_if_changed(self.shop.state.last_run, files.dump_json(record))
        if saved and not self.outcome.kept:
            layout.publish(self.shop.cache, self.shop.state)
        if write_lock:
            self._write_lock()
        self._tell(how_to_go_on, report_file)

    def _write_lock(self) -> None:
        path = self._bundle.lock_file
        assert path is not None, "the order was checked"
        if self.outcome.failures:
            log.warning("%s is left as it was: a lock of only some images would lock the others out", path)
            return
        images = {str(item.image.reference): self._locked(item) for item in self.outcome.saved}
        if lock.write(path, images):
            log.info("wrote the lock %s", path)

    def _locked(self, item: SavedImage) -> LockedImage:
        cache = self.shop.cache
        platforms = [(p.platform, tar.platform_entry(cache, item.image, p)) for p in item.choice.platforms]
        return LockedImage(
            lock.asked(item.image),
            str(item.image.source),
            item.choice.top.digest,
            tar.image_entry(self.shop.state, item.image).digest,
            tuple(
                LockedPlatform(str(platform), entry.digest, sum(blob.size for blob in cache.closure(entry)))
                for platform, entry in platforms
            ),
            None if item.image.referrers is None else tuple(e.image.about for e in item.choice.referrers if e.image.about),
        )

    def fetch(self, images: Sequence[BundleImage]) -> None:
        """Acts 1 and 2. Failures are recorded, not raised. Raises EnvironmentProblem, Interrupted."""
        self._forget(images)
        chosen = self.resolve(images) if images else []
        if chosen:
            self._copy(chosen, self._check_room(chosen))
        self.outcome.saved.sort(key=lambda item: item.image.m_id)

    def _forget(self, images: Sequence[BundleImage]) -> None:
        """An image that is entered once more counts once, with what becomes of it now."""
        again = {image.reference for image in images}
        self.outcome.saved = [item for item in self.outcome.saved if item.image.reference not in again]
        self.outcome.failures = {i: why for i, why in self.outcome.failures.items() if i.reference not in again}
        self.outcome.reused = {image for image in self.outcome.reused if image.reference not in again}

    def resolve(self, images: Sequence[BundleImage]) -> list[tuple[BundleImage, Choice]]:
        """Act 1: what every tag names, and which platforms of it are asked for."""
        self.shop.tracker.begin("resolving", len(images), 0, "resolve")
        results = self._run(task for image in images for task in self._resolving(image))
        chosen = []
        for image in images:
            steps = [f"{task['basename']}:{task['name']}" for task in self._resolving(image)]
            choice = self.shop.known_choice(image) if all(results[step].ok for step in steps) else None
            if choice is None:
                reasons = [results[step].message for step in steps if results[step].message]
                self.outcome.failures[image] = (reasons or ["it could not be read from the cache; run the command again"])[0]
                continue
            level = logging.WARNING if choice.top.media_type in SCHEMA1_TYPES else logging.INFO
            with about(image.m_id):
                for note in choice.notes:
                    log.log(level, "%s: %s", image.reference, note)
            chosen.append((image, choice))
        return chosen

    def _resolving(self, image: BundleImage) -> Iterator[TaskDict]:
        yield tasks.resolve_task([(self.shop, image)])
        if image.referrers is not None:
            yield tasks.referrers_task(self.shop, image)

    def pack(self) -> None:
        """Act 3. With ``verify``, what it leaves as it was is hashed again; what is damaged then is packed again."""
        if not self._verify:
            self._pack_unless_worse()
            return
        recheck = Recheck(self.shop.state, self._bundle, self._interruption, self.shop.tracker)
        recheck.accept_times()
        self._pack_unless_worse()
        if self.outcome.repacked:
            return
        if recheck.is_intact():
            self.outcome.verified = recheck.size
        else:
            self._pack_unless_worse()

    def _pack_unless_worse(self) -> None:
        """Act 3, unless an earlier archive is better. Damaged blobs are fetched again, once."""
        self.outcome.kept = self._reason_to_keep()
        if self.outcome.kept or not self.outcome.saved:
            return
        damaged = self._pack_once()
        if damaged:
            log.warning("%d damaged blobs in the cache: fetching them again", len(damaged))
            self._fetch_again()
            self.outcome.kept = self._reason_to_keep()
            if self.outcome.saved and not self.outcome.kept and self._pack_once():
                self._pack_without_damaged()

    def _copy(self, chosen: Sequence[tuple[BundleImage, Choice]], figures: plan.Plan) -> None:
        """Act 2: bring every platform's blobs here, and write the indexes."""
        self.shop.tracker.begin("copying", figures.copies, figures.to_fetch, "copy")
        order = plan.fetch_order(self.shop.cache, chosen)
        whole = everything(chosen)
        results = self._run(task for image, choice in whole for task in tasks.copy_tasks(self.shop, image, choice, order))
        for image, choice in chosen:
            reason = self._reason_of_failure(image, choice, results)
            if reason is None:
                self.outcome.saved.append(SavedImage(image, choice))
                self._count_reused(image, choice, results)
            else:
                self.outcome.failures[image] = reason

    def _count_reused(self, image: BundleImage, choice: Choice, results: Mapping[str, TaskResult]) -> None:
        parts = everything([(image, choice)])
        copies = [results[f"copy:{tasks.copy_name(part, each)}"] for part, own in parts for each in own.platforms]
        self.outcome.reused.discard(image)
        if all(copy.status is Status.UP_TO_DATE for copy in copies):
            self.outcome.reused.add(image)

    def _tell(self, how_to_go_on: str, report_file: Path | None) -> None:
        finished = self.finished
        chosen = [(item.image, item.choice) for item in self.outcome.saved]
        order = plan.make_plan(self.shop.cache, chosen)
        lost = {image: choice.lost for image, choice in chosen if choice.lost}
        if report_file is not None:
            self._report(report_file)
        summary = display.Summary(
            self._bundle,
            len(chosen),
            len(self.outcome.reused),
            order,
            self.outcome.failures,
            self.shop.fetched,
            self.shop.tracker.seconds,
            self.outcome.repacked,
            finished.files if finished else (),
            self.outcome.kept,
            report_file,
            how_to_go_on,
            self.outcome.verified,
            lost,
        )
        display.print_summary(summary)

    def _report(self, path: Path, planned: bool = False) -> None:
        from .report import collect, writing

        finished = None if planned else self.finished
        run = collect.Run(
            self._bundle,
            self.shop.cache,
            self.shop.state,
            [(item.image, item.choice) for item in self.outcome.saved],
            frozenset(self.outcome.reused),
            self.outcome.failures,
            finished.files if finished else (),
            self.shop.fetched,
            self.outcome.repacked,
            self.outcome.kept,
            planned,
            self.shop.tracker,
            self.outcome.verified,
        )
        writing.write(collect.collect(run), path)

    def _refuse_failed_list(self) -> None:
        """A bundle of only what failed would replace the bundle of all that was saved."""
        record = files.read_json(self.shop.state.last_run)
        saved, failed = _names(record, "saved"), _names(record, "failed")
        listed = {image.reference.listed for image in self._bundle.images}
        # Where nothing was saved, the failed list is the list itself, and the advice was to run it again.
        if self._force or not saved or not listed or not listed <= failed or self.finished is None:
            return
        raise UsageError(
            f"this list holds only images that failed in the last run for {self._bundle.output.destination}; "
            "the bundle made of it would replace the one with all the others\n"
            "TIP: run the same command as before, with the whole list: it repeats nothing that is done. "
            f"The list of that run is kept in {self.shop.state.kept_list}; -force goes on all the same"
        )

    def _reason_of_failure(
        self, image: BundleImage, choice: Choice, results: Mapping[str, TaskResult]
    ) -> str | None:
        """Why an image is not whole. One whose signature is lacking is not."""
        for part, own in everything([(image, choice)]):
            reason = self._reason_of_part(part, own, results)
            if reason is not None:
                return reason if part is image else f"{part.reference}, which refers to it: {reason}"
        return None

    def _reason_of_part(
        self, image: BundleImage, choice: Choice, results: Mapping[str, TaskResult]
    ) -> str | None:
        names = [f"copy:{tasks.copy_name(image, platform)}" for platform in choice.platforms]
        names.append(f"index:{self._bundle.name}:{image.reference}")
        for name, platform in zip(names, [*choice.platforms, None], strict=True):
            result = results[name]
            if result.status is Status.FAILED:
                return f"{platform.platform}: {result.message}" if platform and platform.platform.is_known else result.message
        return None if all(results[name].ok for name in names) else "not tried"

    def _pack_once(self) -> tuple[str, ...]:
        """Run act 3. Digests of the blobs that turned out to be damaged. Raises whatever else stopped it."""
        name = self._bundle.name
        figures = plan.make_plan(self.shop.cache, [(item.image, item.choice) for item in self.outcome.saved])
        self.shop.tracker.begin("packing", 0, figures.total, "pack")
        results = self._run(tasks.pack_tasks(self.shop, self.outcome.saved))
        self.outcome.repacked = results[f"compress:{name}"].status is Status.DONE
        for task in (f"tar:{name}", f"compress:{name}", f"split:{name}"):
            result = results[task]
            error = self.shop.errors.get(task)
            if result.status is Status.FAILED and isinstance(error, DamagedBlobsError):
                return error.digests
            if not result.ok:
                raise error or ImageToolsError(f"{task}: {result.message}")
        return ()

    def _fetch_again(self) -> None:
        """The damaged blobs are gone from the cache: the copies that lack them, and only they, run again."""
        again, self.outcome.saved = self.outcome.saved, []
        self.shop.errors.clear()
        self.fetch([item.image for item in again])

    def _pack_without_damaged(self) -> None:
        """What is damaged after it was fetched again is the disk's fault: leave its images out."""
        for item in self.outcome.saved:
            parts = everything([(item.image, item.choice)])
            if any(self.shop.cache.missing(platform.descriptor) for _, own in parts for platform in own.platforms):
                self.outcome.failures[item.image] = "its blobs are damaged as soon as they are written; check the disk"
        self.outcome.saved = [item for item in self.outcome.saved if item.image not in self.outcome.failures]
        self.outcome.kept = self._reason_to_keep()
        if self.outcome.saved and not self.outcome.kept and self._pack_once():
            raise EnvironmentProblem("blobs are damaged as soon as they are written\nTIP: check the disk of the cache")

    def _reason_to_keep(self) -> str:
        """A bundle that holds what failed now is better than the one that could be made."""
        failures = self.outcome.failures
        earlier = self.earlier_references() if failures else frozenset()
        if not earlier:
            return ""
        where = self._bundle.output.destination
        if not self.outcome.saved:
            return f"{where} of an earlier run stays as it was."
        lost = [image.text for image in failures if image.reference.listed in earlier]
        if not lost or self._force:
            return ""
        return (
            f"{where} of an earlier run stays as it was: it holds {', '.join(lost)}, which failed now.\n"
            "TIP: -force replaces it all the same"
        )

    def earlier_references(self) -> frozenset[str]:
        """What the bundle that lies at the destination holds; empty where there is none that we can read."""
        finished = self.finished
        if finished is not None:
            return frozenset(finished.references)
        try:
            with open_archive(self._bundle.output.destination) as archive:
                document = json.loads(archive.read_metadata(IMAGES_LIST))
            return frozenset(f"{item['Source']} {item['Tag']}" for item in document["List"])
        except (ImageToolsError, OSError, ValueError, KeyError, TypeError):
            return frozenset()

    @property
    def finished(self) -> Finished | None:
        """Our last result for this destination, if it is still there."""
        finished = read_finished(self.shop.state.output)
        return finished if finished is not None and (finished.is_there or self._bundle.is_cache) else None

    def _check_room(self, chosen: Sequence[tuple[BundleImage, Choice]]) -> plan.Plan:
        order = plan.make_plan(self.shop.cache, chosen)
        plan.check_file_size(self._bundle, order)
        needs = plan.needs(self.shop.cache, self._bundle, order, self.finished)
        log.info("%s", display.plan_line(order, needs))
        if not self._force:
            plan.check_disk(needs)
        return order

    def _run(self, graph: Iterable[TaskDict]) -> Mapping[str, TaskResult]:
        results = engine.run(
            graph,
            jobs=self._bundle.jobs,
            database=self.shop.cache.database,
            observer=self.shop.tracker,
            interruption=self._interruption,
        )
        self.shop.tracker.end()
        self._interruption.check()
        if self.shop.fatal is not None:
            raise self.shop.fatal
        return results


def _names(record: object, key: str) -> frozenset[str]:
    """A list in one of our records; empty where it is missing or damaged."""
    value = record.get(key) if isinstance(record, dict) else None
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()
