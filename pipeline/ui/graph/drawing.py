"""Pictures of a graph: DOT for Graphviz, and SVG by a layout of our own, a column for each kind of task.

Up to ``MAX_IMAGES`` every task is drawn; of more, each kind is one box with a bar of how far it is, and what failed is listed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape

from pipeline.ui.graph.nodes import Graph, Node, State, edges
from pipeline.ui.terminal import harmless

MAX_IMAGES = 40
MAX_LISTED = 20
_FILL = {State.DONE: "#bfe5cb", State.TO_DO: "#e3e7eb", State.FAILED: "#f6b8b3"}
_ACTS = {"act 1": ("resolve", "referrers"), "act 2": ("copy", "index"), "act 3": ("tar", "compress", "split")}

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


def dot(graph: Graph) -> str:
    """For ``dot -Tsvg``, and for everything else that reads DOT."""
    return "\n".join(_dot_lines(graph)) + "\n"


def _dot_lines(graph: Graph) -> Iterator[str]:
    yield "digraph image_tools {"
    yield f"  label={_quoted(graph.summary)}; labelloc=t; rankdir=LR; newrank=true;"
    yield '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=10];'
    few = graph.images <= MAX_IMAGES
    for act, kinds in _ACTS.items():
        yield f"  subgraph {_quoted(f'cluster {act}')} {{"
        yield f"    label={_quoted(act)}; color=gray;"
        if few:
            for node in graph.nodes:
                if node.kind in kinds:
                    label = _quoted(f"{node.kind}\n{node.label}")
                    yield f'    {_quoted(node.name)} [label={label}, fillcolor="{_FILL[node.state]}"];'
        else:
            for kind in (kind for kind in kinds if kind in graph.kinds):
                counts = graph.counts[kind]
                label = _quoted(f"{kind}\n{_states(counts)}")
                yield f'    {kind} [label={label}, fillcolor="{_FILL[_worst(counts)]}"];'
        yield "  }"
    if few:
        for before, after in edges(graph):
            yield f"  {_quoted(before.name)} -> {_quoted(after.name)};"
    else:
        yield f"  {' -> '.join(graph.kinds)};"
    yield "}"


def _quoted(text: str) -> str:
    # DOT's strings know \" and \n as JSON's do, and leave other escapes alone.
    return json.dumps(harmless(text), ensure_ascii=False)


def _states(counts: Counter[State]) -> str:
    return ", ".join(f"{counts[state]:,} {state.value}" for state in State if counts[state])


def _worst(counts: Counter[State]) -> State:
    return next((state for state in (State.FAILED, State.TO_DO) if counts[state]), State.DONE)


def svg(graph: Graph) -> str:
    """Complete in itself: no script, no font, light and dark."""
    if graph.images <= MAX_IMAGES:
        content, height = _every_task(graph)
    else:
        content, height = _by_kind(graph)
    left = _columns(graph)
    width = left["split"] + WIDTHS["split"] + 24
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(harmless(graph.summary))}</title><style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        _text(16, 26, "title", ", ".join(graph.bundles)),
        _text(16, 46, "soft", graph.summary),
    ]
    head += [_text(left[kind], TOP - 14, "soft", kind) for kind in graph.kinds]
    x = width - 260
    for state in State:
        head.append(f'<rect class="{_CLASS[state]}" x="{x}" y="16" width="14" height="14" rx="3"/>')
        head.append(_text(x + 20, 27, "", state.value))
        x += 80
    return "\n".join([*head, *content, "</svg>"]) + "\n"


def _columns(graph: Graph) -> Mapping[str, int]:
    """The left edge of each kind."""
    left, x = {}, 16
    for kind in graph.kinds:
        left[kind] = x
        x += WIDTHS[kind] + GAP
    return left


def _every_task(graph: Graph) -> tuple[list[str], int]:
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


def _edge(start: tuple[int, float], width: int, end: tuple[int, float]) -> str:
    x1, y1, x2, y2 = start[0] + width, start[1] + BOX / 2, end[0], end[1] + BOX / 2
    bend = (x2 - x1) / 2
    curve = f"M{x1:.0f},{y1:.1f} C{x1 + bend:.0f},{y1:.1f} {x2 - bend:.0f},{y2:.1f} {x2:.0f},{y2:.1f}"
    return f'<path class="edge" d="{curve}"/>'


def _box(node: Node, x: float, y: float) -> str:
    width = WIDTHS[node.kind]
    label = node.kind if node.image < 0 else node.label
    title = f"<title>{escape(harmless(node.name))}: {node.state.value}</title>"
    rect = f'<rect class="{_CLASS[node.state]}" x="{x:.0f}" y="{y:.1f}" width="{width}" height="{BOX}" rx="5"/>'
    return f"<g>{title}{rect}{_text(x + 8, y + 16, '', _cut(label, int((width - 14) / 7.2)))}</g>"


def _by_kind(graph: Graph) -> tuple[list[str], int]:
    left, drawn = _columns(graph), []
    for kind, after in zip(graph.kinds, (*graph.kinds[1:], ""), strict=True):
        counts, x, width = graph.counts[kind], left[kind], WIDTHS[kind]
        total = max(1, counts.total())
        at = float(x)
        for state in State:
            part = width * counts[state] / total
            if part:
                drawn.append(f'<rect class="{_CLASS[state]}" x="{at:.1f}" y="{TOP}" width="{part:.1f}" height="{BOX * 2}"/>')
            at += part
        for number, state in enumerate(each for each in State if counts[each]):
            drawn.append(_text(x, TOP + BOX * 2 + 18 + number * 17, "", f"{counts[state]:,} {state.value}"))
        if after:
            drawn.append(_edge((x, TOP + BOX / 2), width, (left[after], TOP + BOX / 2)))
    y = TOP + BOX * 2 + 90
    failed = [node for node in graph.nodes if node.state is State.FAILED]
    for number, node in enumerate(failed[:MAX_LISTED]):
        drawn.append(_text(16, y + number * 18, "", f"failed: {node.name}"))
    if len(failed) > MAX_LISTED:
        drawn.append(_text(16, y + MAX_LISTED * 18, "", f"and {len(failed) - MAX_LISTED} more"))
    return drawn, y + min(len(failed), MAX_LISTED + 1) * 18 + 10


def _text(x: float, y: float, look: str, text: str) -> str:
    return f'<text{f""" class="{look}" """.rstrip() if look else ""} x="{x:.0f}" y="{y:.1f}">{escape(harmless(text))}</text>'


def _cut(text: str, room: int) -> str:
    """The end of a reference says more than its beginning."""
    return text if len(text) <= room else "…" + text[len(text) - room + 1 :]
