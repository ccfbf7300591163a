"""Between act 2 and act 3: the gate, a doit task for each image. What it refuses fails, and what it lets through is packed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from pipeline.acts.engine import TaskDict, TaskResult
from pipeline.acts.save.result import SaveResult
from pipeline.acts.save.tasks import SaveContext
from pipeline.steps import gate
from pipeline.steps.images.chosen import needed_by

Run = Callable[[Iterable[TaskDict]], Mapping[str, TaskResult]]


def hold(context: SaveContext, result: SaveResult, run: Run) -> None:
    """Take what is refused out of what was saved. Failures are recorded, not raised. Raises Interrupted, EnvironmentProblem."""
    context.tracker.begin("asking the gate", len(result.listed), 0, "gate")
    results = run(_tasks(context, result))
    known = {item.image.reference: item for item in result.saved}
    passed = []
    for item in result.listed:
        done = results[_name(context, str(item.image.reference))]
        if done.ok:
            passed.append(item)
        else:
            result.failures[item.image] = done.message or "not tried"
            result.reused.discard(item.image)
    result.saved = needed_by(passed, known)


def _tasks(context: SaveContext, result: SaveResult) -> Iterator[TaskDict]:
    """They are never up to date for doit: the verdict is remembered by digest, also of what was refused."""
    bundle = context.bundle
    for item in result.listed:
        name = _name(context, str(item.image.reference))
        work = partial(gate.look, context.cache, context.state, bundle, item, context.interruption)
        yield {
            "basename": "gate",
            "name": name.removeprefix("gate:"),
            "doc": f"whether {item.image.reference} may go",
            "actions": [context.action(name, work, item.image, asks=False)],
        }


def _name(context: SaveContext, reference: str) -> str:
    return f"gate:{context.bundle.name}:{reference}"
