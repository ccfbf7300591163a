"""The edge to doit: what is remembered and when, what is survived, and that doit still is what we build on."""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import doit
import doit.runner
import pytest
from doit.dependency import Dependency, JSONCodec, MD5Checker, SqliteDB
from doit.runner import MThreadRunner, Runner

from pipeline.acts import engine
from pipeline.acts.engine import AFTER, DurableDB, SaveRunner, Status, TaskDict, TaskResult, failed, unchanged
from pipeline.core.errors import Interrupted
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from tests.support.run import ROOT, spawn

CHILD = """
import resource, sys, threading
from pathlib import Path
from pipeline.acts import engine
from pipeline.core.interruption import Interruption

class Observer:
    def started(self, task): pass
    def finished(self, task, result): print(task, result.status.value, flush=True)

def fill_disk():  # a limit on the size of files stands in for it; Python ignores its signal
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))

def tasks(mode):
    for number in range(8):
        action = fill_disk if mode == "full" else (lambda: None)
        uptodate = [engine.unchanged(number=number)]
        yield {"basename": "quick", "name": str(number), "actions": [action], "file_dep": ["input"], "uptodate": uptodate}
    for number in range(4):
        action = threading.Event().wait if mode == "block" else (lambda: None)
        yield {"basename": "slow", "name": str(number), "actions": [action], "file_dep": ["input"]}

results = engine.run(tasks(sys.argv[1]), jobs=4, database=Path("state/db"), observer=Observer(), interruption=Interruption())
print("ended", len(results), flush=True)
"""


class Seen:
    """An observer that remembers, and on which threads it was told."""

    def __init__(self) -> None:
        self.started_on: dict[str, int] = {}
        self.finished_on: dict[str, int] = {}
        self.order: list[str] = []

    def started(self, task: str) -> None:
        self.started_on[task] = threading.get_ident()

    def finished(self, task: str, result: TaskResult) -> None:
        self.finished_on[task] = threading.get_ident()
        self.order.append(task)


@pytest.fixture
def work(clean_environment: Path) -> Path:
    (clean_environment / "input").write_text("input")
    return clean_environment


def run(tasks: list[TaskDict], jobs: int = 2, interruption: Interruption | None = None) -> Mapping[str, TaskResult]:
    return engine.run(tasks, jobs=jobs, database=Path("state/db"), observer=Seen(), interruption=interruption or Interruption())


def statuses(results: Mapping[str, TaskResult]) -> dict[str, Status]:
    return {name: result.status for name, result in results.items()}


def task(name: str, action: Callable[[], Any] = lambda: None, **more: Any) -> TaskDict:
    return {"basename": "t", "name": name, "actions": [action], **more}


def noted(count: int = 8) -> list[TaskDict]:
    return [task(str(number), file_dep=["input"], uptodate=[unchanged(number=number)]) for number in range(count)]


# A run


def test_tasks_run_or_are_up_to_date_and_groups_are_no_results(work: Path) -> None:
    assert statuses(run(noted())) == {f"t:{number}": Status.DONE for number in range(8)}
    assert statuses(run(noted())) == {f"t:{number}": Status.UP_TO_DATE for number in range(8)}
    (work / "input").write_text("changed")
    assert set(statuses(run(noted())).values()) == {Status.DONE}
    assert all(result.ok for result in run(noted()).values())


def test_a_changed_input_that_no_file_carries(work: Path) -> None:
    def one(**values: Any) -> Status:
        return run([task("a", file_dep=["input"], uptodate=[unchanged(**values)])])["t:a"].status

    assert [one(order=[1, 2]), one(order=[1, 2]), one(order=[2, 1]), one(order=[2, 1])] == [
        Status.DONE,
        Status.UP_TO_DATE,
        Status.DONE,
        Status.UP_TO_DATE,
    ]


def test_a_failure_stops_nothing_else_and_says_why(work: Path) -> None:
    results = run(
        [
            task("bad", lambda: failed("the reason\nTIP: a tip")),
            task("below", task_dep=["t:bad"]),
            task("farther", task_dep=["t:below"]),
            task("beside"),
        ]
    )
    assert results["t:bad"] == TaskResult(Status.FAILED, "the reason\nTIP: a tip")
    assert results["t:below"] == results["t:farther"] == TaskResult(Status.UNMET)
    assert results["t:beside"] == TaskResult(Status.DONE)
    assert [results[f"t:{name}"].ok for name in ("bad", "below", "beside")] == [False, False, True]


