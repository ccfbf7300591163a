"""What a save came to becomes a ``Report``. Reads manifests from the cache; writes nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import __version__
from pipeline.acts.progress import Tracker
from pipeline.acts.save.plan import indexes_of
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.errors import ContentError, ImageToolsError
from pipeline.core.oci import Descriptor, Digest, Manifest
from pipeline.steps.images.choose import PlatformImage
from pipeline.steps.images.chosen import ChosenImage, needed_by
from pipeline.steps.tar import image_entry, platform_entry
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.records.packed import PackedFile
from pipeline.ui.report.model import VERSION, Figures, File, ImageReport, ReferrerReport, Report
from pipeline.ui.report.parts import Part, acts_of, blobs_of, part_of, tasks_of, text, users_of


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that is over. ``planned`` when it was a ``-dry-run``; ``kept`` says why an earlier bundle stays."""

    bundle: Bundle
    cache: Cache
    state: BundleState
    chosen: Sequence[ChosenImage]
    """Listed images, then what comes along with them."""
    reused: frozenset[BundleImage]
    failures: Mapping[BundleImage, str]
    files: Sequence[PackedFile]
    fetched: int
    repacked: bool
    kept: ImageToolsError | None
    planned: bool
    tracker: Tracker
    verified: int = 0
    """Bytes of a bundle that stayed as it was, and was hashed again."""


def collect(run: Run) -> Report:
    known = {item.image.reference: item for item in run.chosen}
    listed = [item for item in run.chosen if not item.is_referrer]
    parts = {
        item.image: [_part(run, part.image, each) for part in needed_by([item], known) for each in part.choice.platforms]
        for item in listed
    }
    users = users_of(parts.values())
    images = [_image(run, needed_by([item], known), parts[item.image], users) for item in listed]
    images += [_failed(image, reason) for image, reason in run.failures.items()]
    blobs = blobs_of(parts.values(), users)
    # Not the plan's: of a schema 1 image it does not know the layers.
    total = sum(blob.size for blob in blobs)
    unshared = sum(part.report.size for each in parts.values() for part in each)
    return Report(
        version=VERSION,
        tool=f"image-tools {__version__}",
        outcome=_outcome(run),
        note=text(run.kept.message if run.kept else "").replace(f"{run.bundle.output.destination.parent}/", ""),
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.tracker.started_at)),
        seconds=round(time.time() - run.tracker.started_at, 3),
        bundle=text(run.bundle.output.destination.name),
        format=run.bundle.output.compression.value,
        figures=_figures(run, len(blobs) + len(indexes_of(run.chosen)), total, unshared),
        acts=tuple(acts_of(run.tracker, {"copy": run.fetched, "pack": total if run.repacked else 0, "verify": run.verified})),
        files=tuple(File(text(Path(file.name).name), _size(file, total), file.sha256) for file in run.files),
        images=tuple(sorted(images, key=lambda image: image.m_id)),
        blobs=blobs,
        tasks=tuple(tasks_of(run.tracker, run.bundle.name)),
    )


def _part(run: Run, image: BundleImage, platform: PlatformImage) -> Part:
    entry = platform.descriptor
    blobs: dict[Digest, Descriptor] = {}
    manifest: Manifest | None = None
    # Of a schema 1 image it is not known what it needs before it is copied.
    with contextlib.suppress(ContentError):
        entry = entry if run.planned else platform_entry(run.cache, image, platform)
        blobs = {blob.digest: blob for blob in run.cache.closure(entry)}
        found = run.cache.parse(entry.digest)
        manifest = found if isinstance(found, Manifest) else None
    return part_of(platform.img_id, str(platform.platform), entry, blobs, manifest)


def _image(run: Run, chosen: Sequence[ChosenImage], parts: Sequence[Part], users: Mapping[Digest, int]) -> ImageReport:
    """Of the first of ``chosen``; the others come along with it."""
    image, choice = chosen[0].image, chosen[0].choice
    blobs = {digest: blob for part in parts for digest, blob in part.blobs.items()}
    digest = choice.digest
    with contextlib.suppress(ContentError):
        digest = digest if run.planned else image_entry(run.state, image).digest
    return ImageReport(
        m_id=image.m_id,
        reference=text(str(image.reference)),
        source=text(str(image.source)),
        status="planned" if run.planned else "reused" if image in run.reused else "saved",
        reason="",
        digest=str(digest),
        source_digest=str(choice.top.digest),
        size=sum(blob.size for blob in blobs.values()),
        own_bytes=sum(blob.size for blob in blobs.values() if users[blob.digest] == 1),
        platforms=tuple(part.report for part in parts[: len(choice.platforms)]),
        referrers=tuple(_referrer(run, each) for each in chosen[1:]),
    )


def _referrer(run: Run, each: ChosenImage) -> ReferrerReport:
    about = each.image.about
    assert about is not None, "it came along"
    size = sum(_part(run, each.image, platform).report.size for platform in each.choice.platforms)
    return ReferrerReport(text(about.artifact_type), str(about.digest), str(about.subject), about.tag, size)


def _failed(image: BundleImage, reason: str) -> ImageReport:
    name, source = text(str(image.reference)), text(str(image.source))
    return ImageReport(
        m_id=image.m_id,
        reference=name,
        source=source,
        status="failed",
        reason=text(reason),
        digest="",
        source_digest="",
        size=0,
        own_bytes=0,
        platforms=(),
    )


def _outcome(run: Run) -> str:
    if run.planned:
        return "planned"
    if run.kept:
        return "kept"
    return "nothing" if not run.chosen else "incomplete" if run.failures else "complete"


def _figures(run: Run, blobs: int, total: int, unshared: int) -> Figures:
    chosen = sum(not item.is_referrer for item in run.chosen)
    return Figures(
        images=chosen + len(run.failures),
        saved=0 if run.planned else chosen,
        reused=len(run.reused),
        failed=len(run.failures),
        platforms=sum(len(item.choice.platforms) for item in run.chosen if not item.is_referrer),
        referrers=sum(item.is_referrer for item in run.chosen),
        blobs=blobs,
        bytes=total,
        shared_bytes=unshared - total,
        fetched_bytes=run.fetched,
        bundle_bytes=sum(_size(file, total) for file in run.files),
    )


def _size(file: PackedFile, total: int) -> int:
    """Of a folder, what is in it: the size in the record is that of its own entry."""
    return file.size if file.sha256 else total
