"""A bundle divided among machines by its lock: the same division on each of them, without a word between them.

Images that share layers should be fetched by one machine, and all machines should fetch as much. Each image, the largest first,
goes where it makes the least work: by what is there already, what it would add, and the requests that it takes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from pipeline.core.bundle import Bundle, Shard
from pipeline.core.errors import UsageError
from pipeline.core.oci import Digest
from pipeline.storage import image_lock
from pipeline.storage.image_lock import LockedImage

MAX_SHARDS = 1000
_WEIGHTS = ((4, 250_000), (4, 500_000), (4, 1_000_000), (4, 2_000_000), (2, 500_000))
"""How much more the bytes that an image adds count than those that are there, and the bytes that a request stands for: each is
tried, and the best division counts. What is fetched twice costs quota; small images take as long as large ones.
"""
_AUTO = "auto"


@dataclass(frozen=True)
class _Engine:
    """What an engine tells a job of itself, in the environment: its number, and of how many."""

    number: str
    count: str = ""
    first: int = 1
    """The first job's number."""


ENGINES = (
    _Engine("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    _Engine("CI_NODE_INDEX", "CI_NODE_TOTAL"),
    _Engine("BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", first=0),
    _Engine("JOB_COMPLETION_INDEX", first=0),
)
OWN = "IMAGE_TOOLS_SHARD"
"""What counts before all engines: I, or I/N."""


@dataclass(kw_only=True)
class Part:
    """What one machine fetches: ``images`` by reference, distinct ``blobs`` with their sizes, ``requests``."""

    images: list[str] = field(default_factory=list)
    blobs: dict[Digest, int] = field(default_factory=dict)
    requests: int = 0

    @property
    def size(self) -> int:
        return sum(self.blobs.values())


@dataclass(frozen=True, kw_only=True)
class Division:
    """The images of a lock in parts. ``distinct`` counts the bytes of all layers once, ``largest`` are those of the largest
    image."""

    parts: tuple[Part, ...]
    distinct: int
    largest: int

    @property
    def twice(self) -> int:
        """Bytes that more than one machine fetches."""
        return sum(part.size for part in self.parts) - self.distinct

    @property
    def bytes_over(self) -> float:
        """The largest part, over what no division can be below: an even share, or the largest image."""
        return max(part.size for part in self.parts) / max(self.distinct / len(self.parts), self.largest, 1)

    @property
    def requests_over(self) -> float:
        """The most requests, over an even share."""
        requests = [part.requests for part in self.parts]
        return max(requests) * len(requests) / max(sum(requests), 1)

    @property
    def cost(self) -> float:
        return 2 * (self.bytes_over - 1) + self.twice / max(self.distinct, 1) + (self.requests_over - 1) / 2


def division(images: Mapping[str, LockedImage], count: int) -> Division:
    """The images of a lock in ``count`` parts."""
    sized = {name: _blobs(image) for name, image in images.items()}
    distinct = sum({digest: size for blobs in sized.values() for digest, size in blobs.items()}.values())
    largest = max((sum(blobs.values()) for blobs in sized.values()), default=0)
    order = sorted(sized, key=lambda name: (-sum(sized[name].values()), name))
    made = (
        Division(parts=_parts(order, sized, images, count, *weights), distinct=distinct, largest=largest)
        for weights in _WEIGHTS
    )
    return min(made, key=lambda each: each.cost)


def _parts(
    order: Collection[str],
    sized: Mapping[str, Mapping[Digest, int]],
    images: Mapping[str, LockedImage],
    count: int,
    new_weight: int,
    request_weight: int,
) -> tuple[Part, ...]:
    parts, loads = tuple(Part() for _ in range(count)), [0] * count
    for name in order:
        blobs = sized[name]
        added = [sum(size for digest, size in blobs.items() if digest not in part.blobs) for part in parts]
        best = min(range(count), key=lambda number: (loads[number] + new_weight * added[number], number))
        requests = 1 + len(images[name].platforms) + len(blobs)
        loads[best] += added[best] + request_weight * requests
        parts[best].images.append(name)
        parts[best].blobs.update(blobs)
        parts[best].requests += requests
    return parts


def divide(bundles: Collection[Bundle], text: str) -> tuple[Bundle, ...]:
    """The part of each bundle that ``text`` (``2/3``, ``auto/3``) names. The bundles are pinned to their locks.

    Raises UsageError, InputError.
    """
    number, count = _parse(text)
    return tuple(_part(bundle, number, count) for bundle in bundles)


def _part(bundle: Bundle, number: int, count: int) -> Bundle:
    assert bundle.lock_file is not None, "it is pinned"
    lock = image_lock.read(bundle.lock_file)
    lock.require_layers(bundle.lock_file)
    mine = frozenset(division(lock.images, count).parts[number - 1].images)
    images = tuple(image for image in bundle.images if str(image.reference) in mine)
    if not images:
        raise UsageError(
            f"part {number} of {count} is empty: {bundle.lock_file} has {len(lock.images)} images",
            tip="use fewer parts",
            setting="shard",
        )
    digest = Digest.of(bundle.lock_file.read_bytes())
    return replace(bundle, images=images, shard=Shard(number=number, count=count, lock=digest))


def _parse(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(auto|[0-9]{1,4})/([0-9]{1,4})", text)
    count = int(match[2]) if match else 0
    if match is None or not 1 <= count <= MAX_SHARDS:
        raise UsageError(f'invalid value "{text}": use I/N, e.g. 1/3, or auto/N', setting="shard")
    number = _from_engine(count) if match[1] == _AUTO else int(match[1])
    if not 1 <= number <= count:
        raise UsageError(f"there is no part {number} of {count}", tip=f"use 1 to {count}", setting="shard")
    return number, count


def _from_engine(count: int) -> int:
    """The number of this job, from 1. Raises UsageError where no engine tells it, or tells of another number of jobs.

    A job that is run again alone may be called "1 of 1": it would save the whole, and nobody would know.
    """
    own, _, of = os.environ.get(OWN, "").partition("/")
    if own:
        return _checked(OWN, own, of or str(count), count)
    for engine in ENGINES:
        if (value := os.environ.get(engine.number, "")) != "":
            said = os.environ.get(engine.count, str(count)) if engine.count else str(count)
            return _checked(engine.number, value, said, count) + 1 - engine.first
    names = ", ".join(engine.number for engine in ENGINES)
    raise UsageError(
        "auto/N needs an engine that numbers its jobs, and nothing in the environment does",
        tip=f"set {OWN}=I, or use I/N; looked for: {names}",
        setting="shard",
    )


def _checked(name: str, value: str, said: str, count: int) -> int:
    if not value.isdecimal() or len(value) > 6:
        raise UsageError(f"{name} is {value!a}, and no number", setting="shard")
    if said != str(count):
        raise UsageError(
            f"{name} is one of {said}, and {count} parts were asked for",
            tip="start the job with as many as -shard says; one that is run again alone needs -shard I/N",
            setting="shard",
        )
    return int(value)


def _blobs(image: LockedImage) -> dict[Digest, int]:
    """Layers by digest; a manifest and its config count as one."""
    found = {layer.digest: layer.size for platform in image.platforms for layer in platform.layers}
    for platform in image.platforms:
        found[platform.digest] = max(0, platform.size - sum(layer.size for layer in platform.layers))
    return found
