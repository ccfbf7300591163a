"""Between act 1 and act 2: what must be fetched, what is here already, does the disk have room?

Takes the choices that act 1 made, returns a ``Plan``. Fetches nothing and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from pipeline.core import disk
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import Bundle
from pipeline.core.errors import EnvironmentProblem, UsageError
from pipeline.core.oci import Descriptor, Digest
from pipeline.steps.images.chosen import ChosenImage
from pipeline.storage.archive import MAX_VOLUMES
from pipeline.storage.cache import Cache
from pipeline.storage.records.packed import Finished

SLACK = 16 * 1024 * 1024
"""Bytes left for our state and the file system's own."""
PLATFORM_STATE = 32 * 1024
"""Bytes of small files and folders that an image/arch takes in the cache, in blocks of 4 KiB."""
BLOB_OVERHEAD = 2 * 1024
"""Bytes that a blob takes in an archive beside its own: tar header, padding, framing, its entry in the index; or a block."""
FRAMING = 10_000
"""One byte in so many at the most goes to the framing of what is stored: 5 in 65,535 with gzip."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Figures in bytes. ``total`` counts each blob once; ``shared`` is what it would be more without sharing."""

    images: int
    platforms: int
    blobs: int
    total: int
    here: int
    shared: int
    referrers: int = 0
    """What comes along with the images, counted as ``platforms`` are."""
    missing: int = 0
    """How many blobs are to be fetched."""
    waits: float = 0.0
    """Seconds that one job would wait for answers alone, one blob after the other; 0 where there are more jobs."""

    @property
    def to_fetch(self) -> int:
        return self.total - self.here

    @property
    def copies(self) -> int:
        return self.platforms + self.referrers


@dataclass(frozen=True)
class Need:
    """What one file system must take."""

    path: Path
    needed: int
    free: int

    @property
    def is_met(self) -> bool:
        return self.needed <= self.free


def make_plan(cache: Cache, chosen: Sequence[ChosenImage]) -> Plan:
    """What of the chosen images is here. (The layers of a schema 1 image are not known before it is copied.)"""
    blobs = distinct_blobs(chosen)
    uses: Counter[Digest] = Counter()
    platforms = referrers = 0
    for item in chosen:
        uses.update(blob.digest for blob in chain.from_iterable(item.closures))
        if item.is_referrer:
            referrers += len(item.closures)
        else:
            platforms += len(item.closures)
    total = sum(blob.size for blob in blobs.values())
    size = sum(blobs[digest].size * count for digest, count in uses.items())
    arrived = [cache.has(blob) for blob in blobs.values()]
    images = sum(not item.is_referrer for item in chosen)
    return Plan(
        images=images,
        platforms=platforms,
        blobs=len(blobs) + len(indexes_of(chosen)),
        total=total,
        here=sum(blob.size if is_here else _begun(cache, blob) for blob, is_here in zip(blobs.values(), arrived, strict=True)),
        shared=size - total,
        referrers=referrers,
        missing=arrived.count(False),
    )


def distinct_blobs(chosen: Sequence[ChosenImage]) -> dict[Digest, Descriptor]:
    """Of two manifests that do not agree on a size, one is wrong: the smaller counts, as a large one must not stop the run."""
    blobs: dict[Digest, Descriptor] = {}
    for blob in chain.from_iterable(closure for item in chosen for closure in item.closures):
        if blob.digest not in blobs or blob.size < blobs[blob.digest].size:
            blobs[blob.digest] = blob
    return blobs


def indexes_of(chosen: Sequence[ChosenImage]) -> set[Digest]:
    """Those of images and, where only some of what they named is kept, those within: blobs as the others are."""
    made = {item.choice.digest for item in chosen if item.choice.index is not None}
    return made | {digest for item in chosen for digest, _ in item.choice.inner}


def with_waits(plan: Plan, jobs: int, seconds: float, requests: int) -> Plan:
    """The plan with what ``jobs`` cost, after act 1 took ``seconds`` for its ``requests``: a blob takes two, mostly."""
    return replace(plan, waits=2 * plan.missing * seconds / requests) if jobs == 1 and requests else plan


