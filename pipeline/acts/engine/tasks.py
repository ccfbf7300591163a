"""Tasks as doit's creators yield them, and the items of their ``uptodate``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any, cast

from doit.cmd_base import DodoTaskLoader
from doit.cmd_run import Run
from doit.cmdparse import CmdParseError
from doit.exceptions import InvalidDodoFile
from doit.loader import create_after, generate_tasks
from doit.task import Task
from doit.tools import config_changed

TaskDict = dict[str, Any]
"""A task as doit's creators yield it."""

_DEFAULTS: TaskDict = {"io": {"capture": False}, "verbosity": 0}
"""In every task: capture swaps ``sys.stdout`` for the whole process and, under threads, does not put it back."""

AFTER = "after"
"""Key in a task's ``meta``: those of its ``task_dep`` that it only waits for, and does not need to succeed."""
PAUSED = "held"
"""Key in a task's ``meta``: a function that says whether the task would only wait right now."""


def dodo_problem(message: str) -> Exception:
    """What a dodo.py raises so that doit shows ``message`` and no traceback."""
    problem: Exception = InvalidDodoFile(message)
    return problem


def with_defaults(task: TaskDict) -> TaskDict:
    """``task`` with ``_DEFAULTS``, and its checks as ``doit info`` shows them."""
    made = {**_DEFAULTS, **task}
    if "uptodate" in task:
        made["uptodate"] = [_Check(each) if isinstance(each, partial | FunctionType) else each for each in task["uptodate"]]
    return made


def delayed_creators(
    after: str, names: Sequence[str], creator: Callable[[], Iterator[TaskDict]]
) -> dict[str, Callable[[], Iterator[Task]]]:
    """Task creators by ``task_`` name: whichever of ``names`` doit comes to first, once ``after`` has run, makes all tasks.

    ``names`` must be group tasks of those that ``creator`` makes. doit would call a creator again for each of its names, and
    does not wire the tasks of two creators to each other; so all are made at once, and the others find theirs made.
    """
    made: dict[str, Task] = {}

    def of(name: str) -> Callable[[], Iterator[Task]]:
        def create() -> Iterator[Task]:
            if made:
                yield made[name]
            else:
                made.update((task.name, task) for task in generate_tasks(name, creator()))
                yield from made.values()

        return cast("Callable[[], Iterator[Task]]", create_after(executed=after, creates=[name])(create))

    return {f"task_{number}": of(name) for number, name in enumerate(names)}


def selected(arguments: Sequence[str]) -> tuple[str, ...]:
    """The tasks that a doit command line names to be run; none where it names none, or cannot be read."""
    given = list(arguments)
    if given[:1] in (["run"], ["auto"]):
        given = given[1:]
    try:
        _, names = Run(task_loader=DodoTaskLoader()).cmdparser.parse(given)
    except CmdParseError:
        return ()
    return tuple(name for name in names if "=" not in name)  # those are doit's variables


def unchanged(**values: Any) -> config_changed:
    """For a task's ``uptodate``: every input that no file carries. ``file_dep`` is a set and knows no order, for one."""
    return _Unchanged(values)


class _Unchanged(config_changed):  # type: ignore[misc]
    """``doit info`` shows it, and shall not show two thousand references."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(json.dumps(values, sort_keys=True))
        self._names = ", ".join(values)

    def __repr__(self) -> str:
        return f"the same {self._names} as in the last run"


class _Check:
    """An item of ``uptodate`` that ``doit info`` shows in words, not with all the values that it is bound to."""

    __signature__ = inspect.Signature()
    """Or doit finds out, before each task."""

    def __init__(self, check: Callable[[], bool]) -> None:
        self._check = check

    def __call__(self) -> bool:
        return self._check()

    def __repr__(self) -> str:
        return "what it made is here, whole and as it would be made now"
