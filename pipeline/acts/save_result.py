"""After the acts: what stays of a run for people and for the next run. Failed list, lock, report, summary.

Takes the ``SaveResult`` of a save, writes files and text. Nothing of the bundle itself is touched, but for the cache, which is
made to read as the bundle that was saved last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.acts import plan
from pipeline.acts.save_tasks import SaveContext
from pipeline.config import digest_lock
from pipeline.config.digest_lock import LockedImage, LockedPlatform
from pipeline.core import files, image_list
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ImageToolsError
from pipeline.core.log import log
from pipeline.steps import tar
from pipeline.steps.chosen import ChosenImage
from pipeline.storage import cache
from pipeline.storage.records.packed import Finished
from pipeline.ui import terminal


@dataclass
class SaveResult:
    """What became of the images, and of the archive."""

    saved: list[ChosenImage] = field(default_factory=list)
    """Listed images in list order, then the referrers that come along."""
    reused: set[BundleImage] = field(default_factory=set)
    """Those saved of which nothing was copied in this run: all was here."""
    failures: dict[BundleImage, str] = field(default_factory=dict)
    kept: ImageToolsError | None = None
    """Why an earlier archive was left as it was; None when it was not."""
    replaced: str = ""
    """What the bundle that was replaced contained, where the new one lacks some of it."""
    repacked: bool = False
    verified: int = 0
    """Bytes of a bundle that stayed as it was, and was hashed again (``-verify``)."""

    @property
    def listed(self) -> list[ChosenImage]:
        return [item for item in self.saved if not item.is_referrer]


def remember(context: SaveContext, result: SaveResult, list_files: Sequence[Path]) -> None:
    """Write the failed list, and what the next run must know. ``list_files`` are never removed."""
    failed_list = context.bundle.failed_list
    if result.failures:
        files.write_atomic(failed_list, image_list.format_list(image.text for image in result.failures))
    elif not any(files.same_file(failed_list, each) for each in list_files):
        failed_list.unlink(missing_ok=True)
    record = {
        "saved": [item.image.reference.listed for item in result.listed],
        "failed": [image.reference.listed for image in result.failures],
    }
    files.write_if_changed(context.state.last_run, files.dump_json(record))
    if result.saved and not result.kept:
        cache.publish(context.cache, context.state)


def write_lock(context: SaveContext, result: SaveResult) -> None:
    path = context.bundle.lock_file
    assert path is not None, "the order was checked"
    if result.failures:
        log.warning("%s is left as it was: a lock of only some images would lock the others out", path)
        return
    if digest_lock.write(path, {str(item.image.reference): _locked(context, item, result.saved) for item in result.listed}):
        log.info("wrote the lock %s", path)


def write_report(
    context: SaveContext, result: SaveResult, finished: Finished | None, path: Path, planned: bool = False
) -> None:
    """``finished`` is what lies at the destination now."""
    from pipeline.ui import report
    from pipeline.ui.report import collect

    run = collect.Run(
        context.bundle,
        context.cache,
        context.state,
        result.saved,
        frozenset(result.reused),
        result.failures,
        finished.files if finished else (),
        context.fetched,
        result.repacked,
        result.kept,
        planned,
        context.tracker,
        result.verified,
    )
    report.write(collect.collect(run), path)


def tell(context: SaveContext, result: SaveResult, finished: Finished | None, how_to_go_on: str, report: Path | None) -> None:
    """The summary."""
    summary = terminal.Summary(
        context.bundle,
        len(result.listed),
        len(result.reused),
        plan.make_plan(context.cache, result.saved),
        result.failures,
        context.fetched,
        context.tracker.seconds,
        result.repacked,
        finished.files if finished else (),
        result.kept,
        report,
        how_to_go_on,
        result.verified,
        {item.image: item.lost for item in result.listed if item.lost},
        result.replaced,
    )
    terminal.print_summary(summary)


def _locked(context: SaveContext, item: ChosenImage, saved: Sequence[ChosenImage]) -> LockedImage:
    along = {each.image.reference: each.image.about for each in saved}
    platforms = [(p.platform, tar.platform_entry(context.cache, item.image, p)) for p in item.choice.platforms]
    return LockedImage(
        digest_lock.asked(item.image),
        str(item.image.source),
        item.choice.top.digest,
        tar.image_entry(context.state, item.image).digest,
        tuple(
            LockedPlatform(str(platform), entry.digest, sum(blob.size for blob in context.cache.closure(entry)))
            for platform, entry in platforms
        ),
        None if item.image.referrers is None else tuple(about for name in item.referrers if (about := along[name])),
    )
