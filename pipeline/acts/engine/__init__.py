"""The edge to doit: the only importer of its runner, database and reporter.

Takes task dictionaries (as any ``dodo.py`` yields them), returns what became of each task. Guarantees, none of which stock
doit 0.37 gives:

- what a task achieved is remembered the moment it ends, so that ``kill -9`` forgets nothing (``database``);
- what 'doit ignore' was told is no reason to leave out what a save is asked for (``database``);
- a damaged database costs what it remembered, never the run: the cache is the truth (``database``);
- an unmet dependency does not make doit forget what the dependents achieved earlier (``runner``);
- an interruption stops the dispatch, lets the running tasks come back, and saves (``runner``).

doit's capture of output is broken under threads: every task is made by ``with_defaults``.
"""

from pipeline.acts.engine.database import DurableDB
from pipeline.acts.engine.reporter import Observer, Status, TaskResult
from pipeline.acts.engine.runner import SaveRunner, failed, put_off, run
from pipeline.acts.engine.tasks import (
    AFTER,
    PAUSED,
    TaskDict,
    delayed_creators,
    dodo_problem,
    selected,
    unchanged,
    with_defaults,
)

__all__ = [
    "AFTER",
    "PAUSED",
    "DurableDB",
    "Observer",
    "SaveRunner",
    "Status",
    "TaskDict",
    "TaskResult",
    "delayed_creators",
    "dodo_problem",
    "failed",
    "put_off",
    "run",
    "selected",
    "unchanged",
    "with_defaults",
]
