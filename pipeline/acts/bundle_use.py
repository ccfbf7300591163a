"""A bundle that a cache knows, and what it needs there: blobs, folders of images and platforms, records.

It needs what its last archive holds and what the save of its list would need now, also of a save that was interrupted: what
its description and the records of act 1 name. Where one of these is damaged, it is not known what it does not need.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from pipeline.core import bundle, files, image_list, oci
from pipeline.core.bundle import BundleImage, PlatformFilter
from pipeline.core.errors import ContentError, ImageToolsError, InputError
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, walk
from pipeline.steps import copy
from pipeline.steps.images.choose import choose
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.image_layout import INDEX, LAYOUT_FILE, read_layout_index
from pipeline.storage.records import bundle as bundle_record
from pipeline.storage.records import referrers as referrers_record
from pipeline.storage.records import resolved as resolved_record
from pipeline.storage.records.packed import Finished, read_finished

_HEX = re.compile(r"[0-9a-f]{64}|[0-9a-f]{128}")


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The end of the last run that had one: how many images were saved, and how many failed."""

    ended: datetime
    saved: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class BundleUse:
    """A bundle and what it needs: ``blobs`` with their sizes (those that are here), image and platform folders, records."""

    state: BundleState
    destination: Path | None
    images: int
    finished: Finished | None
    last_saved: datetime | None
    last_run: LastRun | None
    """None where no run has come to its end."""
    blobs: Mapping[Digest, int] = field(repr=False)
    folders: frozenset[Path] = field(repr=False)
    records: frozenset[Path] = field(repr=False)
    is_known: bool = True
    """False where something is damaged, so that nothing is known not to be needed."""

    @property
    def id(self) -> str:
        return self.state.folder.name

    @property
    def size(self) -> int:
        return sum(self.blobs.values())

    @property
    def archive(self) -> str:
        """``there``, ``gone``, or ``never made``."""
        if self.finished is None:
            return "never made"
        if not self.finished.files:  # the cache itself is the bundle
            return "there"
        return "there" if self.finished.is_there else "gone"


def use_of(cache: Cache, state: BundleState, blobs: Mapping[Digest, int]) -> BundleUse:
    """What is known of the bundle with this state, in a cache that has these ``blobs``."""
    finished = read_finished(state.output)
    described = bundle_record.read(state.description)
    images = described.images if described else _listed(state)
    needs = _Needs(cache)
    for image in images or ():
        needs.add_image(image)
        found = referrers_record.read(state, image.reference) if image.referrers is not None else None
        for referrer in found.referrers if found else ():
            needs.add_image(referrers_record.image_of(image, referrer))
    needs.add_archive(state)
    return BundleUse(
        state=state,
        destination=described.destination if described else _destination(finished),
        images=len(images or ()),
        finished=finished,
        last_saved=_time_of(state.output) if finished else None,
        last_run=_last_run(state),
        blobs={digest: blobs[digest] for digest in needs.digests if digest in blobs},
        folders=frozenset(needs.folders),
        records=frozenset(needs.records),
        is_known=images is not None and not needs.is_uncertain,
    )


class _Needs:
    """Collects. ``is_uncertain`` once something is damaged that may name more."""

    def __init__(self, cache: Cache) -> None:
        self.digests: set[Digest] = set()
        self.folders: set[Path] = set()
        self.records: set[Path] = set()
        self.is_uncertain = False
        self._cache = cache
        self._visited: set[Digest] = set()

    def add_image(self, image: BundleImage) -> None:
        cache = self._cache
        record = cache.resolved_record(image.reference)
        self.folders.add(cache.image_folder(image.reference))
        self.records.add(record)
        if image.locked is not None:
            self._add(image.locked)
        resolved = resolved_record.read(record)
        if resolved is None:
            self.is_uncertain |= record.exists()
            return
        self.digests.add(resolved.descriptor.digest)
        try:
            choice = choose(cache, image, resolved)
        except ImageToolsError:
            # It was cut short, or what was asked for is not there: whatever there is may be needed.
            self._add(resolved.descriptor.digest)
            self.folders.update(layouts_below(cache.image_folder(image.reference)))
            return
        self.digests.update((choice.digest, *(digest for digest, _ in choice.inner)))
        if not resolved.is_schema1:  # of a subset, the indexes at the source too: the next choice is made from them
            indexes = walk.indexes(resolved.descriptor, lambda each: cache.parse(each.digest))
            self.digests.update(descriptor.digest for descriptor, _ in indexes)
        for platform in choice.platforms:
            folder = copy.folder(cache, image, platform)
            self.folders.add(folder)
            self._add(platform.descriptor.digest)
            if resolved.is_schema1 and (converted := read_layout_index(folder / INDEX)):
                self._add(converted.digest)

    def add_archive(self, state: BundleState) -> None:
        """What the last archive holds, wherever tags have gone since."""
        document = files.read_json(state.index)
        try:
            for entry in document["manifests"]:
                self._add(Descriptor.from_json(entry).digest)
        except (TypeError, KeyError, ContentError):
            self.is_uncertain |= state.index.exists()

    def _add(self, digest: Digest) -> None:
        """A manifest or index, and all that it needs."""
        try:
            for _, document in walk.walk(Descriptor("", digest, 0), self._read):
                if isinstance(document, Manifest):
                    self.digests.update(blob.digest for blob in document.blobs)
        except ContentError:
            self.is_uncertain = True

    def _read(self, descriptor: Descriptor) -> Manifest | Index | None:
        """None for what was followed before, and for what cannot be followed."""
        digest = descriptor.digest
        if digest in self._visited:
            return None
        self._visited.add(digest)
        self.digests.add(digest)
        try:
            return self._cache.parse(digest)
        except ContentError:
            # One that is not here yet has brought nothing here; one that is damaged may have.
            self.is_uncertain |= self._cache.blob(digest).exists() and not self._is_schema1(digest)
            return None

    def _is_schema1(self, digest: Digest) -> bool:
        try:
            return isinstance(oci.parse(self._cache.read(digest)), oci.Schema1)
        except ContentError:
            return False


def _listed(state: BundleState) -> tuple[BundleImage, ...] | None:
    """The images of a kept list, of which it is not known what was asked for; None where there is none to be read."""
    try:
        lines = image_list.parse(state.kept_list.read_bytes(), str(state.kept_list))
    except (OSError, InputError):
        return None
    return bundle.images(lines, "", PlatformFilter())


def _destination(finished: Finished | None) -> Path | None:
    if finished is None or not finished.files:
        return None
    return Path(re.sub(r"\.part\d+$", "", finished.files[0].name))


def _last_run(state: BundleState) -> LastRun | None:
    record, ended = files.read_json(state.last_run), _time_of(state.last_run)
    try:
        return LastRun(ended=ended, saved=len(record["saved"]), failed=len(record["failed"])) if ended else None
    except (TypeError, KeyError):
        return None


def _time_of(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(path.stat().st_mtime), timezone.utc)
    except OSError:
        return None


def layouts_below(folder: Path) -> list[Path]:
    """Folders of images and platforms: those that hold what an image layout holds."""
    found = []
    for place, names, filenames in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith(files.TEMPORARY))
        if {INDEX, LAYOUT_FILE} & set(filenames):
            found.append(Path(place))
    return found