def test_a_bug_in_an_action_is_a_failure_without_a_traceback(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug() -> None:
        raise ValueError("a bug")

    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "level", logging.DEBUG)
    log.manager._clear_cache()  # type: ignore[attr-defined]
    results = run([task("bug", bug), task("beside")])
    log.manager._clear_cache()  # type: ignore[attr-defined]
    assert results["t:bug"] == TaskResult(Status.FAILED, "this should not happen: ValueError: a bug")
    assert results["t:beside"].ok
    assert any("Traceback" in text and "def bug" not in text for text in heard), "-debug shows it"


def test_a_file_that_is_missing_is_a_failure_that_names_it(work: Path) -> None:
    result = run([task("a", file_dep=["missing"])])["t:a"]
    assert result.status is Status.FAILED
    assert "missing" in result.message


def test_a_task_may_wait_for_another_without_needing_its_success(work: Path) -> None:
    order: list[str] = []

    def act(name: str, result: Any = None) -> Callable[[], Any]:
        def action() -> Any:
            order.append(name)
            return result

        return action

    results = run(
        [
            task("after", act("after"), task_dep=["t:bad"], meta={AFTER: ["t:bad"]}),
            task("both", act("both"), task_dep=["t:bad", "t:good"], meta={AFTER: ["t:good"]}),
            task("bad", act("bad", failed("no"))),
            task("good", act("good")),
            task("later", act("later"), task_dep=["t:after"]),
        ],
        jobs=4,
    )
    assert statuses(results) == {
        "t:bad": Status.FAILED,
        "t:after": Status.DONE,
        "t:both": Status.UNMET,
        "t:good": Status.DONE,
        "t:later": Status.DONE,
    }
    assert order.index("bad") < order.index("after") < order.index("later")


def test_named_tasks_come_in_order_so_that_the_first_piece_is_whole_before_the_last_is_begun(work: Path) -> None:
    """Ten images of three blobs each, named by their last task; one blob is everybody's."""
    events: list[str] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: events.append(name)

    def fetch(blob: str) -> TaskDict:
        return {"basename": "fetch", "name": blob, "actions": [note(f"fetch:{blob}")]}

    fetches = [fetch("all"), *(fetch(f"{image}.{number}") for image in range(10) for number in (1, 2))]
    copies = [
        {
            "basename": "copy",
            "name": str(image),
            "actions": [note(f"copy:{image}")],
            "task_dep": ["fetch:all", f"fetch:{image}.1", f"fetch:{image}.2"],
        }
        for image in range(10)
    ]
    engine.run(
        [*fetches, *copies],
        [f"copy:{image}" for image in range(10)],
        jobs=2,
        database=work / "db",
        observer=Seen(),
        interruption=Interruption(),
    )
    assert sorted(events) == sorted(f"{task['basename']}:{task['name']}" for task in [*fetches, *copies])
    assert events.index("copy:0") < events.index("fetch:9.1")


def test_a_fetch_stands_in_no_database(work: Path) -> None:
    tasks = [{"basename": "fetch", "name": "sha256:1", "actions": [lambda: None]}, *noted(1)]
    engine.run(tasks, jobs=1, database=work / "db", observer=Seen(), interruption=Interruption())
    with sqlite3.connect(work / "db") as connection:
        assert [name for (name,) in connection.execute("select task_id from doit")] == ["t:0"]


def test_who_is_told_what_on_which_thread(work: Path) -> None:
    seen = Seen()
    tasks = [task("a"), task("b"), {"basename": "all", "actions": None, "task_dep": ["t:a", "t:b"]}]
    engine.run(tasks, jobs=2, database=work / "db", observer=seen, interruption=Interruption())
    assert set(seen.started_on) == {"t:a", "t:b"}
    assert threading.get_ident() not in seen.started_on.values()
    assert set(seen.finished_on) == {"t:a", "t:b", "all"}
    assert set(seen.finished_on.values()) == {threading.get_ident()}
    assert seen.order[-1] == "all"


