"""The command line: the documented flags become an order, the order a save, the result an exit code.

Exit codes are decided here, and by the commands' own modules; ``errors`` documents them.
"""

from __future__ import annotations

import contextlib
import itertools
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, cast

from pipeline import __version__
from pipeline.cli import signals, streams
from pipeline.cli.catalogue import no_such_command, overview
from pipeline.cli.go_flags import HelpWanted
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SIGNAL, EXIT_SOME_FAILED, ImageToolsError, InputError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log

if TYPE_CHECKING:  # the rest of the house, with doit, plumbum and yaml, is loaded when it is needed
    from pipeline.acts.save import Save
    from pipeline.cli.save_options import SaveOptions
    from pipeline.core.bundle import Bundle, BundleImage
    from pipeline.core.reference import Reference

OTHER_SIDE = ("load", "ls", "verify", "serve")
"""Commands for what ``save`` made; each a module beside this one."""


WORKS = ("save", "load", "verify", "serve", "demo", "cache prune")
"""Commands of which the exit code tells what they came to, also where nobody can read what they print."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, that of the process where none is given. Its exit code."""
    if argv is not None:
        return _run(list(argv))
    arguments = sys.argv[1:]
    works = " ".join(arguments).startswith(WORKS)
    return streams.guarded(lambda: _run(arguments), is_output_the_product=not works)


def _run(arguments: list[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    try:
        if command == "save":
            return save(rest)
        if command == "bundle":
            from pipeline.cli.bundle import run

            return run(rest)
        if command in OTHER_SIDE:
            return cast("int", import_module(f"pipeline.cli.{command}").run(rest))
        if command == "cache":
            from pipeline.cli.cache import run_cache

            return run_cache(rest)
        if command == "demo":
            from pipeline.cli.demo import run_demo

            return run_demo(rest, save)
        if command == "graph":
            from pipeline.cli import graph

            return graph.run(rest)
        if command == "completion":
            from pipeline.cli import completion

            return completion.run(rest)
        if command == "man":
            from pipeline.cli.man import page

            print(page(), end="")
            return EXIT_OK
        if command in ("version", "-version", "--version"):
            print(f"image-tools {__version__}")
            return EXIT_OK
        if command in ("help", "-h", "-help", "--help"):
            print(overview(), end="")
            return EXIT_OK
        raise no_such_command(command)
    except ImageToolsError as error:
        return _report(error)
    except KeyboardInterrupt:
        # Before or after the part in which it is a request to stop: nothing is at stake there.
        print("\nimage-tools: interrupted", file=sys.stderr)
        return EXIT_SIGNAL + signal.SIGINT
    except OSError as error:
        if "-debug" in rest or "--debug" in rest:
            traceback.print_exc()
        from pipeline.core import disk

        return _report(disk.problem(error))
    except Exception as error:
        if "-debug" in rest or "--debug" in rest:
            traceback.print_exc()
        print(f"image-tools: this should not happen: {type(error).__name__}: {error}", file=sys.stderr)
        print("TIP: run it again with -debug, and report what it says", file=sys.stderr)
        return EXIT_COULD_NOT


def save(arguments: Sequence[str]) -> int:
    """``image-tools save``. Its exit code."""
    from pipeline.cli import examples, save_options

    try:
        values, rest = save_options.SAVE_FLAGS.parse(arguments)
    except HelpWanted:
        print(save_options.SAVE_FLAGS.usage() + examples.SAVE, end="")
        return EXIT_OK
    save_options.start_logging(values)
    wanted = save_options.read(values, rest)
    interruption = Interruption()
    with signals.stopping(interruption):
        try:
            return max(_save(bundle, wanted, interruption, arguments) for bundle in wanted.bundles)
        except ImageToolsError:
            if not interruption.requested:
                raise
    print("\nimage-tools: interrupted; what was fetched is kept.", file=sys.stderr)
    print(_how_to_go_on(wanted, arguments), file=sys.stderr)
    return EXIT_SIGNAL + interruption.signum


def _save(bundle: Bundle, wanted: SaveOptions, interruption: Interruption, arguments: Sequence[str]) -> int:
    from pipeline.acts.save import Save
    from pipeline.core import disk
    from pipeline.ui.terminal import show_progress

    if wanted.interactive and wanted.dry_run:
        raise UsageError("-dry-run needs a list, given with -f, to make a plan of")
    run = Save(bundle, interruption, wanted.force, wanted.verify)
    run.context.cache.check()
    disk.check_writable(run.context.cache.state)
    if wanted.report is not None:
        disk.check_writable(wanted.report.parent)
    with run.locked(wanted.wait):
        run.start()
        if wanted.dry_run:
            run.show_plan(bundle.images, wanted.report)
            return _exit_code(run)
        if wanted.interactive:
            _fetch_what_is_typed(run, wanted, interruption)
        else:
            run.remember(bundle.images)
        with show_progress(wanted.progress, run.context.tracker.snapshot):
            run.fetch(bundle.images)
            run.pack()
        run.finish(wanted.list_file, wanted.lock, _how_to_go_on(wanted, arguments), wanted.report)
    return _exit_code(run)


def _exit_code(run: Save) -> int:
    if not run.result.saved:
        return EXIT_COULD_NOT
    return EXIT_SOME_FAILED if run.result.failures else EXIT_OK


def _fetch_what_is_typed(run: Save, wanted: SaveOptions, interruption: Interruption) -> None:
    """The ``>>>`` prompt: one image after the other, copied as it is entered, until Ctrl-D."""
    from pipeline.core import bundle, image_list

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (gives input() its line editing)
    print("Enter one image a line; Ctrl-D ends the list and makes the bundle.", file=sys.stderr)
    entered: dict[Reference, BundleImage] = {}
    for number in itertools.count(1):
        text = _ask(interruption)
        if text is None:
            break
        try:
            line = image_list.parse_line(text, "input", number)
            if line is None:
                continue
            m_id = entered[line.reference].m_id if line.reference in entered else len(entered) + 1
            referrers = wanted.bundles[0].referrers
            image = entered[line.reference] = bundle.image(line, m_id, wanted.source, wanted.platforms, referrers)
        except InputError as error:
            log.error("%s", error)
            continue
        run.remember(list(entered.values()))
        run.fetch([image])
    if not entered:
        raise InputError(["no image was entered"])


def _ask(interruption: Interruption) -> str | None:
    """One line, or None at the end of the input. Raises Interrupted: a prompt must not go on after Ctrl-C."""

    def stop(signum: int, frame: FrameType | None) -> None:
        interruption.request(signum)
        interruption.check()

    with signals.handling(stop):
        try:
            return input(">>> ")
        except EOFError:
            print()
            return None


def _how_to_go_on(wanted: SaveOptions, arguments: Sequence[str]) -> str:
    """What to type after a run that is not complete: going on needs no typing of images."""
    if wanted.list_file is None and len(wanted.bundles) == 1 and wanted.bundles[0].lock_file is None:
        from pipeline.storage.cache import Cache

        (bundle,) = wanted.bundles
        kept = Cache(bundle.cache).bundle_state(bundle).kept_list
        if kept.exists():
            rest = [argument for argument in arguments if argument not in ("-f", "--f", "-", "-f=-", "--f=-")]
            command = shlex.join(["image-tools", "save", "-f", str(kept), *rest])
            return f"The list is kept; go on with\n  {command}\nIt repeats nothing that is done."
    return "Run the same command again to go on: it repeats nothing that is done."


def _report(error: ImageToolsError) -> int:
    from pipeline.ui.terminal import print_problem

    print_problem(str(error))
    return error.exit_code
