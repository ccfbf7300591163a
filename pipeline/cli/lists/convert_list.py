"""``image-tools convert-list LIST -s SOURCE -d DEST``: an image list as a list of mirrors, ``SOURCE DEST TAG``."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.arguments import DEBUG, LIST, print_lines, source
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.lists import input_files
from pipeline.config.flag import Flag
from pipeline.config.settings import absolute
from pipeline.core import files, reference
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.core.image_list import Line


def _run(given: Given, operands: tuple[str, ...]) -> int:
    names = (*given.texts("f"), *([given.text("i")] if given.text("i") else []), *operands)
    if not names:
        raise UsageError("no list given", tip="see 'image-tools convert-list -h'")
    if not given.text("d"):
        raise UsageError("-d is missing: the registry of DEST", tip="see 'image-tools convert-list -h'")
    destination = reference.parse_source(given.text("d"))
    origin = reference.parse_source(given.text("s")) if given.text("s") else ""
    found = input_files.read(names, input_files.reading_options(given))
    lines = [_line(line, origin, destination) for line in found.lines]
    if not given.text("o"):
        print_lines(*lines)
        return EXIT_OK
    path = absolute(given.text("o"), Path.cwd(), "o")
    if path in found.paths or path.is_dir():
        raise UsageError(f"{path} is a folder, or the list that is read", tip="name another file", setting="o")
    files.write_atomic(path, "".join(f"{line}\n" for line in lines).encode())
    print_lines(f"wrote {len(lines)} lines to {source(given.text('o'))}")
    return EXIT_OK


def _line(line: Line, origin: str, destination: str) -> str:
    named = line.reference
    fetched = named.at(origin) if origin else named
    target = named.at(destination)
    if named.digest is not None:
        raise UsageError(f"{line.text} is named by its digest, and the lines of such a list have tags", tip="leave it out")
    return f"{fetched.name} {target.name} {named.tag}"


BODY = Body(
    run=_run,
    flags=(
        Flag("d", "", "registry of DEST; host, host:port or host/path", long="destination"),
        DEBUG,
        LIST,
        Flag("i", "", "the list to convert, as -f", place="file", long="input"),
        Flag("o", "", "file to write (default: standard output)", place="file", long="output"),
        *input_files.READING_FLAGS,
        Flag("s", "", "registry of SOURCE, instead of that of each image", long="source"),
    ),
    takes_files=True,
    about="""
image-tools convert-list LIST writes a line 'SOURCE DEST TAG' for each image, for 'image-tools
mirror -f' and programs that read such lists. LIST is any file that 'save -f' takes.
""",
    examples=("image-tools convert-list rancher-images.txt -d registry.internal -o mirror-list.txt",),
)
