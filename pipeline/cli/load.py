"""``image-tools load -s SOURCE -d REGISTRY``: bring what was saved into a registry."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.acts.load import HarborOptions, Load, LoadOptions, LoadPlan, LoadResult
from pipeline.cli.arguments import ACCESS, DEBUG, PROJECT, chosen, default_project, one_of, print_lines, source
from pipeline.cli.go_flags import Flag, FlagSet, HelpWanted, Value
from pipeline.cli.signals import stopping
from pipeline.config import settings
from pipeline.core import image_list
from pipeline.core.bundle import MAX_JOBS, name_of
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SIGNAL, EXIT_SOME_FAILED, ImageToolsError, InputError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.reference import Reference
from pipeline.storage import locks
from pipeline.ui import terminal
from pipeline.ui.terminal import bytes_text, referrers_text, show_progress

DEFAULT_FAILED_LIST = "load-failed.txt"
KINDS = ("gzip", "zstd", "dir")
FLAGS = FlagSet(
    "load",
    (
        *ACCESS,
        Flag("cache", "", "folder for what load remembers or must unpack (default ~/.local/state/image-tools)"),
        Flag("compress", "", "what SOURCE is, can be 'gzip', 'zstd' or 'dir' (default: that is seen)"),
        Flag("d", "", "destination registry; host, host:port or host/path"),
        DEBUG,
        PROJECT,
        Flag("dry-run", False, "ask the registry and print what would be loaded, but send nothing"),
        Flag("f", "", "load only the images in this list file"),
        Flag("harbor-https", True, "use HTTPS for the API of Harbor"),
        Flag("j", 1, f"job number, async mode if larger than 1, maximum is {MAX_JOBS}"),
        Flag("log-format", "text", "format of the log lines, can be 'text' or 'json'"),
        Flag("o", DEFAULT_FAILED_LIST, "file name of the load failed image list"),
        Flag("progress", "auto", "how progress is shown, can be 'auto', 'rich', 'plain' or 'none'"),
        Flag("repo-type", "", "repository type, can be 'harbor': missing projects are made"),
        Flag("s", "", "saved images: an archive, one of its volumes or what they have in common, or a folder"),
        Flag("wait", False, "wait while another run loads the same"),
    ),
)
ABOUT = """
Examples:
  image-tools load -s saved-images.tar.gz -d registry.internal:5000
  image-tools load -s saved-images.tar.gz.part0 -d harbor.internal -repo-type harbor -j 8
  image-tools load -s saved-image-cache -d registry.internal/mirror -dry-run
