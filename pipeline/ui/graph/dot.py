"""A graph as DOT, for Graphviz: every task, or of a large graph one box for each kind."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from pipeline.ui.graph.nodes import MAX_IMAGES, Graph, State, edges
from pipeline.ui.terminal import harmless

_FILL = {State.DONE: "#bfe5cb", State.TO_DO: "#e3e7eb", State.FAILED: "#f6b8b3"}
_ACTS = {"act 1": ("resolve", "referrers"), "act 2": ("copy", "index"), "act 3": ("tar", "compress", "split")}


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
