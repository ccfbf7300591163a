"""What a cache holds, which bundle needs it, and the removal of what none needs.

Takes a cache, returns an ``Inventory``; ``prune`` removes what it calls unused. A bundle needs what its last archive holds
and what the save of its list would need now, also of a save that was interrupted: what its description and the
records of act 1 name. Where one of these is damaged, only temporary files count as unused, until the next save has mended it.
Guarantees: only files of the forms that we write are ever removed; interrupted at any moment, the cache is as good as before,
and the same command finishes.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from pipeline.core import bundle, files, image_list, oci
from pipeline.core.bundle import BundleImage, PlatformFilter
from pipeline.core.errors import ContentError, EnvironmentProblem, ImageToolsError, InputError, UsageError
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, walk
from pipeline.steps import copy
from pipeline.steps.choose import choose
from pipeline.steps.compress import is_waiting
from pipeline.storage.archive import temporary_files
from pipeline.storage.bundle_state import IMAGES, IMAGES_LIST, BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.image_layout import BLOBS, INDEX, LAYOUT_FILE, layout_index, read_layout_index
from pipeline.storage.records import bundle as bundle_record
from pipeline.storage.records import forgotten as forgotten_record
from pipeline.storage.records import referrers as referrers_record
from pipeline.storage.records import resolved as resolved_record
from pipeline.storage.records.packed import Finished, read_finished

_HEX = re.compile(r"[0-9a-f]{64}|[0-9a-f]{128}")


@dataclass(frozen=True)
class BundleUse:
    """A bundle and what it needs: ``blobs`` with their sizes (those that are here), image and platform folders, records."""

    state: BundleState
    destination: Path | None
    images: int
    finished: Finished | None
    last_saved: datetime | None
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


@dataclass(frozen=True)
class Unused:
    """What belongs to no bundle."""

    blobs: Mapping[Path, int]
    folders: tuple[Path, ...]
    """Of images and platforms, with nothing but small files in them."""
    records: tuple[Path, ...]
    temporary: Mapping[Path, int]

    @property
    def size(self) -> int:
        """Bytes, of blobs and temporary files; the rest is small."""
        return sum(self.blobs.values()) + sum(self.temporary.values())

    def __bool__(self) -> bool:
        return bool(self.blobs or self.folders or self.records or self.temporary)


@dataclass(frozen=True)
class Inventory:
    """A cache as it is."""

    cache: Cache
    blobs: Mapping[Digest, int]
    bundles: tuple[BundleUse, ...]
    unused: Unused
    forgotten: Mapping[str, str]
    """Destination by id of the bundles that count no more, also of those that a prune which was killed had begun with."""

    @property
    def size(self) -> int:
        return sum(self.blobs.values())

    def alone(self, use: BundleUse) -> int:
        """Bytes of blobs that no other bundle needs: what forgetting this one would set free."""
        others: set[Digest] = set().union(*(other.blobs for other in self.bundles if other is not use))
        return sum(size for digest, size in use.blobs.items() if digest not in others)


def take_inventory(root: Path, forgotten: Sequence[str] = ()) -> Inventory:
    """Look at everything; nothing is written. ``forgotten`` are bundles (id or destination) that count no more.

    Raises UsageError where there is no cache, or no such bundle.
    """
    cache = Cache(root)
    cache.check()
    if not cache.state.is_dir() and not cache.share.is_dir():
        raise UsageError(f"there is no cache at {root}", tip="name it with -cache")
    blobs = dict(_blobs(cache))
    uses = [_use(cache, state, blobs) for state in _states(cache)]
    begun = forgotten_record.read(_forgotten(cache))
    lost = _find(uses, forgotten, begun)
    kept = tuple(use for use in uses if use not in lost)
    names = begun | {use.id: str(use.destination or "") for use in lost}
    return Inventory(cache, blobs, kept, _unused(cache, blobs, kept, lost), names)


def prune(inventory: Inventory) -> None:
    """Remove what is unused, and the state of forgotten bundles. Call under the lock, with an inventory taken under it.

    Raises EnvironmentProblem where that would be everything though no bundle was to be forgotten.
    """
    cache, unused = inventory.cache, inventory.unused
    if not inventory.bundles and not inventory.forgotten and unused.blobs:
        raise EnvironmentProblem(
            f"{cache.root} knows of no bundle, so that all {len(unused.blobs)} blobs would go",
            tip="save again, which fetches nothing that is here; or delete the folder, if that is what you want",
        )
    if inventory.forgotten:
        forgotten_record.write(_forgotten(cache), inventory.forgotten)
    known = {use.state.folder for use in inventory.bundles}
    for state in _states(cache):
        if state.folder not in known:
            # Half of a state would count as damaged.
            files.remove(state.folder.rename(files.temporary_beside(state.folder)))
    # First what names others, then what is named: stopped half-way, nothing names what is not there.
    for path in (*unused.temporary, *unused.records):
        files.remove(path)
    for path in unused.folders:
        _remove_layout(path)
    _withdraw(cache, unused.blobs)
    for path in unused.blobs:
        path.unlink(missing_ok=True)
    for part in (cache.root / IMAGES, cache.state / "resolved"):
        _remove_empty(part)
    _forgotten(cache).unlink(missing_ok=True)


def _forgotten(cache: Cache) -> Path:
    return cache.state / "forgotten.json"


def _states(cache: Cache) -> Iterator[BundleState]:
    folder = cache.state / "bundles"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(files.TEMPORARY):
            yield BundleState(path)


def _find(uses: Sequence[BundleUse], names: Sequence[str], begun: Mapping[str, str]) -> list[BundleUse]:
    """The bundles that are called so. Raises UsageError for a name of none, neither here nor in ``begun``."""
    found = []
    for name in names:
        matches = [use for use in uses if name == use.id or (use.destination and Path(name).absolute() == use.destination)]
        if not matches and name not in begun and str(Path(name).absolute()) not in begun.values():
            known = "".join(f"\n  {use.id}  {use.destination or ''}" for use in uses) or " none"
            raise UsageError(
                f"there is no bundle '{name}' in this cache; there are:{known}", tip="see 'image-tools cache info'"
            )
        found += matches
    return found


def _blobs(cache: Cache) -> Iterator[tuple[Digest, int]]:
    for algorithm in ("sha256", "sha512"):
        try:
            entries = list(os.scandir(cache.share / algorithm))
        except OSError:
            continue
        for entry in entries:
            if _HEX.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                yield Digest(algorithm, entry.name), entry.stat().st_size


# What a bundle needs


def _use(cache: Cache, state: BundleState, blobs: Mapping[Digest, int]) -> BundleUse:
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
        state,
        described.destination if described else _destination(finished),
        len(images or ()),
        finished,
        _time_of(state.output if finished else state.kept_list),
        {digest: blobs[digest] for digest in needs.digests if digest in blobs},
        frozenset(needs.folders),
        frozenset(needs.records),
        images is not None and not needs.is_uncertain,
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
            self.folders.update(_layouts_below(cache.image_folder(image.reference)))
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


def _time_of(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(path.stat().st_mtime), timezone.utc)
    except OSError:
        return None


# What none needs


def _unused(cache: Cache, blobs: Mapping[Digest, int], kept: Sequence[BundleUse], lost: Sequence[BundleUse]) -> Unused:
    temporary = {path: files.size_below(path) for path in _temporary(cache, kept, lost)}
    if not all(use.is_known for use in kept):
        return Unused({}, (), (), temporary)
    needed: set[Digest] = set().union(*(use.blobs for use in kept))
    folders: set[Path] = set().union(*(use.folders for use in kept))
    records: set[Path] = set().union(*(use.records for use in kept))
    return Unused(
        {cache.blob(digest): size for digest, size in blobs.items() if digest not in needed},
        tuple(folder for folder in _layouts_below(cache.root / IMAGES) if folder not in folders),
        tuple(path for path in sorted((cache.state / "resolved").rglob("*.json")) if path not in records),
        temporary,
    )


def _temporary(cache: Cache, kept: Sequence[BundleUse], lost: Sequence[BundleUse]) -> Iterator[Path]:
    yield from cache.leftovers()
    if cache.partials.is_dir():
        yield cache.partials
    for use in (*kept, *lost):
        if use.destination is not None:
            for path in (*temporary_files(use.destination), *files.temporary_leftovers(use.destination)):
                if use in lost or not is_waiting(use.state, path):
                    yield path


def _layouts_below(folder: Path) -> list[Path]:
    """Folders of images and platforms: those that hold what an image layout holds."""
    found = []
    for place, names, filenames in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith(files.TEMPORARY))
        if {INDEX, LAYOUT_FILE} & set(filenames):
            found.append(Path(place))
    return found


def _remove_layout(folder: Path) -> None:
    """What is ours in it; the folder itself goes when it is empty."""
    if (folder / BLOBS).is_symlink():
        (folder / BLOBS).unlink()
    # By these it is known for a layout, so they go last.
    for name in (INDEX, LAYOUT_FILE):
        (folder / name).unlink(missing_ok=True)


def _withdraw(cache: Cache, gone: Iterable[Path]) -> None:
    """What the cache shows as the bundle saved last must not name what is gone."""
    lost = set(gone)

    def is_broken(index: Path) -> bool:
        document = files.read_json(index)
        try:
            return any(cache.blob(Descriptor.from_json(entry).digest) in lost for entry in document["manifests"])
        except (TypeError, KeyError, ContentError):
            return False

    for folder in _layouts_below(cache.root / IMAGES):
        if is_broken(folder / INDEX):
            (folder / INDEX).unlink()
    if is_broken(cache.root / INDEX):
        files.write_atomic(cache.root / INDEX, layout_index(()))
        (cache.root / IMAGES_LIST).unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    """Folders with nothing in them, from the bottom up; ``folder`` itself stays."""
    for place, _, _ in os.walk(folder, topdown=False):
        if Path(place) != folder:
            with contextlib.suppress(OSError):
                Path(place).rmdir()
