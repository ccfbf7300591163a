"""Bundle definitions as doit tasks, for any repository. Its ``dodo.py`` needs two lines:

    from pipeline.dodo import bundle_tasks
    globals().update(bundle_tasks("configs/*.yaml"))

The tasks are those of ``image-tools save -config``, from the same generators, with the same names and the same database:
what one has done, the other finds done. Several bundles share one cache, fetch a shared image once, and pack separately.
Here a bundle is packed when all its images are here, or not at all; ``image-tools save`` packs the rest when some fail.
"""

from __future__ import annotations

import contextlib
import glob
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.acts import engine
from pipeline.acts.engine import TaskDict, delayed_creators, dodo_problem, failed, with_defaults
from pipeline.acts.save import copy_tasks, pack_tasks, resolve_tasks, selection
from pipeline.acts.save.tasks import SaveContext
from pipeline.config import digest_lock
from pipeline.config.definition import conflicts, load
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.errors import EnvironmentProblem, ImageToolsError, InputError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Descriptor, Digest
from pipeline.core.reference import Reference
from pipeline.steps import split
from pipeline.steps.images.choose import Choice
from pipeline.steps.images.chosen import ChosenImage
from pipeline.storage import image_lock, locks
from pipeline.storage.records.packed import read_finished
from pipeline.ui import terminal

_ACT_1 = "_act_1"
"""The task that acts 2 and 3 wait for: act 1 of what is selected. ``doit list`` does not show it."""
GROUPS = {
    "fetch": "act 2: fetch the blobs that are missing",
    "copy": "act 2: copy the images, one platform each",
    "index": "act 2: write the index of each image",
    "tar": "act 3: lay out the archives",
    "compress": "act 3: write the archives",
    "split": "act 3: give archives and volumes their names and checksums",
    "parity": "act 3: make recovery files, where they are asked for",
    "sign": "act 3: sign slips, where they are asked for",
    "pack": "the whole bundles",
}
"""The group tasks of acts 2 and 3."""

_UNKNOWN = Choice(top=Descriptor("", Digest("sha256", "0" * 64), 0), platforms=())
"""Of an image that no run has resolved: enough to draw its tasks, never to run them."""


def bundle_tasks(*patterns: str, locked: bool = False) -> dict[str, Any]:
    """The task creators and ``DOIT_CONFIG`` for all definitions that match, relative to the current folder.

    That is the folder of dodo.py, unless doit is told another with ``--dir``. With ``locked`` the bundles are what their
    locks say, whatever the tags say today. What is wrong with definitions and locks is raised so that doit shows it as it is.
    """
    terminal.start_logging(debug=False)
    try:
        _refuse_processes(sys.argv[1:])
        pack_tasks.source_date_epoch()
        bundles = _bundles(patterns)
        graph = _Graph(digest_lock.apply(bundles) if locked else bundles, sys.argv[1:])
    except ImageToolsError as error:
        raise dodo_problem(str(error)) from error
    jobs = max(bundle.jobs for bundle in bundles)
    return {
        "DOIT_CONFIG": {
            "backend": "durable",
            "dep_file": str(graph.database),
            # All of them, not just 'pack': 'doit forget' forgets these, and no others.
            "default_tasks": ["resolve", *(["referrers"] if graph.asks_for_referrers else []), *GROUPS],
            "num_process": jobs if jobs > 1 else 0,
            "par_type": "thread",
            "continue": True,
            "verbosity": 0,
        },
        **graph.creators(),
    }


def _bundles(patterns: tuple[str, ...]) -> tuple[Bundle, ...]:
    # Path.glob takes no absolute pattern.
    names = {name for pattern in patterns for name in glob.glob(pattern, recursive=True)}  # noqa: PTH207
    paths = sorted(Path(name) for name in names if not name.endswith(image_lock.SUFFIX))
    if not paths:
        raise InputError([f"no bundle definition matches {', '.join(patterns)} in {Path.cwd()}"])
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
            found.setdefault(bundle.name, bundle)
    if len({bundle.cache for bundle in found.values()}) > 1:
        problems.append("the bundles name different caches; one dodo.py works on one: set 'cache' alike in 'defaults'")
    problems += [problem for _, problem in conflicts(found.values())]
    problems += _policies(found.values())
    problems += [
        f"the bundle '{bundle.name}' names a range of tags ({each.image.reference.name} {each.tags}), which plain doit "
        "does not resolve: use 'image-tools save', or name the tags"
        for bundle in found.values()
        for each in bundle.candidates
        if each.tags
    ]
    if problems:
        raise InputError(problems)
    return tuple(found.values())


