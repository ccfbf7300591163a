"""A graph as SVG, a column for each kind of task; of a large graph, one box for each kind, and a list of what failed."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from pipeline.ui.graph.nodes import MAX_IMAGES, Graph, Node, State, edges
from pipeline.ui.svg import cut_left, rect, text, titled
from pipeline.ui.terminal import harmless

MAX_LISTED = 20
WIDTHS = {"resolve": 300, "referrers": 90, "copy": 150, "index": 220, "tar": 90, "compress": 90, "split": 90}
GAP, ROW, BOX, TOP = 46, 34, 24, 92
_STYLE = """
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #1b1f24; }
.title { font-size: 15px; font-weight: 600; } .soft { fill: #5b6570; }
.paper { fill: #fff; } .edge { fill: none; stroke: #9aa5b1; stroke-width: 1.2; }
.done { fill: #bfe5cb; stroke: #3f9a5f; } .todo { fill: #e9edf0; stroke: #9aa5b1; }
.failed { fill: #f6b8b3; stroke: #c0392b; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e8ec; } .soft { fill: #9aa5b1; }
  .paper { fill: #14181d; } .edge { stroke: #5b6570; }
  .done { fill: #1d5634; stroke: #55bd80; } .todo { fill: #2a323a; stroke: #6b7681; }
  .failed { fill: #7a2620; stroke: #f0716a; }
}
"""
_CLASS = {State.DONE: "done", State.TO_DO: "todo", State.FAILED: "failed"}


def svg(graph: Graph) -> str:
    """Complete in itself: no script, no font, light and dark."""
    if graph.images <= MAX_IMAGES:
        content, height = _every_task(graph)
    else:
        content, height = _by_kind(graph)
    left = _columns(graph)
    width = left["split"] + WIDTHS["split"] + 24
    head = [
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">\n'
            "<title>{2}</title><style>{3}</style>"
        ).format(width, height, harmless(graph.summary), Markup(_STYLE)),
        rect("paper", 0, 0, width, height),
        text(16, 26, harmless(", ".join(graph.bundles)), "title"),
        text(16, 46, harmless(graph.summary), "soft"),
    ]
    head += [text(left[kind], TOP - 14, kind, "soft") for kind in graph.kinds]
    x = width - 260
    for state in State:
        head += [rect(_CLASS[state], x, 16, 14, 14, 3), text(x + 20, 27, state.value)]
        x += 80
    return Markup("\n").join([*head, *content, Markup("</svg>\n")])


def _columns(graph: Graph) -> Mapping[str, int]:
    """The left edge of each kind."""
    left, x = {}, 16
    for kind in graph.kinds:
        left[kind] = x
        x += WIDTHS[kind] + GAP
    return left


def _every_task(graph: Graph) -> tuple[list[Markup], int]:
    left = _columns(graph)
    places: dict[str, tuple[int, float]] = {}
    row = 0.0
    for image in range(graph.images):
        own = [node for node in graph.nodes if node.image == image]
        copies = [node for node in own if node.kind == "copy"]
        for number, node in enumerate(copies):
            places[node.name] = (left["copy"], TOP + (row + number) * ROW)
        middle = TOP + (row + (max(1, len(copies)) - 1) / 2) * ROW
        for node in own:
            if node.kind != "copy":
                # What came along has a copy and an index of its own.
                before = [places[need][1] for need in node.needs if need in places and node.kind == "index"]
                places[node.name] = (left[node.kind], sum(before) / len(before) if before else middle)
        # An image that another bundle has too has no tasks of its own but for its index.
        row += max(len(copies), 1 if own else 0)
    last = [node for node in graph.nodes if node.image < 0]
    bundles = max(1, len(last) // 3)
    for number, node in enumerate(last):
        places[node.name] = (left[node.kind], TOP + max(0.0, (row - 1) * (number // 3 + 0.5) / bundles) * ROW)
    drawn = [_edge(places[a.name], WIDTHS[a.kind], places[b.name]) for a, b in edges(graph)]
    drawn += [_box(node, *places[node.name]) for node in graph.nodes]
    return drawn, int(TOP + max(row, bundles * 1.0) * ROW + 16)


def _edge(start: tuple[int, float], width: int, end: tuple[int, float]) -> Markup:
    x1, y1, x2, y2 = start[0] + width, start[1] + BOX / 2, end[0], end[1] + BOX / 2
    bend = (x2 - x1) / 2
    curve = f"M{x1:.0f},{y1:.1f} C{x1 + bend:.0f},{y1:.1f} {x2 - bend:.0f},{y2:.1f} {x2:.0f},{y2:.1f}"
    return Markup('<path class="edge" d="{}"/>').format(curve)


def _box(node: Node, x: float, y: float) -> Markup:
    width = WIDTHS[node.kind]
    label = node.kind if node.image < 0 else node.label
    return titled(
        harmless(f"{node.name}: {node.state.value}"),
        rect(_CLASS[node.state], x, y, width, BOX, 5),
        text(x + 8, y + 16, cut_left(harmless(label), int((width - 14) / 7.2))),
    )


def _by_kind(graph: Graph) -> tuple[list[Markup], int]:
    left = _columns(graph)
    drawn: list[Markup] = []
    for kind, after in zip(graph.kinds, (*graph.kinds[1:], ""), strict=True):
        counts, x, width = graph.counts[kind], left[kind], WIDTHS[kind]
        total = max(1, counts.total())
        at = float(x)
        for state in State:
            part = width * counts[state] / total
            if part:
                drawn.append(rect(_CLASS[state], at, TOP, part, BOX * 2))
            at += part
        for number, state in enumerate(each for each in State if counts[each]):
            drawn.append(text(x, TOP + BOX * 2 + 18 + number * 17, f"{counts[state]:,} {state.value}"))
        if after:
            drawn.append(_edge((x, TOP + BOX / 2), width, (left[after], TOP + BOX / 2)))
    y = TOP + BOX * 2 + 90
    failed = [node for node in graph.nodes if node.state is State.FAILED]
    for number, node in enumerate(failed[:MAX_LISTED]):
        drawn.append(text(16, y + number * 18, harmless(f"failed: {node.name}")))
    if len(failed) > MAX_LISTED:
        drawn.append(text(16, y + MAX_LISTED * 18, f"and {len(failed) - MAX_LISTED} more"))
    return drawn, y + min(len(failed), MAX_LISTED + 1) * 18 + 10
