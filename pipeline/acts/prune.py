"""What a cache holds, which bundle needs it, and the removal of what none needs.

Takes a cache, returns an ``Inventory``; ``prune`` removes what it calls unused. Where something is damaged that says what a
bundle needs (``bundle_use``), only temporary files count as unused, until the next save has mended it.
Guarantees: only files of the forms that we write are ever removed; interrupted at any moment, the cache is as good as before,
and the same command finishes.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.acts.bundle_use import BundleUse, layouts_below, use_of
from pipeline.core import files
from pipeline.core.errors import ContentError, EnvironmentProblem, UsageError
from pipeline.core.oci import Descriptor, Digest
from pipeline.steps.compress import is_waiting
from pipeline.storage.archive import temporary_files
from pipeline.storage.bundle_state import BUNDLE_INFO, IMAGES, IMAGES_LIST, BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.image_layout import BLOBS, INDEX, LAYOUT_FILE, layout_index
from pipeline.storage.records import forgotten as forgotten_record

_HEX = re.compile(r"[0-9a-f]{64}|[0-9a-f]{128}")


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
    uses = [use_of(cache, state, blobs) for state in _states(cache)]
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
        tuple(folder for folder in layouts_below(cache.root / IMAGES) if folder not in folders),
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

    for folder in layouts_below(cache.root / IMAGES):
        if is_broken(folder / INDEX):
            (folder / INDEX).unlink()
    if is_broken(cache.root / INDEX):
        for name in (IMAGES_LIST, BUNDLE_INFO):
            (cache.root / name).unlink(missing_ok=True)
        files.write_atomic(cache.root / INDEX, layout_index(()))  # last: as long as it is broken, this is finished


def _remove_empty(folder: Path) -> None:
    """Folders with nothing in them, from the bottom up; ``folder`` itself stays."""
    for place, _, _ in os.walk(folder, topdown=False):
        if Path(place) != folder:
            with contextlib.suppress(OSError):
                Path(place).rmdir()
