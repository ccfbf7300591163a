"""A report as one HTML page: no script, style, font or picture comes from elsewhere, and a policy in the page forbids it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files

from pipeline.ui.report.charts import timeline, treemap
from pipeline.ui.report.model import ImageReport, PlatformReport, ReferrerReport, Report, Task
from pipeline.ui.terminal import bytes_text, duration_text, kind_text

SLOWEST = 10
MOST_SHARED = 10
_VERDICTS = {
    "complete": "all images were saved",
    "incomplete": "some images failed; the bundle holds the rest",
    "kept": "some images failed; the bundle of an earlier run was kept",
    "nothing": "no image was saved",
    "planned": "a plan; nothing was fetched",
}
_TILES = {"own": "in one image only", "few": "shared by a few images", "many": "shared by more than four", "rest": "the rest"}
_WORK = {"resolve": "resolve", "copy": "copy", "index": "index", "pack": "pack", "failed": "failed"}


def html(report: Report) -> str:
    style, script = _resource("page.css"), _resource("page.js")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">',
        f"<title>{escape(report.bundle)}: images saved</title>\n<style>{style}</style>\n</head>\n<body>",
        *_sections(report),
        f"<script>{script}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _sections(report: Report) -> Iterator[str]:
    yield from _head(report)
    yield from _failures(report)
    yield from _files(report)
    yield from _where(report)
    yield from _images(report)
    yield from _when(report)
    yield f"<footer>Written by {escape(report.tool)}, {escape(report.started)}. Sizes in powers of 1000.</footer>"


def _head(report: Report) -> Iterator[str]:
    figures = report.figures
    verdict = _VERDICTS[report.outcome]
    yield f"<header><h1>{escape(report.bundle)}</h1>"
    yield f'<p><span class="verdict {report.outcome}">{verdict}</span></p>'
    yield f'<p class="soft">{escape(report.started)}, {duration_text(report.seconds)}</p>'
    if report.note:
        yield f"<p>{escape(report.note)}</p>"
    number = len(report.files)
    facts = [
        ("images", f"{figures.images:,}", _parts(("failed", figures.failed), ("reused", figures.reused))),
        ("image/arches", f"{figures.platforms:,}", _parts(("blobs", figures.blobs), ("referrers", figures.referrers))),
        ("content", bytes_text(figures.bytes), f"{bytes_text(figures.shared_bytes)} saved by sharing"),
        ("bundle", bytes_text(figures.bundle_bytes), f"{report.format}, {number} file{'' if number == 1 else 's'}"),
    ]
    for act in report.acts:
        rate = f"{bytes_text(act.bytes)}, {bytes_text(act.bytes / act.seconds)}/s" if act.bytes and act.seconds else ""
        facts.append((act.name, duration_text(act.seconds), rate))
    if not report.files:
        del facts[3]
    rows = (f"<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>" for name, value, more in facts)
    yield f'<dl class="figures">{"".join(rows)}</dl></header>'


def _parts(*parts: tuple[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in parts if number)


def _failures(report: Report) -> Iterator[str]:
    failed = [image for image in report.images if image.status == "failed"]
    if failed:
        head = "<tr><th>Image</th><th>Reason</th></tr>"
        yield f'<section><h2>Failed: {len(failed):,}</h2><table class="cards"><thead>{head}</thead>'
        for image in failed:
            yield f"<tr>{_cell('Image', escape(image.reference))}{_cell('Reason', f'<pre>{escape(image.reason)}</pre>')}</tr>"
        yield "</table></section>"


def _files(report: Report) -> Iterator[str]:
    if report.files:
        head = '<tr><th>File</th><th class="number">Size</th><th>SHA-256</th></tr>'
        yield f'<section><h2>Files</h2><table class="cards"><thead>{head}</thead>'
        for file in report.files:
            size = _cell("Size", bytes_text(file.size), "number")
            yield f"<tr>{_cell('File', escape(file.name))}{size}{_cell('SHA-256', f'<code>{escape(file.sha256)}</code>')}</tr>"
        yield "</table></section>"


def _where(report: Report) -> Iterator[str]:
    if not report.blobs:
        return
    yield "<section><h2>Where the bytes are</h2>"
    yield f'<div class="wide">{treemap(report)}</div>{_key(_TILES)}'
    saved = sorted((blob for blob in report.blobs if blob.images > 1), key=lambda blob: -blob.size * (blob.images - 1))
    if saved:
        names = ("Layer", "Size", "Images", "Saved")
        yield "<h2>Layers that are shared most</h2>"
        yield f'<table class="cards"><thead><tr>{"".join(_header(name, name != "Layer") for name in names)}</tr></thead>'
        for blob in saved[:MOST_SHARED]:
            figures = (bytes_text(blob.size), str(blob.images), bytes_text(blob.size * (blob.images - 1)))
            cells = (_cell(name, text, "number") for name, text in zip(names[1:], figures, strict=True))
            yield f"<tr>{_cell('Layer', f'<code>{escape(blob.digest)}</code>')}{''.join(cells)}</tr>"
        yield "</table>"
    yield "</section>"


def _header(name: str, is_number: bool) -> str:
    return f"<th{_class('number' if is_number else '')}>{name}</th>"


def _images(report: Report) -> Iterator[str]:
    platforms = sorted({each.platform for image in report.images for each in image.platforms})
    statuses = sorted({image.status for image in report.images})
    yield "<section><h2>Images</h2>"
    yield '<div class="controls" id="controls" hidden>'
    yield '<input id="words" type="search" placeholder="Filter: name, digest, platform" aria-label="Filter the images">'
    yield _select("status", "every status", statuses) + _select("platform", "every platform", platforms)
    yield '<span class="soft" id="shown" aria-live="polite"></span></div>'
    yield '<table class="cards" id="images"><thead><tr>'
    for name, kind in (("#", "n"), ("Image", ""), ("Status", ""), ("Size", "n"), ("Only here", "n"), ("Platforms", "")):
        number = " data-number" if kind else ""
        yield f'<th{_class("number" if kind else "")}{number}><button type="button">{name}</button></th>'
    yield "</tr></thead><tbody>"
    yield from map(_image, report.images)
    yield "</tbody></table></section>"


def _select(name: str, everything: str, values: Iterable[str]) -> str:
    options = "".join(f"<option>{escape(value)}</option>" for value in values)
    return f'<select id="{name}" aria-label="{name}"><option value="">{everything}</option>{options}</select>'


def _image(image: ImageReport) -> str:
    names = "|".join(dict.fromkeys(each.platform for each in image.platforms))
    source = "" if image.source == image.reference else f'<br><span class="soft">from {escape(image.source)}</span>'
    digest = f"<br><code>{escape(image.digest)}</code>" if image.digest else ""
    if image.digest != image.source_digest:
        digest += f'<br><span class="soft">at the source <code>{escape(image.source_digest)}</code></span>'
    platforms = "".join([*map(_platform, image.platforms), *(_referrer(image, each) for each in image.referrers)])
    cells = (
        _cell("#", str(image.m_id), "number"),
        _cell("Image", f"<div><b>{escape(image.reference)}</b>{source}{digest}</div>", key=image.reference),
        _cell("Status", f'<span class="{image.status}">{image.status}</span>', "status", image.status),
        _cell("Size", bytes_text(image.size), "number", str(image.size)),
        _cell("Only here", bytes_text(image.own_bytes), "number", str(image.own_bytes)),
        _cell("Platforms", f'<ul class="platforms">{platforms}</ul>', key=names),
    )
    data = f'data-status="{image.status}" data-platforms="{escape(names)}"'
    return f"<tr {data}>{''.join(cells)}</tr>"


def _platform(each: PlatformReport) -> str:
    facts = f"{escape(each.platform)} · {bytes_text(each.size)} · {len(each.layers)} layers"
    return f"<li>{facts}<br><code>{escape(each.digest)}</code></li>"


def _referrer(image: ImageReport, each: ReferrerReport) -> str:
    whole = {image.digest: "the image"} if image.digest not in {platform.digest for platform in image.platforms} else {}
    subject = {**whole, **{platform.digest: platform.platform for platform in image.platforms}}.get(each.subject, each.subject)
    facts = f"{kind_text(each.artifact_type)} of {subject} · {bytes_text(each.size)}"
    return f"<li>{escape(facts)}<br><code>{escape(each.digest)}</code></li>"


def _when(report: Report) -> Iterator[str]:
    if not report.tasks:
        return
    yield "<section><h2>When</h2>"
    yield f'<div class="wide">{timeline(report)}</div>{_key(_WORK)}'
    slowest = sorted((task for task in report.tasks if task.name.startswith("copy:")), key=lambda task: task.start - task.end)
    if slowest:
        names = ("Copy", "Time", "Bytes", "Rate")
        yield "<h2>Slowest copies</h2>"
        yield f'<table class="cards"><thead><tr>{"".join(_header(name, name != "Copy") for name in names)}</tr></thead>'
        yield from (_slow(task) for task in slowest[:SLOWEST])
        yield "</table>"
    yield "</section>"


def _slow(task: Task) -> str:
    seconds = task.end - task.start
    rate = f"{bytes_text(task.bytes / seconds)}/s" if task.bytes and seconds else "–"
    name = escape(task.name.partition(":")[2]) + ("" if task.ok else " (failed)")
    figures = {"Time": duration_text(seconds), "Bytes": bytes_text(task.bytes), "Rate": rate}
    return f"<tr>{_cell('Copy', name)}{''.join(_cell(name, text, 'number') for name, text in figures.items())}</tr>"


def _key(looks: dict[str, str]) -> str:
    swatch = '<svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{}" width="10" height="10"/></svg>'
    return '<ul class="key">' + "".join(f"<li>{swatch.format(look)}{text}</li>" for look, text in looks.items()) + "</ul>"


def _cell(label: str, content: str, look: str = "", key: str = "") -> str:
    return f'<td{_class(look)} data-label="{label}"{f""" data-key="{escape(key)}" """.rstrip() if key else ""}>{content}</td>'


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
