"""What became of each task: doit's reporter calls as results, and as calls to an observer."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from doit.exceptions import BaseFail, UnmetDependency
from doit.task import Task

from pipeline.core.log import log


class Status(enum.Enum):
    """What became of a task in a run."""

    DONE = "done"
    UP_TO_DATE = "up to date"
    FAILED = "failed"
    UNMET = "not tried, as something it needs failed"


@dataclass(frozen=True)
class TaskResult:
    """``message`` says why, for a task that failed."""

    status: Status
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.status in (Status.DONE, Status.UP_TO_DATE)


class Observer(Protocol):
    """Is told what happens. ``started`` is called on worker threads, ``finished`` on the thread that called ``run``."""

    def started(self, task: str) -> None: ...

    def finished(self, task: str, result: TaskResult) -> None: ...


class Reporter:
    """Turns doit's reporter calls into results and calls to our observer."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.results: dict[str, TaskResult] = {}

    def execute_task(self, task: Task) -> None:
        if task.actions:
            self._observer.started(task.name)

    def add_success(self, task: Task) -> None:
        self._finish(task, TaskResult(Status.DONE))

    def skip_uptodate(self, task: Task) -> None:
        self._finish(task, TaskResult(Status.UP_TO_DATE))

    def skip_ignore(self, task: Task) -> None:
        self._finish(task, TaskResult(Status.UP_TO_DATE))

    def add_failure(self, task: Task, fail: BaseFail) -> None:
        if isinstance(fail, UnmetDependency):
            self._finish(task, TaskResult(Status.UNMET))
        else:
            self._finish(task, TaskResult(Status.FAILED, _reason(task, fail)))

    def _finish(self, task: Task, result: TaskResult) -> None:
        if not task.has_subtask:
            self.results[task.name] = result
            self._observer.finished(task.name, result)

    def get_status(self, task: Task) -> None: ...

    def cleanup_error(self, exception: Exception) -> None:
        raise AssertionError("no task has a teardown") from exception

    def runtime_error(self, message: str) -> None:
        raise AssertionError(f"the task graph is wrong: {message}")

    def complete_run(self) -> None: ...


def _reason(task: Task, fail: BaseFail) -> str:
    """Why a task failed. Where it did not fail on its own terms, the traceback goes to the log."""
    if not fail.traceback:
        return str(fail.message).strip()
    log.debug("%s: %s", task.name, fail.get_msg())
    return f"this should not happen: {fail.traceback[-1].strip()}"
