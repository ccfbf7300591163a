"""What reports of all commands are made of: image/arches with what they need, blobs, acts, tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.acts.engine import Status
from pipeline.acts.progress import Tracker
from pipeline.core.oci import Descriptor, Digest, Manifest
from pipeline.ui.report.model import Act, Blob, PlatformReport, Task
from pipeline.ui.terminal import harmless

_ACTS = {
    "resolving": "resolve",
    "copying": "copy",
    "packing": "pack",
    "verifying": "verify",
    "checking": "check",
    "proving": "prove",
    "pushing": "push",
}


@dataclass(frozen=True)
class Part:
    """An image/arch with all it needs."""

    report: PlatformReport
    blobs: Mapping[Digest, Descriptor]
    kinds: Mapping[Digest, str]


def text(words: str) -> str:
    """Without secrets, control characters, and what no encoding takes (a file's name may be any bytes)."""
    return harmless(words).encode(errors="replace").decode()


def part_of(
    img_id: int, platform: str, entry: Descriptor, blobs: Mapping[Digest, Descriptor], manifest: Manifest | None
) -> Part:
    """``manifest`` is what ``entry`` is; None where that cannot be told."""
    kinds = {entry.digest: "manifest"} if blobs else {}
    config = ""
    layers: tuple[str, ...] = ()
    if manifest is not None:
        config = str(manifest.config.digest)
        kinds[manifest.config.digest] = "config"
        layers = tuple(str(layer.digest) for layer in manifest.layers if not layer.is_foreign)
    return Part(
        PlatformReport(
            img_id=img_id,
            platform=text(platform),
            digest=str(entry.digest),
            size=sum(blob.size for blob in blobs.values()),
            config=config,
            layers=layers,
        ),
        blobs,
        kinds,
    )


def users_of(images: Iterable[Sequence[Part]]) -> Counter[Digest]:
    """How many images need each blob."""
    users: Counter[Digest] = Counter()
    for each in images:
        users.update({digest for part in each for digest in part.blobs})
    return users


def blobs_of(images: Iterable[Sequence[Part]], users: Mapping[Digest, int]) -> tuple[Blob, ...]:
    """Each once, the largest first."""
    found: dict[Digest, Blob] = {}
    for each in images:
        for part in each:
            for digest, blob in part.blobs.items():
                kind = part.kinds.get(digest, "layer")
                found.setdefault(digest, Blob(str(digest), kind, blob.size, users[digest]))
    return tuple(sorted(found.values(), key=lambda blob: (-blob.size, blob.digest)))


def acts_of(tracker: Tracker, sizes: Mapping[str, int]) -> Iterator[Act]:
    """``sizes`` has the bytes that acts dealt with."""
    for act, seconds in tracker.seconds.items():
        name = _ACTS.get(act, act)
        yield Act(name, round(seconds, 3), sizes.get(name, 0))


def tasks_of(tracker: Tracker, bundle: str = "") -> Iterator[Task]:
    """``bundle`` is the name of the only bundle, which tasks are called after."""
    for span in tracker.history:
        name = text(span.task).replace(f":{bundle}", "", 1) if bundle else text(span.task)
        start, end = round(span.start, 3), round(span.end, 3)
        ok = span.status is not Status.FAILED
        yield Task(name=name, worker=span.worker, start=start, end=end, ok=ok, bytes=span.size)