def test_standard_output_is_neither_captured_nor_replaced(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (sys.stdout, sys.stderr)
    seen: list[bool] = []

    def act() -> None:
        seen.append((sys.stdout, sys.stderr) == before)
        print("out\n", end="")  # one write: with two, threads mix lines and ends
        print("err\n", end="", file=sys.stderr)

    run([task(str(number), act) for number in range(20)], jobs=4)
    assert seen == [True] * 20
    assert (sys.stdout, sys.stderr) == before
    assert capfd.readouterr() == ("out\n" * 20, "err\n" * 20)


def test_all_jobs_work_at_once_and_no_more(work: Path) -> None:
    meeting = threading.Barrier(4, timeout=10)
    run([task(str(number), lambda: bool(meeting.wait()) and None) for number in range(8)], jobs=4)
    running: list[int] = []
    most: list[int] = []

    def act() -> None:
        running.append(1)
        most.append(len(running))
        running.pop()

    run([task(str(number), act) for number in range(20)], jobs=1)
    assert max(most) == 1


def test_an_interruption_ends_the_dispatch_and_keeps_what_was_done(work: Path) -> None:
    interruption = Interruption()
    ran: list[int] = []

    def act(number: int) -> None:
        ran.append(number)
        if number == 4:
            interruption.request(signal.SIGINT)

    def tasks() -> list[TaskDict]:
        return [task(f"{number:02}", partial(act, number), file_dep=["input"]) for number in range(40)]

    results = run(tasks(), jobs=2, interruption=interruption)
    assert 5 <= len(ran) < 10
    assert sorted(results) == [f"t:{number:02}" for number in sorted(ran)], "what ran is told, what did not is not"
    with pytest.raises(Interrupted):
        interruption.check()
    count = len(ran)
    again = Counter(run(tasks()).values())
    assert again == {TaskResult(Status.UP_TO_DATE): count, TaskResult(Status.DONE): 40 - count}


def test_an_interruption_before_the_start_runs_nothing(work: Path) -> None:
    interruption = Interruption()
    interruption.request(signal.SIGTERM)
    assert run(noted(), interruption=interruption) == {}


@pytest.mark.parametrize("name", ["doit.cfg", "pyproject.toml"])
def test_a_configuration_of_doit_in_the_current_folder_has_no_influence(work: Path, name: str) -> None:
    section = "GLOBAL" if name == "doit.cfg" else "tool.doit"
    quote = "" if name == "doit.cfg" else '"'
    text = f"[{section}]\nbackend = {quote}json{quote}\ndep_file = {quote}elsewhere.db{quote}\nverbosity = 2\nnum_process = 0\n"
    (work / name).write_text(text)
    (work / "dodo.py").write_text("raise RuntimeError('not ours')\n")
    assert run(noted())["t:0"].status is Status.DONE
    assert run(noted())["t:0"].status is Status.UP_TO_DATE
    assert {entry.name for entry in work.iterdir()} == {"input", "state", "dodo.py", name}


def test_the_overhead_of_tasks(work: Path, record_property: Callable[[str, object], None]) -> None:
    """No limit is asserted; ``--junitxml`` shows the seconds."""
    import time

    for what in ("first", "again"):
        started = time.monotonic()
        results = run(noted(500), jobs=4)
        record_property(what, time.monotonic() - started)
        assert set(results.values()) == {TaskResult(Status.DONE if what == "first" else Status.UP_TO_DATE)}


# What is remembered


@pytest.mark.parametrize("before", [None, b"garbage" * 5000], ids=["new", "after-damage"])
def test_a_kill_in_mid_run_forgets_nothing_that_was_done(work: Path, before: bytes | None) -> None:
    if before is not None:
        (work / "state").mkdir()
        (work / "state/db").write_bytes(before)
        (work / "state/db-wal").write_bytes(before)
    with spawn("block", command=(sys.executable, "-c", CHILD)) as running:
        running.wait_for("quick:7 done")
        running.signal(signal.SIGKILL)
        killed = running.wait()
    assert killed.code == -signal.SIGKILL
    assert len(re.findall("quick:. done", killed.stdout)) == 8
    again = run([{**each, "basename": "quick"} for each in noted()])
    assert statuses(again) == {f"quick:{number}": Status.UP_TO_DATE for number in range(8)}


def test_a_disk_that_takes_no_more_costs_the_memo_not_the_run(work: Path) -> None:
    # Through pipes: its own files have to stay small.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", CHILD, "full"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    *told, last = done.stdout.splitlines()
    assert last == "ended 12"
    assert {line.partition(" ")[2] for line in told} == {"done"}
    assert len(run([{**each, "basename": "quick"} for each in noted()])) == 8


def test_an_unmet_dependency_forgets_nothing(work: Path) -> None:
    def tasks(works: bool) -> list[TaskDict]:
        return [
            task("up", lambda: None if works else failed("no"), uptodate=[False]),
            task("down", task_dep=["t:up"], file_dep=["input"]),
            task("farther", task_dep=["t:down"], file_dep=["input"]),
        ]

    run(tasks(True))
    assert statuses(run(tasks(False))) == {"t:up": Status.FAILED, "t:down": Status.UNMET, "t:farther": Status.UNMET}
    assert statuses(run(tasks(True))) == {"t:up": Status.DONE, "t:down": Status.UP_TO_DATE, "t:farther": Status.UP_TO_DATE}


def test_a_failure_is_remembered_as_nothing_done(work: Path) -> None:
    def tasks(works: bool) -> list[TaskDict]:
        return [task("a", lambda: None if works else failed("no"), file_dep=["input"])]

    run(tasks(True))
    (work / "input").write_text("changed")
    assert run(tasks(False))["t:a"].status is Status.FAILED
    (work / "input").write_text("input")
    assert run(tasks(True))["t:a"].status is Status.DONE, "the state before the failure does not count"


def test_the_database_is_one_that_sqlite_reads(work: Path) -> None:
    run(noted(3))
    connection = sqlite3.connect("state/db")
    assert connection.execute("select count(*) from doit where task_id like 't:%'").fetchone() == (3,)
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    connection.close()


# What is survived


def damages(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "garbage", b"\x5a" * len(data)
    yield "text", b"no database at all\n"
    yield "header only", data[:100]
    yield "half", data[: len(data) // 2]
    yield "one byte short", data[:-1]
    yield "one page short", data[:-4096]
    yield "no header", b"\0" * 100 + data[100:]
    yield "zeros at the end", data[:-4096] + b"\0" * 4096
    used = [position for position, byte in enumerate(data) if byte]
    # In the header, the schema, the index and the rows; both every bit and one bit of a byte.
    for position in [*range(16, 28, 3), *used[:: len(used) // 16]]:
        for mask in (0xFF, 0x01):
            yield f"{position}^{mask}", data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def test_no_damage_to_the_database_stops_a_run(work: Path) -> None:
    run(noted(4))
    database = work / "state/db"
    data = database.read_bytes()
    for name, damaged in damages(data):
        database.write_bytes(damaged)
        results = run(noted(4))
        assert {result.ok for result in results.values()} == {True}, name
        assert len(results) == 4, name
    assert set(statuses(run(noted(4))).values()) == {Status.UP_TO_DATE}


def test_damage_costs_the_memo_once(work: Path) -> None:
    run(noted(4))
    data = (work / "state/db").read_bytes()
    no_index = data[:-4096] + b"\0" * 4096
    for damaged in (b"garbage" * 5000, b"SQLite format 3\0" + b"\0" * 8000, no_index):
        (work / "state/db").write_bytes(damaged)
        assert set(statuses(run(noted(4))).values()) == {Status.DONE}
        assert set(statuses(run(noted(4))).values()) == {Status.UP_TO_DATE}


def test_a_flipped_bit_in_a_row_is_noticed(work: Path) -> None:
    """SQLite has no checksums: such a row is sound to it, and doit would trip over a state of the wrong shape."""
    run(noted(4))
    connection = sqlite3.connect("state/db")
    (text,) = connection.execute("select task_data from doit where task_id = 't:0'").fetchone()
    damaged = re.sub(r"(\[\d+\.\d+), (\d+, )", r"\g<1>0\g<2>", text)
    assert len(damaged) == len(text) - 1, "a time and a size became one number"
    with connection:
        connection.execute("update doit set task_data = ? where task_id = 't:0'", [damaged])
    connection.close()
    assert all(result.ok for result in run(noted(4)).values())


def test_a_database_of_another_shape_is_replaced(work: Path) -> None:
    (work / "state").mkdir()
    for statement in (
        "create table doit (task_id text not null primary key, task_data text)",
        "create table doit (name text)",
        "create view doit as select 1",
    ):
        (work / "state/db").unlink(missing_ok=True)
        connection = sqlite3.connect("state/db")
        connection.execute(statement)
        connection.close()
        assert set(statuses(run(noted(2))).values()) == {Status.DONE}
        assert set(statuses(run(noted(2))).values()) == {Status.UP_TO_DATE}


def test_a_place_where_no_database_can_be_means_no_memory(work: Path) -> None:
    (work / "state/db/below").mkdir(parents=True)
    for _ in range(2):
        assert set(statuses(run(noted(4))).values()) == {Status.DONE}


# doit as we know it


def parameters(function: Callable[..., Any]) -> list[str]:
    return [str(parameter) for parameter in inspect.signature(function).parameters.values()]


def test_the_version_of_doit_is_the_one_that_was_looked_at() -> None:
    assert doit.__version__[:2] == (0, 37)


def test_each_point_of_doit_that_is_overridden_is_there() -> None:
    expected: dict[Callable[..., Any], list[str]] = {
        SqliteDB.__init__: ["self", "name", "codec", "*", "module_name=None"],
        SqliteDB._sqlite3: ["self", "name"],
        SqliteDB._get_task_data: ["self", "task_id"],
        SqliteDB.set: ["self", "task_id", "dependency", "value"],
        SqliteDB.remove: ["self", "task_id"],
        SqliteDB.dump: ["self"],
        JSONCodec.encode: ["self", "data"],
        JSONCodec.decode: ["self", "data"],
        MThreadRunner.get_next_job: ["self", "completed"],
        MThreadRunner._handle_task_error: ["self", "node", "base_fail"],
        MThreadRunner.select_task: ["self", "node", "tasks_dict"],
        MThreadRunner.__init__: [
            *("self", "dep_manager", "reporter", "continue_=False", "always_execute=False", "stream=None", "num_process=1")
        ],
    }
    found = {function.__qualname__: parameters(function) for function in expected}
    known = {function.__qualname__: [each for each in names if each != "*"] for function, names in expected.items()}
    assert {name: [each for each in names if each != "*"] for name, names in found.items()} == known


def test_whatever_is_overridden_overrides_something() -> None:
    for ours, theirs in ((DurableDB, SqliteDB), (SaveRunner, MThreadRunner)):
        own = {name for name, value in vars(ours).items() if callable(value) and not name.startswith("__")}
        new = {"_tolerant"}
        assert {name for name in own - new if not hasattr(theirs, name)} == set()


def test_the_attributes_of_doit_that_are_used_are_there(work: Path) -> None:
    database = SqliteDB(str(work / "db"), JSONCodec())
    assert (database._cache, database._dirty, database.name) == ({}, set(), str(work / "db"))
    assert isinstance(database._conn, sqlite3.Connection)
    database.dump()
    runner = MThreadRunner(None, None, continue_=True, num_process=2)
    assert (runner._stop_running, runner.continue_, runner.num_process) == (False, True, 2)


def test_a_tasks_last_key_is_the_one_that_is_waited_for(work: Path) -> None:
    """If doit set anything after ``deps:``, a kill would forget it."""
    (work / "other").write_text("other")
    manager = Dependency(DurableDB, str(work / "db"), checker_cls=MD5Checker)
    for made in ({"name": "a", "file_dep": ["input", "other"]}, {"name": "b"}):
        done = doit.task.dict_to_task({"actions": None, **made})
        done.values = {"some": "value"}
        done.result = "a result"
        manager.save_success(done)
        assert manager.backend._dirty == set()
    manager.close()


def test_our_reporter_answers_all_that_the_runner_asks() -> None:
    asked = set(re.findall(r"self\.reporter\.(\w+)\(", inspect.getsource(doit.runner)))
    assert {"add_failure", "add_success", "execute_task", "get_status", "skip_uptodate"} <= asked
    # initialize is optional; no task of ours has a teardown, which would ask for teardown_task.
    assert asked - set(dir(engine.reporter.Reporter)) == {"initialize", "teardown_task"}
    assert "hasattr(self.reporter, 'initialize')" in inspect.getsource(Runner.run_all)


def test_plain_doit_finds_the_database() -> None:
    (entry,) = importlib.metadata.entry_points(group="doit.BACKEND", name="durable")
    assert entry.load() is DurableDB
