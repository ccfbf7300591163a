"""What the cache remembers of one bundle: ``.state/bundles/<id>/``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.reference import Reference
from pipeline.storage.image_layout import INDEX

IMAGES_LIST = "saved-images-list.json"
LISTING = "listing.json"
"""What ``ls`` says of it."""
BUNDLE_INFO = "bundle.json"
"""What it was made of and with; see ``bundle_info``."""
IMAGES = "images"


@dataclass(frozen=True)
class BundleState:
    """What describes one bundle: kept apart from the cache, so that bundles on one cache do not undo each other."""

    folder: Path

    @property
    def index(self) -> Path:
        return self.folder / INDEX

    @property
    def images_list(self) -> Path:
        return self.folder / IMAGES_LIST

    @property
    def delta(self) -> Path:
        """What is left out, of a delta."""
        return self.folder / "delta.json"

    @property
    def listing(self) -> Path:
        return self.folder / LISTING

    @property
    def info(self) -> Path:
        """What the archive's ``bundle.json`` is."""
        return self.folder / "info.json"

    @property
    def archive_layout(self) -> Path:
        """What ``tar`` hands to ``compress``."""
        return self.folder / "archive.json"

    @property
    def sums(self) -> Path:
        """Digests of what ``tar`` wrote, by which damage is seen."""
        return self.folder / "sums.json"

    @property
    def packed(self) -> Path:
        """What ``compress`` hands to ``split``."""
        return self.folder / "packed.json"

    @property
    def output(self) -> Path:
        """The finished files, as ``split`` left them."""
        return self.folder / "output.json"

    @property
    def parity(self) -> Path:
        """``steps.parity``: the recovery files that were made."""
        return self.folder / "parity.json"

    @property
    def slip(self) -> Path:
        """``steps.sign``: the slip that was signed."""
        return self.folder / "slip.json"

    @property
    def journal(self) -> Path:
        """There while a set of volumes changes over."""
        return self.folder / "journal.json"

    @property
    def last_run(self) -> Path:
        """Which images the last run saved and which failed."""
        return self.folder / "run.json"

    @property
    def description(self) -> Path:
        """Where the bundle goes, and which platforms of which images it asks for: what it needs of the cache."""
        return self.folder / "bundle.json"

    @property
    def kept_list(self) -> Path:
        """The image list of the last run, also of one that was typed."""
        return self.folder / "images.txt"

    def referrers(self, name: Reference) -> Path:
        """What refers to an image and comes along with it."""
        return self.folder / "referrers" / f"{name.folder}.json"

    def image_index(self, name: Reference) -> Path:
        return self.folder / IMAGES / name.folder / INDEX
