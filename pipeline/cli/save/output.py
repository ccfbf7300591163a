"""What a save tells people: the plan, the summary, the report, and the lock that repeats it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.acts.save import plan
from pipeline.acts.save.result import SaveResult
from pipeline.acts.save.run import Save
from pipeline.acts.save.tasks import SaveContext
from pipeline.cli.arguments import print_lines
from pipeline.config import digest_lock
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import BundleImage, Referrer
from pipeline.core.log import PLAN, log
from pipeline.core.oci import SCHEMA1_TYPES, Descriptor, Manifest
from pipeline.steps import tar
from pipeline.steps.images.chosen import ChosenImage
from pipeline.storage import delta
from pipeline.storage.image_lock import LockedImage, LockedPlatform
from pipeline.ui import report, terminal


def announce(order: plan.Plan, needs: Sequence[plan.Need]) -> None:
    """One line of the log, before anything is fetched."""
    log.info("%s", terminal.plan_line(order, needs), extra=PLAN)


def print_plan(run: Save, order: plan.Plan, needs: Sequence[plan.Need]) -> None:
    """What a save would do (``-dry-run``): figures, a table of images, and what fails."""
    terminal.print_plan(order, needs)
    rows = [
        (
            each.name,
            " ".join(name.removeprefix("linux/") for name in each.platforms),
            bytes_text(each.size),
            each.new_text,
        )
        for each in _planned(run)
    ]
    if rows:
        print_lines("", *terminal.table(("IMAGE", "PLATFORMS", ">SIZE", ">TO FETCH"), rows))
    if run.result.failures:
        print(f"\n{terminal.styled(f'would fail {len(run.result.failures)}', 'bad')}:")
        terminal.print_failures(terminal.failures_of(run.result.failures))
    terminal.print_lost(_lost(run.result))


def plan_document(run: Save, order: plan.Plan, needs: Sequence[plan.Need]) -> dict[str, Any]:
    """The same for programs. Sizes in bytes."""
    return {
        "bundle": str(run.context.bundle.output.destination),
        "images": [
            {
                "image": each.name,
                "digest": each.digest,
                "platforms": list(each.platforms),
                "size": each.size,
                "toFetch": each.new,
            }
            for each in _planned(run)
        ],
        "failed": {image.text: reason for image, reason in run.result.failures.items()},
        "blobs": order.blobs,
        "size": order.total,
        "shared": order.shared,
        "toFetch": order.to_fetch,
        "disk": [{"path": str(need.path), "needed": need.needed, "free": need.free} for need in needs],
    }


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """An image of a plan: its bytes, and those that are not here, each blob once."""

    name: str
    digest: str
    platforms: tuple[str, ...]
    size: int
    new: int

    @property
    def new_text(self) -> str:
        return bytes_text(self.new) if self.new else "here"


def _planned(run: Save) -> list[_Planned]:
    cache, found = run.context.cache, []
    for item in run.result.saved:
        if item.is_referrer:
            continue
        blobs = plan.distinct_blobs([item])
        platforms = [each.platform for each in item.choice.platforms if not each.descriptor.is_attestation]
        found.append(
            _Planned(
                name=item.image.text,
                digest=str(item.choice.digest),
                platforms=tuple(str(platform) if platform.is_known else "-" for platform in platforms),
                size=sum(blob.size for blob in blobs.values()),
                new=sum(blob.size for blob in blobs.values() if not cache.has(blob)),
            )
        )
    return found


def print_summary(run: Save, report_file: Path | None, how_to_go_on: str) -> None:
    context, result = run.context, run.result
    terminal.print_summary(
        terminal.Summary(
            bundle=context.bundle,
            saved=len(result.listed),
            reused=len(result.reused),
            plan=plan.make_plan(context.cache, result.saved),
            failures=result.failures,
            fetched=context.fetched,
            seconds=context.tracker.seconds,
            repacked=result.repacked,
            files=result.finished.files if result.finished else (),
            kept=result.kept,
            report=report_file,
            how_to_go_on=how_to_go_on,
            verified=result.verified,
            lost=_lost(result),
            left_out=_left_out(context),
            replaced=result.replaced,
            advice=tuple((each.message, each.tip) for each in result.shortages),
        )
    )


def _left_out(context: SaveContext) -> tuple[int, int] | None:
    """Of the archive that was laid out last."""
    if not context.bundle.bases or not context.state.delta.exists():
        return None
    found = delta.parse(context.state.delta.read_bytes(), str(context.state.delta))
    return len(found.absent), found.size


def write_report(run: Save, path: Path, *, planned: bool = False) -> None:
    """Write the report of the run, or of what it would do."""
    from pipeline.ui.report import collect  # the records of a report take longer to load than those of a save

    context, result = run.context, run.result
    about = collect.Run(
        bundle=context.bundle,
        cache=context.cache,
        state=context.state,
        chosen=result.saved,
        reused=frozenset(result.reused),
        failures=result.failures,
        files=result.finished.files if result.finished else (),
        fetched=context.fetched,
        repacked=result.repacked,
        kept=result.kept,
        planned=planned,
        tracker=context.tracker,
        verified=result.verified,
    )
    report.write(collect.collect(about), path)


def write_lock(context: SaveContext, result: SaveResult) -> None:
    path = context.bundle.lock_file
    assert path is not None, "the options were checked"
    if result.failures:
        log.warning("%s is left as it was: a lock of only some images would lock the others out", path)
        return
    if digest_lock.write(path, {str(item.image.reference): _locked(context, item, result.saved) for item in result.listed}):
        log.info("wrote the lock %s", path)


def print_locked(context: SaveContext, result: SaveResult) -> None:
    """What a lock without a save came to."""
    figures = plan.make_plan(context.cache, result.saved)
    print(f"locked {figures.images} images, {figures.platforms} image/arches, {bytes_text(figures.total)}")
    print(f"  {terminal.harmless(str(context.bundle.lock_file))}")


def _lost(result: SaveResult) -> dict[BundleImage, tuple[Referrer, ...]]:
    return {item.image: item.lost for item in result.listed if item.lost}


def _locked(context: SaveContext, item: ChosenImage, saved: Sequence[ChosenImage]) -> LockedImage:
    """Known after act 1, but for Docker schema 1: what skopeo converts that to, its copy says."""
    along = {each.image.reference: each.image.about for each in saved}
    entries = [
        tar.platform_entry(context.cache, item.image, each) if each.descriptor.media_type in SCHEMA1_TYPES else each.descriptor
        for each in item.choice.platforms
    ]
    return LockedImage(
        asked=item.image.asked,
        fetched_from=str(item.image.source),
        source=item.choice.top.digest,
        digest=entries[0].digest if item.choice.index is None else item.choice.digest,
        position=item.image.m_id,
        platforms=tuple(
            LockedPlatform(
                platform=str(each.platform),
                digest=entry.digest,
                size=sum(blob.size for blob in context.cache.closure(entry)),
                layers=_layers(context, entry),
            )
            for each, entry in zip(item.choice.platforms, entries, strict=True)
        ),
        referrers=None if item.image.referrers is None else tuple(about for name in item.referrers if (about := along[name])),
    )


def _layers(context: SaveContext, entry: Descriptor) -> tuple[Descriptor, ...]:
    """What a manifest needs beside its config, each once."""
    manifest = context.cache.parse(entry.digest)
    return manifest.blobs[1:] if isinstance(manifest, Manifest) else ()