"""
AGAIN = "Run the same command again to go on: it repeats nothing that is done."


def run(arguments: Sequence[str]) -> int:
    try:
        values, rest = FLAGS.parse(arguments)
    except HelpWanted:
        print(FLAGS.usage() + ABOUT, end="")
        return EXIT_OK
    terminal.start_logging(bool(values.get("debug")), one_of(values, "log-format", terminal.FORMATS, "text"))
    mode = one_of(values, "progress", terminal.MODES, "auto")
    options = read(values, rest)
    interruption = Interruption()
    with stopping(interruption):
        try:
            with (
                locks.lock_load(options.lock_file, wait=bool(values.get("wait")), sleep=interruption.sleep),
                locks.reading(options.source, sleep=interruption.sleep),
            ):
                return _load(Load(options, interruption), options, mode, bool(values.get("dry-run")))
        except ImageToolsError:
            if not interruption.requested:
                raise
    print(f"\nimage-tools: interrupted; what was loaded stays.\n{AGAIN}", file=sys.stderr)
    return EXIT_SIGNAL + interruption.signum


def read(values: Mapping[str, Value], rest: Sequence[str]) -> LoadOptions:
    """The options that the flags give. Raises UsageError, InputError."""
    if rest:
        raise UsageError(f"unexpected argument '{rest[0]}'\nTIP: SOURCE is given with -s, see 'image-tools load -h'")
    for flag, what in (("s", "what is to be loaded"), ("d", "the registry to load it into")):
        if not values.get(flag):
            raise UsageError(f"-{flag} is missing: {what}\nTIP: see 'image-tools load -h'")
    given = chosen({name: value for name, value in values.items() if name in {flag.name for flag in ACCESS} | {"j"}})
    registry = settings.check_source(str(values["d"]))
    place = source(str(values["s"]))
    folder = _state_folder(str(values.get("cache", "")))
    # One memory for each pair of source and target: the same volumes may go to several registries.
    tag = hashlib.sha256(registry.encode()).hexdigest()[:8]
    failed_list = settings.absolute(str(values.get("o", DEFAULT_FAILED_LIST)), Path.cwd())
    listed = str(values.get("f", ""))
    if failed_list.is_dir() or failed_list == place.resolve():
        raise UsageError(f"-o {failed_list} is a folder, or what is to be loaded\nTIP: name another file with -o")
    return LoadOptions(
        place,
        registry,
        settings.access(given),
        settings.jobs(given),
        failed_list,
        folder / "load" / f"{name_of(place.absolute())}-{tag}",
        one_of(values, "compress", KINDS, ""),
        _harbor(values),
        _only(listed) if listed else None,
        settings.absolute(listed, Path.cwd()) if listed else None,
    )


def _load(load: Load, options: LoadOptions, mode: str, dry_run: bool) -> int:
    load.open()
    with show_progress(mode, load.context.tracker.snapshot):
        load.check()
        if not dry_run:
            load.push()
    if dry_run:
        plan = load.plan
        load.result.failures |= plan.damaged
        print_lines(*_plan_lines(plan, load.result))
        return EXIT_SOME_FAILED if load.result.failures else EXIT_OK
    load.finish()
    result = load.result
    print_lines(*_lines(result, options))
    if not result.loaded:
        return EXIT_COULD_NOT
    return EXIT_SOME_FAILED if result.failures else EXIT_OK


def _plan_lines(plan: LoadPlan, result: LoadResult) -> Iterator[str]:
    for name, target in plan.missing.items():
        yield f"{name} -> {target}"
    yield from _failures(result)
    yield f"to load            {len(plan.missing)} images, {bytes_text(plan.size)} at most: the registry may have some of it"


def _lines(result: LoadResult, options: LoadOptions) -> Iterator[str]:
    loaded, all_of_them = [*result.pushed, *result.there], [*result.pushed, *result.there, *result.failures]
    referrers = sum(name in result.referrers for name in loaded)
    total = sum(name in result.referrers for name in all_of_them)
    more = referrers_text(f"{referrers} of {total}" if total else 0)
    images = f"loaded {len(loaded) - referrers} of {len(all_of_them) - total} images{more}"
    yield ""
    yield f"{images} into {options.registry}: {len(result.there)} were there already"
    yield f"sent {bytes_text(result.sent)}"
    if result.failures:
        yield ""
        yield f"failed {len(result.failures)}, listed in {options.failed_list}:"
        yield from _failures(result)
        yield AGAIN


def _failures(result: LoadResult) -> Iterator[str]:
    for name, reason in result.failures.items():
        yield f"  {name}: " + reason.replace("\n", "\n      ")


def _harbor(values: Mapping[str, Value]) -> HarborOptions | None:
    project = default_project(values)
    return HarborOptions(project, bool(values.get("harbor-https", True))) if project else None


def _only(name: str) -> frozenset[Reference]:
    try:
        data = Path(name).expanduser().read_bytes()
    except OSError as error:
        raise InputError([f"cannot read the image list {name}: {error.strerror}"]) from error
    return frozenset(line.reference for line in image_list.parse(data, name))


def _state_folder(given: str) -> Path:
    """``-cache``, or where programs keep what they remember (XDG Base Directory Specification): a stick may be read-only."""
    if given:
        return settings.absolute(given, Path.cwd())
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "image-tools"
