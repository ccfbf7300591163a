"""Reports made by hand: of any number of images, with names that nobody sane would choose."""

from __future__ import annotations

from dataclasses import replace

from pipeline.ui.report.model import VERSION, Act, Blob, Figures, File, ImageReport, PlatformReport, Report, Task
from tests.support.images import digest_of

HOSTILE = "<script>alert(1)</script>'\"&amp;</style></title>\u202e|"
"""No reference holds this, but a platform may: a registry chose it."""


def digest(seed: object) -> str:
    return digest_of(str(seed).encode())


def report(count: int = 5, failed: int = 1, workers: int = 4) -> Report:
    """``count`` images on three layers that they share, each with one of its own, and ``failed`` more."""
    base = [Blob(digest(f"base{number}"), "layer", 30_000_000 * (number + 1), count) for number in range(3 if count else 0)]
    own = [Blob(digest(f"own{number}"), "layer", 1_000_000 + 37_000 * number, 1) for number in range(count)]
    shared = sum(blob.size for blob in base)
    images = [image(number, shared, base, own[number]) for number in range(count)]
    images += [
        ImageReport(
            m_id=count + n + 1,
            reference=f"r.io/gone/{n}:1",
            source=f"r.io/gone/{n}:1",
            status="failed",
            reason="not found: gone",
            digest="",
            source_digest="",
            size=0,
            own_bytes=0,
            platforms=(),
        )
        for n in range(failed)
    ]
    total = shared + sum(blob.size for blob in own)
    figures = Figures(
        images=count + failed,
        saved=count,
        reused=count // 3,
        failed=failed,
        platforms=count * 2,
        referrers=0,
        blobs=len(base) + count,
        bytes=total,
        shared_bytes=shared * (count - 1),
        fetched_bytes=total,
        bundle_bytes=total,
    )
    acts = (Act("resolve", 1.5, 0), Act("copy", 60.0, total), Act("pack", 4.0, total))
    files = (File("saved.tar.gz.part0", total, digest("part0")[7:]),)
    tasks = tuple(task(number, workers) for number in range(count * 2))
    blobs = tuple(sorted([*base, *own], key=lambda blob: -blob.size))
    outcome = "incomplete" if failed else "complete"
    started = "2026-11-23T15:00:00Z"
    return Report(
        version=VERSION,
        tool="image-tools 0",
        outcome=outcome,
        note="",
        started=started,
        seconds=65.5,
        bundle="saved.tar.gz",
        format="gzip",
        figures=figures,
        acts=acts,
        files=files,
        images=tuple(images),
        blobs=blobs,
        tasks=tasks,
    )


def image(number: int, shared: int, base: list[Blob], own: Blob) -> ImageReport:
    name = f"r.io/team-{number % 7}/component-{number}:v1.{number}"
    layers = (*(blob.digest for blob in base), own.digest)
    platforms = tuple(
        PlatformReport(
            img_id=place,
            platform=text,
            digest=digest(f"{name}{text}"),
            size=shared + own.size,
            config=digest("config"),
            layers=layers,
        )
        for place, text in enumerate(("linux/amd64", "linux/arm64")[: 1 + number % 2], start=1)
    )
    status = "reused" if number % 3 == 0 else "saved"
    size = shared + own.size
    return ImageReport(
        m_id=number + 1,
        reference=name,
        source=name,
        status=status,
        reason="",
        digest=digest(name),
        source_digest=digest(name),
        size=size,
        own_bytes=own.size,
        platforms=platforms,
    )


def task(number: int, workers: int) -> Task:
    start = number // workers * 1.1
    return Task(
        name=f"copy:r.io/team/component-{number}:v1:linux-amd64",
        worker=number % workers + 1,
        start=start,
        end=start + 1,
        ok=number != 3,
        bytes=10**6,
    )


def hostile() -> Report:
    """Every text that could come from outside says the worst."""
    made = report(2)
    platform = replace(made.images[0].platforms[0], platform=HOSTILE)
    images = (
        replace(made.images[0], reference=HOSTILE, source=HOSTILE + "s", platforms=(platform,)),
        *made.images[1:-1],
        replace(made.images[-1], reason=HOSTILE),
    )
    tasks = (replace(made.tasks[0], name=f"copy:{HOSTILE}"), *made.tasks[1:])
    files = (File(HOSTILE, 1, HOSTILE),)
    return replace(made, bundle=HOSTILE, note=HOSTILE, tool=HOSTILE, images=images, tasks=tasks, files=files)