def impossible_blobs(cache: Cache, chosen: Sequence[ChosenImage]) -> Mapping[Digest, str]:
    """Blobs that can never be fetched, and why: all manifests that have one state more bytes than the whole disk.

    Such a size is most likely wrong, and no reason to fetch nothing of the images without it.
    """
    capacity = disk.capacity(cache.root)

    return {
        blob.digest: f"its manifest states {bytes_text(blob.size)} for {blob.digest}, "
        f"and the disk of {cache.root} has {bytes_text(capacity)} in all"
        for blob in distinct_blobs(chosen).values()
        if blob.size > capacity and not cache.has(blob)
    }


def _begun(cache: Cache, blob: Descriptor) -> int:
    """Bytes of a blob that need not be fetched, as they came before an earlier fetch was broken off."""
    try:
        return min(cache.partial(blob.digest).stat().st_size, blob.size)
    except OSError:
        return 0


def needs(cache: Cache, bundle: Bundle, plan: Plan, finished: Finished | None) -> tuple[Need, ...]:
    """What each file system must take: the new blobs, and the archive, as large as it can become.

    An archive that lies there stays until the new one is complete. One that holds these very images, with nothing to
    fetch, will most likely not be packed again.
    """
    wanted: dict[int, tuple[Path, int]] = {}

    def device(path: Path) -> int:
        return disk.existing_ancestor(path).stat().st_dev

    def add(path: Path, size: int) -> None:
        where, before = wanted.get(device(path), (path, 0))
        wanted[device(path)] = (where, before + size)

    if plan.to_fetch:
        add(cache.root, plan.to_fetch + plan.copies * PLATFORM_STATE)
    listed = tuple(image.reference.listed for image in bundle.images)
    unchanged = plan.to_fetch == 0 and finished is not None and finished.is_there and finished.references == listed
    if not bundle.is_cache and not unchanged:
        folder = bundle.output.destination.parent
        links = not bundle.output.is_archive and device(folder) == device(cache.root)
        add(folder, _around(plan) if links else largest_archive(plan))
    return tuple(Need(path, size + SLACK if size else 0, disk.free_space(path)) for path, size in wanted.values())


def largest_archive(plan: Plan) -> int:
    """Bytes, at the most: as if all of it was compressed already, and stored."""
    return plan.total + plan.total // FRAMING + _around(plan)


def _around(plan: Plan) -> int:
    """Bytes beside those of the blobs."""
    return plan.blobs * BLOB_OVERHEAD + plan.copies * PLATFORM_STATE


def check_disk(found: Sequence[Need]) -> None:
    """Raises EnvironmentProblem, with the figures, when a disk is too small."""
    lacking = [need for need in found if not need.is_met]
    if lacking:
        lines = [f"{n.path}: {bytes_text(n.needed)} are needed, {bytes_text(n.free)} are free" for n in lacking]
        raise EnvironmentProblem(
            "not enough room on the disk, so nothing was fetched\n" + "\n".join(lines),
            tip="free some space, or put the cache (-cache) or the archive (-d) on another disk; -force tries all the same",
        )


def check_file_size(bundle: Bundle, plan: Plan) -> None:
    """FAT cannot hold a file of 4 GiB, and nobody can carry a million volumes. Raises EnvironmentProblem, UsageError."""
    limit = disk.largest_file(bundle.output.destination)
    output = bundle.output
    if output.part_size and plan.total // output.part_size >= MAX_VOLUMES:
        raise UsageError(
            f"-part-size {output.part_size} would cut {bytes_text(plan.total)} into more than {MAX_VOLUMES:,} volumes",
            tip="use a larger one, e.g. -part-size=2G",
        )
    if limit is None or not output.is_archive:
        return
    size = output.part_size or largest_archive(plan)
    if size > limit:
        what = "volumes that large" if output.part_size else f"a file of up to {size:,} bytes"
        raise EnvironmentProblem(
            f"the file system of {output.destination.parent} cannot hold {what}: {limit:,} bytes is its largest file",
            tip=f"use -part -part-size={limit // 1024**2}M",
        )
