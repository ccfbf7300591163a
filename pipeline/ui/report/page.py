"""A report as one HTML page: no script, style, font or picture comes from elsewhere, and a policy in the page forbids it.

``page.html`` is the template, which escapes whatever it is given but the style, the script and the charts.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterator
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.core.amounts import bytes_text, duration_text
from pipeline.ui.report.charts import timeline, treemap
from pipeline.ui.report.model import Blob, ImageReport, ReferrerReport, Report, Task
from pipeline.ui.terminal import kind_text

SLOWEST = 10
MOST_SHARED = 10
_VERDICTS = {
    "save": {
        "complete": "all images were saved",
        "incomplete": "some images failed; the bundle holds the rest",
        "kept": "some images failed; the bundle of an earlier run was kept",
        "nothing": "no image was saved",
        "planned": "a plan; nothing was fetched",
    },
    "load": {
        "complete": "all images are in the registry",
        "incomplete": "some images failed; the others are in the registry",
        "nothing": "no image was loaded",
        "planned": "a plan; nothing was sent",
    },
    "verify": {"complete": "all is intact", "incomplete": "damaged", "nothing": "damaged beyond reading"},
}
_PARTS = {"save": ("failed", "reused"), "load": ("failed", "there before"), "verify": ("broken", "")}
"""Of images: those that are not right, and those that nothing was done for."""
_TITLES = {"save": "images saved", "load": "images loaded", "verify": "images verified"}
_TILES = {"own": "in one image only", "few": "shared by a few images", "many": "shared by more than four", "rest": "the rest"}
_WORK = {
    "save": {"resolve": "resolve", "fetch": "fetch", "copy": "copy", "index": "index", "pack": "pack", "failed": "failed"},
    "load": {"resolve": "check", "copy": "push", "index": "list, make projects", "failed": "failed"},
    "verify": {},
}


def html(report: Report) -> str:
    style, script = _resource("page.css"), _resource("page.js")
    return _template().render(
        report=report,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'",
        title=_TITLES[report.command],
        verdict=_VERDICTS[report.command][report.outcome],
        facts=list(_facts(report)),
        failed=[image for image in report.images if image.status == "failed"],
        treemap=treemap(report),
        tiles=_TILES,
        shared=_most_shared(report),
        statuses=sorted({image.status for image in report.images}),
        platforms=sorted({each.platform for image in report.images for each in image.platforms}),
        subject=_subject,
        timeline=timeline(report),
        work=_WORK[report.command],
        slowest=_slowest(report),
        rate=_rate,
    )


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("pipeline.ui.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(bytes=bytes_text, duration=duration_text, kind=kind_text)
    return environment.get_template("page.html")


def _facts(report: Report) -> Iterator[tuple[str, str, str]]:
    """Name, figure, and what stands below it."""
    figures, number = report.figures, len(report.files)
    bad, before = _PARTS[report.command]
    yield "images", f"{figures.images:,}", _parts((bad, figures.failed), (before, figures.reused))
    yield "image/arches", f"{figures.platforms:,}", _parts(("blobs", figures.blobs), ("referrers", figures.referrers))
    yield "content", bytes_text(figures.bytes), f"{bytes_text(figures.shared_bytes)} saved by sharing"
    if report.files:
        yield "bundle", bytes_text(figures.bundle_bytes), f"{report.format}, {number} file{'' if number == 1 else 's'}"
    if report.command == "load":
        yield "sent", bytes_text(figures.sent_bytes), f"to {report.registry}"
    for act in report.acts:
        rate = f"{bytes_text(act.bytes)}, {bytes_text(act.bytes / act.seconds)}/s" if act.bytes and act.seconds else ""
        yield act.name, duration_text(act.seconds), rate


def _parts(*parts: tuple[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in parts if number)


def _most_shared(report: Report) -> list[Blob]:
    shared = [blob for blob in report.blobs if blob.images > 1]
    return sorted(shared, key=lambda blob: -blob.size * (blob.images - 1))[:MOST_SHARED]


def _subject(image: ImageReport, referrer: ReferrerReport) -> str:
    """What a referrer refers to, by the name that the page has for it."""
    whole = {image.digest: "the image"} if image.digest not in {platform.digest for platform in image.platforms} else {}
    names = {**whole, **{platform.digest: platform.platform for platform in image.platforms}}
    return names.get(referrer.subject, referrer.subject)


def _slowest(report: Report) -> list[Task]:
    work = (task for task in report.tasks if task.name.startswith(("fetch:", "copy:", "push:")))
    return sorted(work, key=lambda task: task.start - task.end)[:SLOWEST]


def _rate(task: Task) -> str:
    seconds = task.end - task.start
    return f"{bytes_text(task.bytes / seconds)}/s" if task.bytes and seconds else "–"


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
