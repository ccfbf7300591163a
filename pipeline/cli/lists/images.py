"""``image-tools images FILE...``: the images that files name, and where."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from pipeline.cli.arguments import DEBUG, JSON, print_json, print_lines
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.lists import input_files
from pipeline.config.flag import Flag
from pipeline.config.inputs import FORMATS, Certainty, Reading
from pipeline.core import reference
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.core.reference import Reference


def _run(given: Given, operands: tuple[str, ...]) -> int:
    if not operands:
        raise UsageError("no file given", tip="see 'image-tools images -h'")
    found = list(input_files.readings(operands, input_files.reading_options(given)))
    if given.text("why"):
        return _why(found, reference.parse(given.text("why")))
    if given.switch("json"):
        print_json([{"format": each.format, "findings": [finding.to_json() for finding in each.findings]} for each in found])
    else:
        print_lines(*_lines(found))
    return EXIT_OK


def _lines(found: Sequence[Reading]) -> Iterator[str]:
    """A list that ``-f`` reads: what is sure as lines, all else as comments with its place."""
    sure = {each.reference: each for reading in found for each in reading.images(Certainty.SURE)}
    probable = {each.reference: each for reading in found for each in reading.images(Certainty.PROBABLE)}
    yield from (each.text for each in sure.values())
    likely = [each for name, each in probable.items() if name not in sure]
    if likely:
        yield f"# probable, {len(likely)}: a save takes those that their registry has"
        yield from (f"#   {each.text}    {each.place}" for each in likely)
    unknown = [each for reading in found for each in reading.unknown]
    if unknown:
        yield f"# not taken, {len(unknown)}:"
        yield from (f"#   {each.place}: '{' '.join(each.text.split())}': {each.note}" for each in unknown)
    formats = ", ".join(dict.fromkeys(each.format for each in found))
    yield f"# {len(sure)} images, {len(likely)} probable, {len(unknown)} not taken; read as {formats}"


def _why(found: Sequence[Reading], wanted: Reference) -> int:
    places = [each for reading in found for each in reading.findings if _is_meant(each.reference, wanted)]
    print_lines(*(f"{each.place}: {each.text} ({each.certainty.value})" for each in places))
    if not places:
        raise UsageError(f"{wanted} is in none of these files", tip="without -why, everything that is found is printed")
    return EXIT_OK


def _is_meant(found: Reference | None, wanted: Reference) -> bool:
    return found is not None and (found == wanted or (found.name, found.tag) == (wanted.name, wanted.tag))


BODY = Body(
    run=_run,
    flags=(DEBUG, JSON, *input_files.READING_FLAGS, Flag("why", "", "print where this image stands")),
    about=f"""
image-tools images FILE... prints the images that files name, as a list that 'save -f' reads; save
takes the files themselves, too. '-' is standard input. Nothing is fetched. FILE is any of:
{textwrap.fill(", ".join(FORMATS), 96)}.
""",
    examples=(
        "image-tools images longhorn.yaml",
        "helm template ./chart | image-tools images - -json",
        "image-tools images compose.yaml zarf.yaml -why redis:7",
    ),
    takes_files=True,
)
