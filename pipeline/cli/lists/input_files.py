"""The files that ``-f`` names, of any format, and images of the command line: what is sure, and what is to be asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.arguments import source
from pipeline.cli.go_flags import Given
from pipeline.config import inputs
from pipeline.config.flag import Flag
from pipeline.config.inputs import Certainty, Finding, Options, Reading
from pipeline.config.settings import absolute
from pipeline.core import image_list
from pipeline.core.errors import InputError, UsageError
from pipeline.core.image_list import Line
from pipeline.core.log import log
from pipeline.core.reference import Reference

STANDARD_INPUT = "-"
SHOWN = 20
"""What of a file is no image, line by line; the rest is counted."""
READING_FLAGS = (
    Flag("flavor", "", "flavor of zarf packages in -f"),
    Flag("values", "", "values file for helm charts in -f", place="file", adds_up=True),
)
PROBABLE = Flag(
    "probable",
    "ask",
    "what reads like an image in -f, can be 'ask' (taken where its registry has it), 'take' or 'leave'",
    choices=("ask", "take", "leave"),
)


@dataclass(frozen=True, kw_only=True)
class InputFiles:
    """Each image once, at its first place. ``paths`` are the files; standard input is none."""

    lines: tuple[Line, ...]
    probable: tuple[Line, ...]
    paths: tuple[Path, ...]


def reading_options(given: Given) -> Options:
    values = tuple(source(name) for name in given.texts("values"))
    for path in values:
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file", setting="values")
    return Options(values=values, flavor=given.text("flavor"))


def readings(names: Iterable[str], options: Options) -> Iterator[Reading]:
    """Raises InputError with what is wrong in any of them."""
    problems: list[str] = []
    tip = ""
    for name in names:
        try:
            if name == STANDARD_INPUT:
                data = sys.stdin.buffer.read() if sys.stdin is not None else b""
                yield inputs.read_bytes(data, "standard input", options)
            else:
                # Not its absolute path: '-f <(grep ...)' names a pipe, whose resolved name opens nothing.
                yield inputs.read(source(name), name, options)
        except InputError as error:
            problems += error.problems
            tip = tip or error.tip
    if problems:
        raise InputError(problems, tip=tip)


def read(names: Sequence[str], options: Options, operands: Sequence[str] = ()) -> InputFiles:
    """All of ``-f``, then the operands, which are images. Raises InputError, UsageError; what is not taken is logged."""
    sure: dict[Reference, Line] = {}
    probable: dict[Reference, Line] = {}
    texts = list(_as_lists(operands))
    for reading in readings(names, options):
        for finding in reading.images(Certainty.SURE):
            sure.setdefault(finding.to_line().reference, finding.to_line())
        for finding in reading.images(Certainty.PROBABLE):
            probable.setdefault(finding.to_line().reference, finding.to_line())
        _tell(reading.unknown)
    for line in image_list.parse_all(texts) if texts else ():
        sure.setdefault(line.reference, line)
    if not sure and not probable:
        raise InputError([f"{', '.join(names)}: there is no image in it"], tip="'image-tools images FILE' shows what is")
    return InputFiles(
        lines=tuple(sure.values()),
        probable=tuple(line for name, line in probable.items() if name not in sure),
        paths=tuple(absolute(name, Path.cwd(), "f") for name in names if name != STANDARD_INPUT),
    )


def _tell(unknown: Sequence[Finding]) -> None:
    for each in unknown[:SHOWN]:
        log.warning("%s: not taken: '%s': %s", each.place, each.text, each.note)
    if len(unknown) > SHOWN:
        log.warning("and %d more are not taken: 'image-tools images FILE' shows them", len(unknown) - SHOWN)


def _as_lists(operands: Sequence[str]) -> Iterator[tuple[bytes, str]]:
    """Images of the command line. Raises UsageError for the name of a file: a list is given with -f."""
    for operand in operands:
        if source(operand).is_file():
            raise UsageError(f"{operand} is a file, not an image", tip=f"an image list is given with -f: -f {operand}")
        yield operand.encode(), "the command line"