def _policies(bundles: Iterable[Bundle]) -> Iterator[str]:
    """Bundles share the copy of an image, which is held to one policy, or to none."""
    first: dict[Reference, Bundle] = {}
    for each in bundles:
        for image in each.images:
            other = first.setdefault(image.reference, each)
            if other.access.policy != each.access.policy:
                names = f"'{other.name}' and '{each.name}'"
                yield f"{image.reference} is in {names}, which share it here: give both the same 'require-signed'"


def _refuse_processes(arguments: list[str]) -> None:
    """doit's processes cannot share a cache, and hang where a task holds what cannot be sent to them."""
    text = " ".join(arguments)
    if any(option in text for option in ("-P process", "-Pprocess", "--parallel-type=process", "--parallel-type process")):
        raise UsageError("these tasks share a cache, and so a process: use 'doit -n N -P thread'")


class _Graph:
    """All bundles over one cache. Where tasks run, only what is selected is asked for, locked and made."""

    def __init__(self, bundles: tuple[Bundle, ...], arguments: list[str]) -> None:
        interruption = Interruption()
        self._runs = selection.runs_tasks(arguments)
        self._selected = engine.selected(arguments) if self._runs else ()
        self._needed = selection.needed(bundles, self._selected)
        self._shops: list[SaveContext] = []
        for bundle in bundles:
            context = SaveContext(bundle, interruption, self._shops[0] if self._shops else None)
            context.before_each = self._hold_cache
            self._shops.append(context)
        self._cache = self._shops[0].cache
        self._held = contextlib.ExitStack()
        self._is_paused = False
        self._lock = threading.Lock()
        self._cache.check()
        self.database = self._cache.database
        self.database.parent.mkdir(parents=True, exist_ok=True)

    @property
    def asks_for_referrers(self) -> bool:
        return any(context.bundle.referrers is not None for context in self._shops)

    @property
    def _needed_contexts(self) -> list[SaveContext]:
        return [context for context in self._shops if context.bundle.name in self._needed]

    def creators(self) -> dict[str, Callable[[], Iterator[Any]]]:
        """The ``task_`` functions. What act 1 finds decides which tasks acts 2 and 3 have, so they are made after it.

        Two cases draw the graph from the last records instead: commands that run nothing, and, as doit matches wildcards
        only against tasks that it knows, a wildcard on a graph that is known as a whole.
        """

        def task_resolve() -> Iterator[TaskDict]:
            """act 1: what every tag names right now"""
            yield {"basename": "probe", "name": None, "doc": "act 1: whether the registries answer and let us in"}
            made = resolve_tasks.act_1(list(self._by_reference().values()))
            yield from (with_defaults(task) for task in made if task["basename"] != "referrers")

        def task_bundles() -> Iterator[TaskDict]:
            for group, doc in GROUPS.items():
                yield {"basename": group, "name": None, "doc": doc}
            yield from map(with_defaults, self._all_after_resolve())

        def task_referrers() -> Iterator[TaskDict]:
            """act 1: what refers to the images right now"""
            yield {"basename": "referrers", "name": None, "doc": task_referrers.__doc__}
            for context in self._shops:
                for image in context.bundle.images:
                    if image.referrers is not None:
                        yield with_defaults(resolve_tasks.referrers_task(context, image))

        def task_act_1() -> Iterator[TaskDict]:
            yield {"basename": _ACT_1, "actions": None, "task_dep": self._needed_of_act_1()}

        first: dict[str, Callable[[], Iterator[Any]]] = {"task_resolve": task_resolve}
        if self.asks_for_referrers:
            first["task_referrers"] = task_referrers
        if not self._runs or (any("*" in name for name in self._selected) and self._plan_by_records()):
            return {**first, "task_bundles": task_bundles}
        whole = [name for name, images in self._needed.items() if len(images) == len(self._bundle(name).images)]
        names = [*GROUPS, *(f"{group}:{name}" for name in whole for group in selection.WHOLE)]
        return {**first, "task_act_1": task_act_1, **delayed_creators(_ACT_1, names, task_bundles)}

    def _bundle(self, name: str) -> Bundle:
        return next(context.bundle for context in self._shops if context.bundle.name == name)

    def _needed_of_act_1(self) -> list[str]:
        """Act 1 of what is selected."""
        names: dict[str, None] = {}
        for bundle, images in self._needed.items():
            for image in images:
                names[f"resolve:{image.reference}"] = None
                if image.referrers is not None:
                    names[f"referrers:{bundle}:{image.reference}"] = None
        return list(names)

    def _plan_by_records(self) -> bool:
        """Hold the run to what the records say: a tag that turns out to have moved fails, to be run again."""
        for context in self._needed_contexts:
            chosen = {item.image.reference: item for item in context.chosen(context.bundle.images)}
            if not all(image.reference in chosen for image in context.bundle.images):
                return False
            context.planned.update(chosen)
        return True

    def _by_reference(self) -> dict[str, list[tuple[SaveContext, BundleImage]]]:
        """Each image with all bundles that hold it; where it is selected, with those alone that need it."""
        every: dict[str, list[tuple[SaveContext, BundleImage]]] = {}
        for context in self._shops:
            for image in context.bundle.images:
                every.setdefault(str(image.reference), []).append((context, image))
        for name, holders in every.items():
            needed = [(context, image) for context, image in holders if image in self._needed.get(context.bundle.name, ())]
            every[name] = needed or holders
        return every

    def _all_after_resolve(self) -> Iterator[TaskDict]:
        """Where nothing is run, an image that is not known yet has all its tasks but for the copies."""
        seen: set[str] = set()
        failures = {name for context in self._shops for name in context.errors}
        for context in self._needed_contexts:
            images = self._needed[context.bundle.name]
            wanted = [image for image in images if failures.isdisjoint(resolve_tasks.task_names(context, image))]
            chosen = context.chosen(wanted)
            known = {item.image.reference for item in chosen}
            unknown = [image for image in images if image.reference not in known]
            if not self._runs:
                chosen = [*chosen, *(ChosenImage(image, _UNKNOWN, ()) for image in unknown)]
            fetches = copy_tasks.find_fetches(context, chosen) if self._runs else copy_tasks.NO_FETCHES
            yield from _new(copy_tasks.fetch_tasks(context, fetches), seen)
            for item in chosen:
                yield from _new(copy_tasks.copy_tasks(context, item, fetches), seen)
            lacking = [image.text for image in unknown] if self._runs else []
            if len(images) < len(context.bundle.images):
                continue  # some images of it are selected, not the bundle
            if lacking:
                yield from _cannot_pack(context.bundle, lacking)
            else:
                for task in pack_tasks.pack_tasks(context, chosen):
                    yield {**task, "clean": [self._cleaner(context)]} if task["basename"] == "split" else task

    def _hold_cache(self) -> None:
        """Before the first task does anything: nobody else works on this cache until we end."""
        with self._lock:
            if not self._is_paused:
                # All of it or nothing: a lock that is left over from a failure would be in the way of the next task.
                with contextlib.ExitStack() as stack:
                    stack.enter_context(locks.lock_cache(self._cache))
                    for context in self._needed_contexts:
                        stack.enter_context(context.destination_locked())
                        context.begin()
                        context.remember(context.bundle.images)
                    self._held = stack.pop_all()
                self._is_paused = True

    def _cleaner(self, context: SaveContext) -> Callable[[bool], None]:
        """``doit clean``: the finished files, where they are still as we left them. The cache keeps all that was fetched."""

        def remove_finished_files(dryrun: bool) -> None:
            finished = read_finished(context.state.output)
            for file in finished.files if finished else ():
                if file.is_in_place:
                    print(f"{'would remove' if dryrun else 'removing'} {file.name}")
            if dryrun:
                return
            try:
                self._hold_cache()
            except EnvironmentProblem as error:
                print(f"nothing is removed: {error}", file=sys.stderr)
                return
            split.remove(context.state, context.bundle)

        return remove_finished_files


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
