"""Bundle definitions as doit tasks, for any repository. Its ``dodo.py`` needs two lines:

    from pipeline.dodo import bundle_tasks
    globals().update(bundle_tasks("configs/*.yaml"))

The tasks are those of ``image-tools save -config``, from the same generators, with the same names and the same database:
what one has done, the other finds done. Several bundles share one cache, fetch a shared image once, and pack separately.
Here a bundle is packed when all its images are here, or not at all; ``image-tools save`` packs the rest when some fail.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import display, files, split, tasks
from .bundle import Bundle, BundleImage
from .definition import load
from .engine import TASK_DEFAULTS, TaskDict, delayed_creators, failed
from .errors import InputError
from .interruption import Interruption
from .resolve import known_choice
from .tar import SavedImage
from .tasks import Workshop

_RUNS = frozenset({"run", "auto"})
_OTHER_COMMANDS = frozenset("list info clean forget ignore reset-dep dumpdb tabcompletion help strace".split())


def bundle_tasks(*patterns: str) -> dict[str, Any]:
    """The task creators and ``DOIT_CONFIG`` for all definitions that match, relative to the current folder.

    Raises InputError, with all that is wrong with the definitions.
    """
    display.start_logging(debug=False)
    graph = _Graph(_bundles(patterns))
    return {
        "DOIT_CONFIG": {
            "backend": "durable",
            "dep_file": str(graph.database),
            "default_tasks": ["pack"],
            "par_type": "thread",
            "continue": True,
            "verbosity": 0,
        },
        **graph.creators(sys.argv[1:]),
    }


def _bundles(patterns: tuple[str, ...]) -> tuple[Bundle, ...]:
    paths = sorted({path for pattern in patterns for path in Path().glob(pattern)})
    if not paths:
        raise InputError([f"no bundle definition matches {', '.join(patterns)}"])
    problems: list[str] = []
    found: dict[str, Bundle] = {}
    for path in paths:
        try:
            bundles = load(path).bundles
        except InputError as error:
            problems += error.problems
            continue
        for bundle in bundles:
            if bundle.name in found:
                problems.append(f"{path}: another definition has a bundle '{bundle.name}' too")
            found[bundle.name] = bundle
    if len({bundle.cache for bundle in found.values()}) > 1:
        problems.append("the bundles name different caches; one dodo.py works on one: set 'cache' alike in 'defaults'")
    if problems:
        raise InputError(problems)
    return tuple(found.values())


def _runs_tasks(arguments: list[str]) -> bool:
    """Whether doit is going to run tasks. If not, the graph is drawn from what is known, so that nothing is asked."""
    command = next((argument for argument in arguments if argument in _RUNS | _OTHER_COMMANDS), "run")
    return command in _RUNS


class _Graph:
    """All bundles over one cache."""

    def __init__(self, bundles: tuple[Bundle, ...]) -> None:
        interruption = Interruption()
        self._shops: list[Workshop] = []
        for bundle in bundles:
            shop = Workshop(bundle, interruption, self._shops[0] if self._shops else None)
            shop.before_each = self._hold_cache
            self._shops.append(shop)
        self._cache = self._shops[0].cache
        self._held = contextlib.ExitStack()
        self._is_held = False
        self._lock = threading.Lock()
        self._cache.check()
        self.database = self._cache.database
        self.database.parent.mkdir(parents=True, exist_ok=True)

    def creators(self, arguments: list[str]) -> dict[str, Callable[[], Iterator[Any]]]:
        """The ``task_`` functions. What act 1 finds decides which tasks acts 2 and 3 have, so they are made after it.

        Two cases draw the graph from the last records instead: commands that run nothing, and, as doit matches wildcards
        only against tasks that it knows, a wildcard on a graph that is known as a whole.
        """

        def task_resolve() -> Iterator[TaskDict]:
            """act 1: what every tag names right now"""
            for wanted in self._by_reference().values():
                yield _with_defaults(tasks.resolve_task(wanted))

        def task_bundles() -> Iterator[TaskDict]:
            """acts 2 and 3: copy, index, tar, compress, split, pack"""
            yield from map(_with_defaults, self._all_after_resolve())

        if not _runs_tasks(arguments) or (any("*" in argument for argument in arguments) and self._plan_by_records()):
            return {"task_resolve": task_resolve, "task_bundles": task_bundles}
        names = ["copy", "index", "tar", "compress", "split", "pack"]
        names += [f"pack:{shop.bundle.name}" for shop in self._shops]
        return {"task_resolve": task_resolve, **delayed_creators("resolve", names, task_bundles)}

    def _plan_by_records(self) -> bool:
        """Hold the run to what the records say: a tag that turns out to have moved fails, to be run again."""
        for shop in self._shops:
            for image in shop.bundle.images:
                choice = known_choice(shop.cache, image)
                if choice is None:
                    return False
                shop.planned[image.reference] = choice
        return True

    def _by_reference(self) -> dict[str, list[tuple[Workshop, BundleImage]]]:
        wanted: dict[str, list[tuple[Workshop, BundleImage]]] = {}
        for shop in self._shops:
            for image in shop.bundle.images:
                wanted.setdefault(str(image.reference), []).append((shop, image))
        return wanted

    def _all_after_resolve(self) -> Iterator[TaskDict]:
        seen: set[str] = set()
        failures = {name for shop in self._shops for name in shop.errors}
        for shop in self._shops:
            saved: list[SavedImage] = []
            lacking: list[str] = []
            for image in shop.bundle.images:
                choice = None if f"resolve:{image.reference}" in failures else known_choice(shop.cache, image)
                if choice is None:
                    lacking.append(image.text)
                    continue
                saved.append(SavedImage(image, choice))
                yield from _new(tasks.copy_tasks(shop, image, choice), seen)
            if lacking:
                yield from _cannot_pack(shop.bundle, lacking)
            else:
                yield from tasks.pack_tasks(shop, saved)

    def _hold_cache(self) -> None:
        """Before the first task does anything: nobody else works on this cache until we end."""
        with self._lock:
            if not self._is_held:
                self._held.enter_context(files.exclusive_lock(self._cache.lock_file))
                self._cache.prepare()
                self._cache.clean_up()
                for shop in self._shops:
                    split.roll_forward(shop.state)
                self._is_held = True


def _new(made: Iterator[TaskDict], seen: set[str]) -> Iterator[TaskDict]:
    """Bundles that share an image share its copy tasks."""
    for task in made:
        name = f"{task['basename']}:{task['name']}"
        if name not in seen:
            seen.add(name)
            yield task


def _cannot_pack(bundle: Bundle, lacking: list[str]) -> Iterator[TaskDict]:
    def action() -> Any:
        return failed(f"not all images are known: {', '.join(lacking)}; 'image-tools save' packs the rest")

    yield {"basename": "pack", "name": bundle.name, "doc": f"the whole bundle {bundle.name}", "actions": [action]}


def _with_defaults(task: TaskDict) -> TaskDict:
    return {**TASK_DEFAULTS, **task}

