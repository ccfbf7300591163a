"""The edge to doit: the only importer of its runner, database and reporter.

In come task dictionaries (as any ``dodo.py`` yields them), out goes what became of each task. Promises, none of which stock
doit 0.37 gives:

- what a task achieved is remembered the moment it ends, so that ``kill -9`` forgets nothing (``DurableDB``);
- an unmet dependency does not make doit forget what the dependents achieved earlier (``SaveRunner``);
- what 'doit ignore' was told is no reason to leave out what a save is asked for (``_Memo``);
- a damaged database costs the memo, never the run: the cache is the truth;
- an interruption stops the dispatch, lets the running tasks come back, and saves (``SaveRunner``).

doit's capture of output is broken under threads: every task carries ``TASK_DEFAULTS``.
"""

from __future__ import annotations

import contextlib
import enum
import json
import re
import sqlite3
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from doit.cmd_base import DodoTaskLoader
from doit.cmd_run import Run
from doit.cmdparse import CmdParseError
from doit.control import TaskControl
from doit.dependency import Dependency, JSONCodec, MD5Checker, SqliteDB
from doit.exceptions import BaseFail, InvalidDodoFile, TaskFailed, UnmetDependency
from doit.loader import create_after, generate_tasks
from doit.runner import JobHold, JobTaskPickle, MThreadRunner
from doit.task import Stream, Task
from doit.tools import config_changed

from pipeline.core.interruption import Interruption
from pipeline.core.log import log

TaskDict = dict[str, Any]
"""A task as doit's creators yield it."""

TASK_DEFAULTS: TaskDict = {"io": {"capture": False}, "verbosity": 0}
"""In every task: capture swaps ``sys.stdout`` for the whole process and, under threads, does not put it back."""


UNRECORDED = ("fetch:",)
"""How the names of tasks begin that stand in no database: they exist only while what they make is missing."""
AFTER = "after"
"""Key in a task's ``meta``: those of its ``task_dep`` that it only waits for, and does not need to succeed."""
PAUSED = "held"
"""Key in a task's ``meta``: a function that says whether the task would only wait right now."""


# What SQLite says of a full or read-only disk; Python 3.10 does not tell its error codes.
_DISK = re.compile(r"disk is full|readonly database|disk I/O error|unable to open")


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


def failed(message: str) -> BaseFail:
    """What an action returns to say that its task failed. (doit drops exception objects.)"""
    return TaskFailed(message)


class _PutOff(TaskFailed):  # type: ignore[misc]
    """No failure, but the only thing besides success that doit lets an action say."""


def put_off() -> BaseFail:
    """What an action returns to be run again when there is nothing else to do. Understood by ``run`` alone."""
    return _PutOff("put off")


def dodo_problem(message: str) -> Exception:
    """What a dodo.py raises so that doit shows ``message`` and no traceback."""
    problem: Exception = InvalidDodoFile(message)
    return problem


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
    made = list(generate_tasks("image-tools", _as_generator(tasks)))
    control = TaskControl(made)
    # Never by a group: all that it depends on would be begun before any of it is finished.
    control.process(list(names) if names is not None else [task.name for task in made if not task.has_subtask])
    reporter = _Reporter(observer)
    database.parent.mkdir(parents=True, exist_ok=True)
    manager = _Memo(DurableDB, str(database), checker_cls=MD5Checker, codec_cls=JSONCodec)
    SaveRunner(manager, reporter, interruption, jobs).run_all(control.task_dispatcher())
    return reporter.results


class _Memo(Dependency):  # type: ignore[misc]
    """'doit ignore' is between a user and doit: here, everything that was asked for is done."""

    def status_is_ignore(self, task: Task) -> bool:
        return False


