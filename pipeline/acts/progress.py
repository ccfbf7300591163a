"""How far a run is: fed by the engine and the tasks, read by whoever shows it.

The engine tells which tasks start and end; a copy says which blobs it lacks and where skopeo writes; ``snapshot`` looks at the
disk, so that bytes are counted while they arrive, and each blob once, however many images wait for it. What is past is kept
for the summary and the report: how long each act took (``seconds``), and who worked on what, when (``history``).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.acts.engine import Status, TaskResult
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest


@dataclass(frozen=True)
class Row:
    """One image/arch in flight. ``done`` and ``total`` in bytes."""

    label: str
    done: int
    total: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A moment of an act. Bytes are 0 of 0 where an act has none to count; tasks are those with something to do."""

    act: str
    done: int
    total: int
    tasks: int
    finished: int
    up_to_date: int
    failed: int
    rows: tuple[Row, ...]

    @property
    def waiting(self) -> int:
        return max(0, self.tasks - self.finished - self.up_to_date - self.failed - len(self.rows))


@dataclass(frozen=True, kw_only=True)
class Span:
    """A task that had something to do. Times in seconds since the run began; workers count from 1 in each act."""

    task: str
    worker: int
    start: float
    end: float
    status: Status
    size: int
    """Bytes that it fetched or packed."""


@dataclass
class _Work:
    task: str
    worker: int
    start: float
    end: float | None = None
    size: int = 0


@dataclass
class _Flight:
    label: str
    missing: Sequence[Descriptor]
    growing: Callable[[], int]
    since: float = field(default_factory=time.monotonic)


class Tracker:
    """The engine's observer. Thread-safe."""

    def __init__(self, has: Callable[[Descriptor], bool]) -> None:
        self._has = has
        self._lock = threading.Lock()
        self._flights: list[_Flight] = []
        self.started_at = time.time()
        self._origin = time.monotonic()
        self._history: list[Span] = []
        self._open: dict[str, _Work] = {}
        self._seconds: dict[str, float] = {}
        self._act = ""
        self._act_since: float | None = None
        self.begin("", 0, 0, "")

    def begin(self, act: str, tasks: int, total: int, counted: str) -> None:
        """Start an act of ``tasks`` tasks and ``total`` bytes; only tasks named ``counted:…`` count."""
        self.end()
        with self._lock:
            self._act, self._tasks, self._total, self._counted_task = act, tasks, total, f"{counted}:"
            self._act_since = self._now()
            self._workers: dict[int, _Work] = {}
            self._done = 0
            self._arrived: set[Digest] = set()
            self._results: Counter[Status] = Counter()

    def end(self) -> None:
        """The act is over; the time until the next one begins is nobody's."""
        with self._lock:
            if self._act and self._act_since is not None:
                self._seconds[self._act] = self._seconds.get(self._act, 0.0) + self._now() - self._act_since
            self._act_since = None

    @property
    def seconds(self) -> Mapping[str, float]:
        """How long each act took, those that are over."""
        with self._lock:
            return dict(self._seconds)

    @property
    def history(self) -> tuple[Span, ...]:
        """All tasks that ended, in that order. What was up to date is not among them: there was nothing to do."""
        with self._lock:
            return tuple(self._history)

    def started(self, task: str) -> None:
        log.debug("%s: started", task)
        with self._lock:
            thread, now = threading.get_ident(), self._now()
            before = self._workers.get(thread)
            if before is not None and before.end is None:
                before.end = now  # the engine hears of it a moment later
            worker = before.worker if before is not None else len(self._workers) + 1
            self._workers[thread] = self._open[task] = _Work(task, worker, now)

    def finished(self, task: str, result: TaskResult) -> None:
        log.debug("%s: %s", task, result.message or result.status.value)
        with self._lock:
            if task.startswith(self._counted_task):
                self._results[result.status] += 1
            work = self._open.pop(task, None)
            if work is not None:
                work.end = self._now() if work.end is None else work.end
                self._history.append(
                    Span(task=task, worker=work.worker, start=work.start, end=work.end, status=result.status, size=work.size)
                )

    def add(self, size: int) -> None:
        """Count bytes that were dealt with."""
        with self._lock:
            self._done += size

    def credit(self, task: str, size: int) -> None:
        """Say how many bytes ``task``, which is at work, has dealt with."""
        with self._lock:
            if task in self._open:
                self._open[task].size = size

    def _now(self) -> float:
        return time.monotonic() - self._origin

    @contextlib.contextmanager
    def transfer(self, label: str, missing: Sequence[Descriptor], growing: Callable[[], int]) -> Iterator[None]:
        """A copy of what is ``missing``; ``growing`` tells the bytes in files that are not complete yet."""
        flight = _Flight(label, missing, growing)
        with self._lock:
            self._flights.append(flight)
        try:
            yield
        finally:
            with self._lock:
                self._count_arrived(flight)
                self._flights.remove(flight)

    def snapshot(self) -> Snapshot:
        with self._lock:
            rows = tuple(self._row(flight) for flight in self._flights)
            growing = sum(row.done for row in rows) - sum(self._here(flight) for flight in self._flights)
            return Snapshot(
                act=self._act,
                done=min(self._total, self._done + growing) if self._total else 0,
                total=self._total,
                tasks=self._tasks,
                finished=self._results[Status.DONE],
                up_to_date=self._results[Status.UP_TO_DATE],
                failed=self._results[Status.FAILED] + self._results[Status.UNMET],
                rows=rows,
            )

    def _row(self, flight: _Flight) -> Row:
        self._count_arrived(flight)
        total = sum(blob.size for blob in flight.missing)
        return Row(flight.label, min(total, self._here(flight) + flight.growing()), total, time.monotonic() - flight.since)

    def _here(self, flight: _Flight) -> int:
        return sum(blob.size for blob in flight.missing if blob.digest in self._arrived)

    def _count_arrived(self, flight: _Flight) -> None:
        for blob in flight.missing:
            if blob.digest not in self._arrived and self._has(blob):
                self._arrived.add(blob.digest)
                self._done += blob.size
