"""The way in: arguments in, exit code out. ``catalogue`` finds the command; here errors become messages and exit codes."""

from __future__ import annotations

import gc
import signal
import sys
import traceback
from collections.abc import Sequence

from pipeline.cli import catalogue, streams
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_SIGNAL, ImageToolsError

WORKS = ("save", "load", "verify", "serve", "demo", "cache prune")
"""Commands of which the exit code tells what they came to, also where nobody can read what they print."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, that of the process where none is given. Its exit code."""
    if argv is not None:
        return _run(list(argv))
    # Most of what a run makes stays until its end: looking for garbage among it costs a thirtieth of a save.
    gc.set_threshold(100_000, 20, 20)
    arguments = sys.argv[1:]
    works = " ".join(arguments).startswith(WORKS)
    try:
        return streams.guarded(lambda: _run_to_the_end(arguments), is_output_the_product=not works)
    finally:
        # The end of the process frees all there is: to look for garbage first would take as long as its start.
        gc.freeze()


def _run_to_the_end(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    finally:
        # What is left is the end of the process: a signal in its last moment is not to take the place of the exit code.
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_IGN)


def _run(arguments: list[str]) -> int:
    is_debug = "-debug" in arguments or "--debug" in arguments
    try:
        return catalogue.run(arguments)
    except ImageToolsError as error:
        return _report(error)
    except KeyboardInterrupt:
        return _interrupted()
    except OSError as error:
        if is_debug:
            traceback.print_exc()
        from pipeline.core import disk

        return _report(disk.problem(error))
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # in the middle of an import, Python 3.11 and older make it one
            return _interrupted()
        if is_debug:
            traceback.print_exc()
        print(f"image-tools: this should not happen: {type(error).__name__}: {error}", file=sys.stderr)
        print("TIP: run it again with -debug, and report what it says", file=sys.stderr)
        return EXIT_COULD_NOT


def _interrupted() -> int:
    """Before or after the part in which it is a request to stop: nothing is at stake there."""
    print("\nimage-tools: interrupted", file=sys.stderr)
    return EXIT_SIGNAL + signal.SIGINT


def _report(error: ImageToolsError) -> int:
    from pipeline.ui.terminal import print_problem

    print_problem(str(error))
    return error.exit_code
