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
        ImageReport(count + n + 1, f"r.io/gone/{n}:1", f"r.io/gone/{n}:1", "failed", "not found: gone", "", "", 0, 0, ())
        for n in range(failed)
    ]
    total = shared + sum(blob.size for blob in own)
    figures = Figures(
        count + failed, count, count // 3, failed, count * 2, 0, len(base) + count, total, shared * (count - 1), total, total
    )
    acts = (Act("resolve", 1.5, 0), Act("copy", 60.0, total), Act("pack", 4.0, total))
    files = (File("saved.tar.gz.part0", total, digest("part0")[7:]),)
    tasks = tuple(task(number, workers) for number in range(count * 2))
    blobs = tuple(sorted([*base, *own], key=lambda blob: -blob.size))
    outcome = "incomplete" if failed else "complete"
    started = "2026-11-23T15:00:00Z"
    head = (VERSION, "image-tools 0", outcome, "", started, 65.5, "saved.tar.gz", "gzip")
    return Report(*head, figures, acts, files, tuple(images), blobs, tasks)


def image(number: int, shared: int, base: list[Blob], own: Blob) -> ImageReport:
    name = f"r.io/team-{number % 7}/component-{number}:v1.{number}"
    layers = (*(blob.digest for blob in base), own.digest)
    platforms = tuple(
        PlatformReport(place, text, digest(f"{name}{text}"), shared + own.size, digest("config"), layers)
        for place, text in enumerate(("linux/amd64", "linux/arm64")[: 1 + number % 2], start=1)
    )
    status = "reused" if number % 3 == 0 else "saved"
    size = shared + own.size
    return ImageReport(number + 1, name, name, status, "", digest(name), digest(name), size, own.size, platforms)


def task(number: int, workers: int) -> Task:
    start = number // workers * 1.1
    return Task(f"copy:r.io/team/component-{number}:v1:linux-amd64", number % workers + 1, start, start + 1, number != 3, 10**6)


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
