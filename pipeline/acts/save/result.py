"""What became of a save, and what the next run must know of it: the failed list, and what was saved and what failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.acts.save.shortage import Shortage
from pipeline.acts.save.tasks import SaveContext
from pipeline.core import files, image_list
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ImageToolsError
from pipeline.steps.images.chosen import ChosenImage
from pipeline.storage import cache
from pipeline.storage.records.packed import Finished


@dataclass(kw_only=True)
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
    shortages: tuple[Shortage, ...] = ()
    """Images that the quota of their registry kept from being saved; they are among the failures."""
    verified: int = 0
    """Bytes of a bundle that stayed as it was, and was hashed again (``-verify``)."""
    finished: Finished | None = None
    """What lies at the destination when the run ends."""

    @property
    def listed(self) -> list[ChosenImage]:
        return [item for item in self.saved if not item.is_referrer]


def remember(context: SaveContext, result: SaveResult, list_files: Sequence[Path]) -> None:
    """Write the failed list, and what the next run must know; the cache then reads as the bundle that was saved last.

    ``list_files`` are never removed.
    """
    image_list.write_failed(context.bundle.failed_list, [image.text for image in result.failures], list_files)
    record = {
        "saved": [item.image.reference.listed for item in result.listed],
        "failed": [image.reference.listed for image in result.failures],
    }
    files.write_atomic(context.state.last_run, files.dump_json(record))  # also unchanged: its time is that of the run
    if result.saved and not result.kept:
        cache.publish(context.cache, context.state)
