"""The two pictures of the page, as SVG: where the bytes are, and who worked on what, when.

They hold no style of their own: classes, which ``page.css`` colours, light and dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.core.amounts import bytes_text, duration_text
from pipeline.ui import svg
from pipeline.ui.report.model import Report, Task
from pipeline.ui.report.treemap import squarified

MAX_TILES = 300
SHAPES = {"wide": (1000.0, 460.0), "narrow": (360.0, 420.0)}
"""Each picture is drawn twice; the page shows the one that fits the screen."""
LANE, GAP, AXIS = 20.0, 3.0, 22.0
LABELS = 70.0
THIN = 0.8
"""Units; tasks that would be thinner are drawn together."""
_KINDS = {
    "probe": "resolve",
    "resolve": "resolve",
    "check": "resolve",
    "prove": "resolve",
    "referrers": "resolve",
    "fetch": "fetch",
    "copy": "copy",
    "push": "copy",
    "index": "index",
    "tar": "pack",
    "compress": "pack",
    "split": "pack",
}


@dataclass(frozen=True)
class Tile:
    size: int
    name: str
    more: str
    look: str


def tiles(report: Report) -> list[Tile]:
    """Where the bytes of the bundle are, each once: what an image has for itself, and each layer that several share."""
    own = [Tile(image.own_bytes, image.reference, "in this image only", "own") for image in report.images if image.own_bytes]
    shared = [
        Tile(blob.size, f"{blob.kind} {short(blob.digest)}", f"in {blob.images} images", "many" if blob.images > 4 else "few")
        for blob in report.blobs
        if blob.images > 1 and blob.size
    ]
    found = sorted([*own, *shared], key=lambda tile: -tile.size)
    rest = found[MAX_TILES:]
    if rest:
        others = Tile(sum(tile.size for tile in rest), f"{len(rest):,} smaller ones", "images' own, and shared layers", "rest")
        found = sorted([*found[:MAX_TILES], others], key=lambda tile: -tile.size)
    return found


def treemap(report: Report) -> Markup:
    found = tiles(report)
    return svg.join(_treemap(found, shape, *size) for shape, size in SHAPES.items())


def _treemap(found: Sequence[Tile], shape: str, width: float, height: float) -> Markup:
    boxes = squarified([tile.size for tile in found], width, height)
    drawn = (_tile(tile, *box) for tile, box in zip(found, boxes, strict=True))
    return _svg(f"map {shape}", width, height, "Where the bytes of the bundle are, and which layers are shared", drawn)


def _tile(tile: Tile, x: float, y: float, width: float, height: float) -> Markup:
    room = int((width - 10) / 7.4)
    lines = []
    if room >= 5 and height >= 18:
        lines.append(svg.text(x + 5, y + 14, svg.cut(tile.name.rpartition("/")[2], room)))
    if room >= 5 and height >= 32:
        lines.append(svg.text(x + 5, y + 28, svg.cut(bytes_text(tile.size), room), "small"))
    if room >= 12 and height >= 46:
        lines.append(svg.text(x + 5, y + 42, svg.cut(tile.more, room), "small"))
    title = f"{tile.name}\n{bytes_text(tile.size)}, {tile.more}"
    return svg.titled(title, svg.rect(tile.look, x, y, width, height), *lines)


def timeline(report: Report) -> Markup:
    """A lane for each worker; what takes long is long."""
    if not report.tasks:
        return Markup("")
    return svg.join(_timeline(report.tasks, shape, width) for shape, (width, _) in SHAPES.items())


def _timeline(every: Sequence[Task], shape: str, wide: float) -> Markup:
    start, end = min(task.start for task in every), max(task.end for task in every)
    scale = (wide - LABELS) / max(end - start, 1e-3)
    lanes = max(task.worker for task in every)
    height = AXIS + lanes * (LANE + GAP)
    parts = [*_axis(end - start, scale, wide, height)]
    for worker in range(1, lanes + 1):
        top = AXIS + (worker - 1) * (LANE + GAP)
        parts.append(svg.text(0, top + 14, f"worker {worker}", "small"))
        tasks = sorted((task for task in every if task.worker == worker), key=lambda task: task.start)
        parts += [_bar(group, start, scale, top) for group in _together(tasks, scale)]
    return _svg(f"time {shape}", wide, height, "What each worker did, over time", parts)


def _together(tasks: Iterable[Task], scale: float) -> Iterator[list[Task]]:
    """Tasks one by one, but those too thin to be seen in groups of a kind."""
    group: list[Task] = []
    for task in tasks:
        thin = (task.end - task.start) * scale < THIN
        joins = group and thin and look(task) == look(group[0]) and (task.end - group[0].start) * scale < 4 * THIN
        if group and not joins:
            yield group
            group = []
        group.append(task)
        if not thin:
            yield group
            group = []
    if group:
        yield group


def _bar(group: Sequence[Task], origin: float, scale: float, top: float) -> Markup:
    first, last = group[0], group[-1]
    x, width = LABELS + (first.start - origin) * scale, max(THIN, (last.end - first.start) * scale)
    name = first.name if len(group) == 1 else f"{len(group)} tasks, {first.name} the first"
    size = sum(task.bytes for task in group)
    facts = duration_text(last.end - first.start) + (f", {bytes_text(size)}" if size else "")
    facts += "" if all(task.ok for task in group) else ", failed"
    return svg.titled(f"{name}\n{facts}", svg.rect(look(first), x, top, width, LANE))


def look(task: Task) -> str:
    return _KINDS.get(task.name.partition(":")[0], "index") if task.ok else "failed"


def _axis(seconds: float, scale: float, width: float, height: float) -> Iterator[Markup]:
    step = next((step for step in _steps() if seconds / step <= width / 120), seconds)
    count = int(seconds / step) + 1
    for number in range(count):
        x = LABELS + number * step * scale
        yield Markup('<line class="tick" x1="{0:.1f}" y1="14" x2="{0:.1f}" y2="{1:.0f}"/>').format(x, height)
        if x < width - 50:
            yield svg.text(x + 3, 12, duration_text(number * step) if number else "0", "small")


def _steps() -> Iterator[float]:
    yield from (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)


def _svg(name: str, width: float, height: float, label: str, pieces: Iterable[Markup]) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        name, width, height, label, svg.join(pieces)
    )


def short(digest: str) -> str:
    return digest.partition(":")[2][:12]