class DurableDB(SqliteDB):  # type: ignore[misc]
    """doit's SQLite database, except that a task's entry is on disk when its task ends, and that damage is survived."""

    desc = "SQLite, saved after each task"

    def __init__(self, name: str, codec: Any, *, module_name: str | None = None) -> None:
        sound = _is_sound(name)
        if sound is None:  # nothing is wrong with it but where it lies; what this run does is not remembered
            name = ":memory:"
        elif not sound:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with contextlib.suppress(OSError):
                    Path(name + suffix).unlink(missing_ok=True)
            if not _is_sound(name):  # on a file system without locks, say: nothing is remembered after the run
                name = ":memory:"
        super().__init__(name, _CheckedJSON(), module_name=module_name)

    def _sqlite3(self, name: str) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._sqlite3(name)
        connection.execute("pragma journal_mode=wal")
        # Survives the end of the process at any moment. A power loss may take the last entries, which costs a check.
        connection.execute("pragma synchronous=normal")
        return connection

    def _get_task_data(self, task_id: str) -> Mapping[str, Any]:
        try:
            data: Mapping[str, Any] = super()._get_task_data(task_id)
        except (ValueError, sqlite3.Error):
            return {}
        return data

    def set(self, task_id: str, dependency: str, value: object) -> None:
        if task_id.startswith(UNRECORDED):
            return
        super().set(task_id, dependency, value)
        if dependency == "deps:":  # Dependency.save_success sets this one last
            with self._tolerant():
                self._conn.execute(
                    "insert or replace into doit values (?,?)", (task_id, self.codec.encode(self._cache[task_id]))
                )
                self._conn.commit()
                self._dirty.discard(task_id)

    def remove(self, task_id: str) -> None:
        with self._tolerant():
            super().remove(task_id)
            self._conn.commit()

    def dump(self) -> None:
        with contextlib.closing(self._conn), self._tolerant():
            super().dump()

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        """A full disk stops the tasks with a message of its own; that they are not remembered either stops nothing."""
        try:
            yield
        except sqlite3.Error as error:
            log.debug("%s: what was done is not remembered: %s", self.name, error)


class _CheckedJSON(JSONCodec):  # type: ignore[misc]
    """JSON after its checksum: what SQLite does not notice, a flipped bit in a text, would stop doit in its tracks."""

    def encode(self, data: Any) -> str:
        text: str = super().encode(data)
        return f"{zlib.crc32(text.encode()):08x}{text}"

    def decode(self, data: str) -> Any:
        if int(data[:8], 16) != zlib.crc32(data[8:].encode()):
            raise ValueError("the checksum does not match")
        return super().decode(data[8:])


def _is_sound(name: str) -> bool | None:
    """Whether ``name`` is a database of ours, or a new one, undamaged. None when the disk does not let us tell or write."""
    try:
        with contextlib.closing(sqlite3.connect(name, isolation_level=None)) as connection:
            # As doit creates it, so that ours is the one that a new file has.
            connection.execute("create table if not exists doit (task_id text not null primary key, task_data json)")
            connection.execute("pragma journal_mode=wal")
            connection.execute("begin immediate")
            columns = [(row[1], row[2].lower()) for row in connection.execute("pragma table_info(doit)")]
            damage = connection.execute("pragma integrity_check").fetchall()
            for (text,) in connection.execute("select task_data from doit"):
                _CheckedJSON().decode(str(text))
            return columns == [("task_id", "text"), ("task_data", "json")] and damage == [("ok",)]
    except (sqlite3.Error, OSError, ValueError) as error:
        return None if isinstance(error, sqlite3.OperationalError) and _DISK.search(str(error)) else False


def _never() -> bool:
    return False


class SaveRunner(MThreadRunner):  # type: ignore[misc]
    """doit's thread runner, except that an unmet dependency forgets nothing, that a task may wait for others without needing
    their success (``AFTER``) or be put off (``PAUSED``), and that an interruption ends the dispatch.
    """

    def __init__(self, manager: Dependency, reporter: _Reporter, interruption: Interruption, jobs: int) -> None:
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


class _Reporter:
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


def _as_generator(tasks: Iterable[TaskDict]) -> Iterator[TaskDict]:
    for task in tasks:
        yield {**TASK_DEFAULTS, **task}


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


class Check:
    """An item of ``uptodate`` that ``doit info`` shows as ``says``, not with all the values that it is bound to."""

    def __init__(self, check: Callable[[], bool], says: str) -> None:
        self._check = check
        self._says = says

    def __call__(self) -> bool:
        return self._check()

    def __repr__(self) -> str:
        return self._says
