"""The task graph as the cache knows it: nodes with their state, and what each needs.

It comes from the generators that a save uses. A task is done when its own check says so and all it needs is done;
failed, when the last run says that its image failed and it is the first of the image's that is not done.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.acts.engine import TaskDict
from pipeline.acts.save import copy_tasks, pack_tasks, resolve_tasks
from pipeline.acts.save.tasks import SaveContext
from pipeline.core import files
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.interruption import Interruption
from pipeline.core.reference import Reference
from pipeline.steps.images.chosen import ChosenImage, needed_by
from pipeline.storage.bundle_state import BundleState

MAX_IMAGES = 40
"""Up to that many every task is drawn; of more, each kind is one box."""
KINDS = ("resolve", "referrers", "copy", "index", "tar", "compress", "split")
"""In the order of the acts; ``pack`` only names the last three."""


class State(enum.Enum):
    DONE = "done"
    TO_DO = "to do"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A task. ``needs`` names those before it; ``image`` is its place among all images, -1 for act 3."""

    name: str
    kind: str
    label: str
    state: State
    needs: tuple[str, ...]
    image: int


@dataclass(frozen=True)
class Graph:
    """``images`` counts them; ``bundles`` are their names."""

    nodes: tuple[Node, ...]
    images: int
    bundles: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those that are drawn: nobody who does not ask for referrers has to see them."""
        has_referrers = any(node.kind == "referrers" for node in self.nodes)
        return tuple(kind for kind in KINDS if has_referrers or kind != "referrers")

    @property
    def counts(self) -> Mapping[str, Counter[State]]:
        counts: dict[str, Counter[State]] = {kind: Counter() for kind in KINDS}
        for node in self.nodes:
            counts[node.kind][node.state] += 1
        return counts

    @property
    def summary(self) -> str:
        states: Counter[State] = sum(self.counts.values(), Counter())
        parts = ", ".join(f"{states[state]:,} {state.value}" for state in State if states[state])
        return f"{self.images:,} image{'' if self.images == 1 else 's'}, {len(self.nodes):,} tasks: {parts}"


def draw(bundles: Sequence[Bundle]) -> Graph:
    """Reads the cache; writes nothing."""
    nodes: dict[str, Node] = {}
    count = 0
    for bundle in bundles:
        context = SaveContext(bundle, Interruption())
        failed = _failed(context.state)
        chosen = context.chosen(bundle.images)
        known = {item.image.reference: item for item in chosen}
        for image in bundle.images:
            _add_image(nodes, context, image, known, count, image.reference.listed in failed)
            count += 1
        # What is not known yet is packed too: its index stands before `tar`.
        made = [task for task in pack_tasks.pack_tasks(context, chosen) if task["basename"] != "pack"]
        along = [item.image for item in chosen if item.is_referrer]
        indexes = [f"index:{bundle.name}:{image.reference}" for image in (*bundle.images, *along)]
        _add(nodes, [{**task, "needs": indexes} if task["basename"] == "tar" else task for task in made], -1, bundle.name)
    return Graph(tuple(nodes.values()), count, tuple(bundle.name for bundle in bundles))


def _add_image(
    nodes: dict[str, Node],
    context: SaveContext,
    image: BundleImage,
    known: Mapping[Reference, ChosenImage],
    place: int,
    failed: bool,
) -> None:
    item = known.get(image.reference)
    name = f"resolve:{image.reference}"
    state = State.DONE if item is not None else State.FAILED if failed else State.TO_DO
    nodes.setdefault(name, Node(name=name, kind="resolve", label=str(image.reference), state=state, needs=(), image=place))
    if item is not None:
        first = [resolve_tasks.resolve_task([(context, image)], ())]
        if image.referrers is not None:
            first.append(
                {**resolve_tasks.referrers_task(context, image), "needs": [name], "label": f"{len(item.referrers)} found"}
            )
        _add(nodes, [*first, *copy_tasks.copy_tasks(context, item)], place, str(image.reference), failed)
        for each in needed_by([item], known)[1:]:
            made = copy_tasks.copy_tasks(context, each)
            needs = [f"referrers:{context.bundle.name}:{image.reference}"]
            with_needs = ({**task, "needs": needs} if task["basename"] == "copy" else task for task in made)
            _add(nodes, with_needs, place, str(each.image.reference), failed)
        return
    copy, index = f"copy:{image.reference}:?", f"index:{context.bundle.name}:{image.reference}"
    nodes[copy] = Node(name=copy, kind="copy", label="not known yet", state=State.TO_DO, needs=(name,), image=place)
    nodes[index] = Node(name=index, kind="index", label=str(image.reference), state=State.TO_DO, needs=(copy,), image=place)


def _add(nodes: dict[str, Node], made: Iterable[TaskDict], place: int, label: str, failed: bool = False) -> None:
    """Tasks that follow each other by what they write and read; the first that is not done is the one that failed."""
    makers: dict[str, str] = {}
    for task in made:
        name = f"{task['basename']}:{task['name']}"
        by_files = [makers[path] for path in task.get("file_dep", ()) if path in makers]
        needs = tuple(task.get("needs") or dict.fromkeys(by_files))
        makers.update((str(path), name) for path in task.get("targets", ()))
        if name in nodes:
            continue
        ready = all(nodes[need].state is State.DONE for need in needs)
        state = State.DONE if ready and _is_done(task) else State.TO_DO
        if state is State.TO_DO and ready and failed:
            state = State.FAILED
        nodes[name] = Node(name=name, kind=task["basename"], label=_label(task, label), state=state, needs=needs, image=place)


def _is_done(task: TaskDict) -> bool:
    checks = [check for check in task.get("uptodate", ()) if isinstance(check, partial)]
    try:
        return all(Path(path).exists() for path in task.get("targets", ())) and all(check() for check in checks)
    except (OSError, ValueError):
        return False


def _label(task: TaskDict, label: str) -> str:
    if task["basename"] == "copy":
        return str(task["name"]).rpartition(":")[2]
    return str(task.get("label", label))


def _failed(state: BundleState) -> frozenset[str]:
    record = files.read_json(state.last_run)
    names = record.get("failed") if isinstance(record, dict) else None
    return frozenset(map(str, names)) if isinstance(names, list) else frozenset()


def edges(graph: Graph) -> Iterator[tuple[Node, Node]]:
    by_name = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        for need in node.needs:
            yield by_name[need], node
