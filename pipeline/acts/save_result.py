"""After the acts: what stays of a run for people and for the next run. Failed list, lock, report, summary.

In comes the ``Outcome`` of a save, out go files and text. Nothing of the bundle itself is touched, but for the cache, which is
made to read as the bundle that was saved last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.acts import plan
from pipeline.acts.save_tasks import Workshop
from pipeline.config import digest_lock as lock
from pipeline.config.digest_lock import LockedImage, LockedPlatform
from pipeline.core import files
from pipeline.core import image_list as imagelist
from pipeline.core.bundle import BundleImage
from pipeline.core.log import log
from pipeline.steps import tar
from pipeline.steps.tar import SavedImage
from pipeline.storage import cache as layout
from pipeline.storage.records.packed import Finished
from pipeline.ui import terminal as display


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


def remember(shop: Workshop, outcome: Outcome, list_file: Path | None) -> None:
    """Write the failed list, and what the next run must know. ``list_file`` is never removed."""
    failed_list = shop.bundle.failed_list
    if outcome.failures:
        files.write_atomic(failed_list, imagelist.format_list(image.text for image in outcome.failures))
    elif list_file is None or not files.same_file(failed_list, list_file):
        failed_list.unlink(missing_ok=True)
    record = {
        "saved": [item.image.reference.listed for item in outcome.saved],
        "failed": [image.reference.listed for image in outcome.failures],
    }
    files.write_if_changed(shop.state.last_run, files.dump_json(record))
    if outcome.saved and not outcome.kept:
        layout.publish(shop.cache, shop.state)


def write_lock(shop: Workshop, outcome: Outcome) -> None:
    path = shop.bundle.lock_file
    assert path is not None, "the order was checked"
    if outcome.failures:
        log.warning("%s is left as it was: a lock of only some images would lock the others out", path)
        return
    if lock.write(path, {str(item.image.reference): _locked(shop, item) for item in outcome.saved}):
        log.info("wrote the lock %s", path)


def write_report(shop: Workshop, outcome: Outcome, finished: Finished | None, path: Path, planned: bool = False) -> None:
    """``finished`` is what lies at the destination now."""
    from pipeline.ui.report import collect, writing

    run = collect.Run(
        shop.bundle,
        shop.cache,
        shop.state,
        [(item.image, item.choice) for item in outcome.saved],
        frozenset(outcome.reused),
        outcome.failures,
        finished.files if finished else (),
        shop.fetched,
        outcome.repacked,
        outcome.kept,
        planned,
        shop.tracker,
        outcome.verified,
    )
    writing.write(collect.collect(run), path)


def tell(shop: Workshop, outcome: Outcome, finished: Finished | None, how_to_go_on: str, report: Path | None) -> None:
    """The summary."""
    chosen = [(item.image, item.choice) for item in outcome.saved]
    summary = display.Summary(
        shop.bundle,
        len(chosen),
        len(outcome.reused),
        plan.make_plan(shop.cache, chosen),
        outcome.failures,
        shop.fetched,
        shop.tracker.seconds,
        outcome.repacked,
        finished.files if finished else (),
        outcome.kept,
        report,
        how_to_go_on,
        outcome.verified,
        {image: choice.lost for image, choice in chosen if choice.lost},
    )
    display.print_summary(summary)


def _locked(shop: Workshop, item: SavedImage) -> LockedImage:
    platforms = [(p.platform, tar.platform_entry(shop.cache, item.image, p)) for p in item.choice.platforms]
    return LockedImage(
        lock.asked(item.image),
        str(item.image.source),
        item.choice.top.digest,
        tar.image_entry(shop.state, item.image).digest,
        tuple(
            LockedPlatform(str(platform), entry.digest, sum(blob.size for blob in shop.cache.closure(entry)))
            for platform, entry in platforms
        ),
        None if item.image.referrers is None else tuple(e.image.about for e in item.choice.referrers if e.image.about),
    )
