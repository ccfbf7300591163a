"""What a load or a verification of a bundle came to becomes a ``Report``. Reads manifests of the source; writes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import __version__
from pipeline.acts.progress import Tracker
from pipeline.core.errors import ContentError
from pipeline.core.oci import Digest, Manifest
from pipeline.reader.contents import BundledImage, Contents
from pipeline.reader.verify import Fault
from pipeline.ui.report.model import VERSION, FaultReport, Figures, ImageReport, ReferrerReport, Report
from pipeline.ui.report.parts import Part, acts_of, blobs_of, part_of, tasks_of, text, users_of


@dataclass(frozen=True, kw_only=True)
class Run:
    """A load or a verification that is over. ``statuses`` and ``reasons`` are by reference; ``contents`` is None where so much
    is damaged that the images cannot be told; ``problems`` are failures of what names no image.
    """

    command: str
    outcome: str
    source: Path
    contents: Contents | None
    statuses: Mapping[str, str]
    tracker: Tracker
    reasons: Mapping[str, str]
    registry: str = ""
    problems: Sequence[str] = ()
    faults: Sequence[Fault] = ()
    sent: int = 0
    read: int = 0
    """Bytes that were hashed."""


def collect(run: Run) -> Report:
    families = run.contents.families if run.contents else {}
    chosen = {image: family for image, family in families.items() if str(image.reference) in run.statuses}
    parts = {image: [_parts(run.contents, each) for each in (image, *family)] for image, family in chosen.items()}
    flat = {image: [part for each in members for part in each] for image, members in parts.items()}
    users = users_of(flat.values())
    blobs = blobs_of(flat.values(), users)
    images = tuple(_image(run, image, family, parts[image], users) for image, family in chosen.items())
    total = sum(blob.size for blob in blobs)
    unshared = sum(part.report.size for each in flat.values() for part in each)
    statuses = [image.status for image in images]
    problems = [FaultReport(text(run.source.name), _local(run, problem), ()) for problem in run.problems]
    return Report(
        version=VERSION,
        tool=f"image-tools {__version__}",
        command=run.command,
        outcome=run.outcome,
        note="",
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.tracker.started_at)),
        seconds=round(time.time() - run.tracker.started_at, 3),
        bundle=text(run.source.name),
        format=run.contents.store.kind if run.contents else "",
        figures=Figures(
            images=len(images),
            saved=0,
            reused=statuses.count("there"),
            failed=statuses.count("failed") + statuses.count("broken"),
            platforms=sum(len(image.platforms) for image in images),
            referrers=sum(len(image.referrers) for image in images),
            blobs=len(blobs) + len({image.digest for image in images} - {blob.digest for blob in blobs}),
            bytes=total,
            shared_bytes=unshared - total,
            fetched_bytes=0,
            bundle_bytes=0,
            sent_bytes=run.sent,
        ),
        acts=tuple(acts_of(run.tracker, {"push": run.sent, "verify": run.read})),
        files=(),
        images=images,
        blobs=blobs,
        tasks=tuple(tasks_of(run.tracker)),
        registry=text(run.registry),
        faults=(
            *problems,
            *(FaultReport(_local(run, f.what), _local(run, f.problem), tuple(map(text, f.breaks))) for f in run.faults),
        ),
    )


def _local(run: Run, words: str) -> str:
    """Without the folder of the source."""
    for folder in {str(run.source.parent), str(run.source.absolute().parent)} - {"."}:
        words = words.replace(f"{folder}/", "")
    return text(words)


def _parts(contents: Contents | None, image: BundledImage) -> list[Part]:
    """Of an image that is damaged, none."""
    assert contents is not None, "it has images"
    found = []
    try:
        for number, each in enumerate(contents.platforms(image.descriptor), start=1):
            document = contents.parse(each.descriptor.digest)
            manifest = document if isinstance(document, Manifest) else None
            name = str(each.platform) if each.platform.is_known else "-"
            found.append(part_of(number, name, each.descriptor, contents.closure(each.descriptor), manifest))
    except ContentError:
        return []
    return found


def _image(
    run: Run,
    image: BundledImage,
    family: Sequence[BundledImage],
    parts: Sequence[Sequence[Part]],
    users: Mapping[Digest, int],
) -> ImageReport:
    """``parts`` are those of the image, then those of each that came along with it."""
    name = str(image.reference)
    blobs = {digest: blob for each in parts for part in each for digest, blob in part.blobs.items()}
    return ImageReport(
        m_id=image.m_id,
        reference=text(name),
        source=text(name),
        status=run.statuses[name],
        reason=_local(run, run.reasons.get(name, "")),
        digest=str(image.descriptor.digest),
        source_digest=str(image.descriptor.digest),
        size=sum(blob.size for blob in blobs.values()),
        own_bytes=sum(blob.size for blob in blobs.values() if users[blob.digest] == 1),
        platforms=tuple(part.report for part in parts[0]),
        referrers=tuple(_referrer(each, its) for each, its in zip(family, parts[1:], strict=True)),
    )


def _referrer(held: BundledImage, parts: Sequence[Part]) -> ReferrerReport:
    artifact_type = text(str(held.descriptor.raw.get("artifactType", "")))
    size = sum(part.report.size for part in parts)
    return ReferrerReport(artifact_type, str(held.descriptor.digest), str(held.subject or ""), held.reference.tag, size)
