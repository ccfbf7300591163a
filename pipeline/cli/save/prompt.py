"""The ``>>>`` prompt of ``save``: one image after the other, copied as it is entered, until Ctrl-D."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator
from types import FrameType

from pipeline.acts.save.run import Save
from pipeline.cli import signals
from pipeline.cli.save.options import SaveOptions
from pipeline.core import bundle, image_list
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import InputError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.reference import Reference
from pipeline.ui.terminal import show_progress


def fetch_what_is_typed(run: Save, options: SaveOptions, interruption: Interruption) -> None:
    """Acts 1 and 2 for each image as it is entered. Raises InputError where none was, EnvironmentProblem, Interrupted."""
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
            referrers = options.bundles[0].referrers
            image = entered[line.reference] = bundle.image(line, m_id, options.source, options.platforms, referrers)
        except InputError as error:
            log.error("%s", error)
            continue
        run.remember(list(entered.values()))
        with _unseen_typing(), show_progress(options.progress, run.context.tracker.snapshot):
            run.fetch([image])
    if not entered:
        raise InputError(["no image was entered"])


@contextlib.contextmanager
def _unseen_typing() -> Iterator[None]:
    """What is typed meanwhile is kept for the next prompt, which shows it; here it would stand among the rows."""
    if not sys.stdin.isatty():
        yield
        return
    import termios  # here: there is none where there are no terminals of this kind

    before = termios.tcgetattr(sys.stdin)
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)  # and not after a flush, which drops what was typed


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
