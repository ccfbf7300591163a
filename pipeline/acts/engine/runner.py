"""doit's thread runner, as a save needs it: failures stop nothing else, and an interruption ends the dispatch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from doit.control import TaskControl
from doit.dependency import Dependency, JSONCodec, MD5Checker
from doit.exceptions import BaseFail, TaskFailed, UnmetDependency
from doit.loader import generate_tasks
from doit.runner import JobHold, JobTaskPickle, MThreadRunner
from doit.task import Stream

from pipeline.acts.engine.database import DurableDB, Memo
from pipeline.acts.engine.reporter import Observer, Reporter, TaskResult
from pipeline.acts.engine.tasks import AFTER, PAUSED, TaskDict, with_defaults
from pipeline.core.interruption import Interruption


def failed(message: str) -> BaseFail:
    """What an action returns to say that its task failed. (doit drops exception objects.)"""
    return TaskFailed(message)


class _PutOff(TaskFailed):  # type: ignore[misc]
    """No failure, but the only thing besides success that doit lets an action say."""


def put_off() -> BaseFail:
    """What an action returns to be run again when there is nothing else to do. Understood by ``run`` alone."""
    return _PutOff("put off")


def run(
    tasks: Iterable[TaskDict],
    names: Sequence[str] | None = None,
    *,
    jobs: int,
    database: Path,
    observer: Observer,
    interruption: Interruption,
) -> Mapping[str, TaskResult]:
    """Run ``tasks`` on ``jobs`` threads; failures do not stop the rest. Results by task name, without group tasks.

    They are begun in the order of ``names`` (of all tasks, without it), each after those that it depends on, which need not be
    named. doit's queue is first in, first out: whoever names what ends a piece of work gets whole pieces early.

    After an interruption the result lacks what was not run; the caller checks ``interruption``.
    """
    made = list(generate_tasks("image-tools", (with_defaults(task) for task in tasks)))
    control = TaskControl(made)
    # Never by a group: all that it depends on would be begun before any of it is finished.
    control.process(list(names) if names is not None else [task.name for task in made if not task.has_subtask])
    reporter = Reporter(observer)
    database.parent.mkdir(parents=True, exist_ok=True)
    manager = Memo(DurableDB, str(database), checker_cls=MD5Checker, codec_cls=JSONCodec)
    SaveRunner(manager, reporter, interruption, min(jobs, len(made))).run_all(control.task_dispatcher())
    return reporter.results


def _never() -> bool:
    return False


class _Queue(SimpleQueue[Any]):
    """doit's queues, of jobs and of results, without those jobs that only have a worker ask again: it waits here as well."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if not isinstance(item, JobHold):
            super().put(item)


class SaveRunner(MThreadRunner):  # type: ignore[misc]
    """doit's thread runner, except that an unmet dependency forgets nothing, that a task may wait for others without needing
    their success (``AFTER``) or be put off (``PAUSED``), and that an interruption ends the dispatch.
    """

    Queue = staticmethod(_Queue)

    def __init__(self, manager: Dependency, reporter: Reporter, interruption: Interruption, jobs: int) -> None:
        super().__init__(manager, reporter, continue_=True, stream=Stream(0), num_process=jobs)
        self._interruption = interruption
        self._put_off: deque[Any] = deque()

    def get_next_job(self, completed: Any) -> Any:
        """As the stock method, but a task that would only wait (``PAUSED``) is put off as long as there are others."""
        if self._interruption.requested:
            self._stop_running = True
        # To doit, a task that was put off has not come back yet.
        node = None if completed in self._put_off else completed
        while not self._stop_running:
            try:
                node = self.task_dispatcher.generator.send(node)
            except StopIteration:
                node = None
            if node == "hold on" or node is None:
                if not self._put_off:
                    self.free_proc += node is not None
                    return node and JobHold()
                node = self._put_off.popleft()
                if node.run_status == "run":
                    return JobTaskPickle(node.task)
            elif (node.task.meta or {}).get(PAUSED, _never)():
                self._put_off.append(node)
                node = None
                continue
            if self.select_task(node, self.tasks):
                return JobTaskPickle(node.task)
        return None

    def process_task_result(self, node: Any, base_fail: BaseFail | None) -> None:
        if isinstance(base_fail, _PutOff):
            self._put_off.append(node)
        else:
            super().process_task_result(node, base_fail)

    def select_task(self, node: Any, tasks_dict: Any) -> Any:
        after = (node.task.meta or {}).get(AFTER, ())
        node.bad_deps = [each for each in node.bad_deps if each.task.name not in after]
        return super().select_task(node, tasks_dict)

    def _handle_task_error(self, node: Any, base_fail: BaseFail) -> None:
        if isinstance(base_fail, UnmetDependency):
            # The stock method also removes the saved state: one unreachable registry, and finished copies run again.
            node.run_status = "failure"
            self.reporter.add_failure(node.task, base_fail)
        else:
            super()._handle_task_error(node, base_fail)
