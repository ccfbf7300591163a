"""``image-tools man``: the manual page, from the same source as help and completion: in a pager on a terminal, else in roff."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import NoReturn

from pipeline import __version__
from pipeline.cli.catalogue import COMMANDS
from pipeline.cli.command import EXIT_CODES, Body, Command
from pipeline.cli.go_flags import Given
from pipeline.config.flag import Flag
from pipeline.core.errors import EXIT_OK

FILES = (
    ("saved-images.tar.gz, .part0, .part1, ...", "the bundle; also .sha256 beside it, for sha256sum"),
    ("saved-image-cache/", "what was fetched, so that the next run finds what is done"),
    ("save-failed.txt", "the images that failed"),
)
VARIABLES = (
    ("NO_COLOR", "set to anything but nothing: no colours"),
    ("REGISTRY_AUTH_FILE, DOCKER_CONFIG", "where registry logins are kept, as for skopeo and docker"),
    ("SOURCE_DATE_EPOCH", "the time that stands in archives, instead of the newest image's"),
    (
        "SOURCE_REGISTRY, SOURCE_USERNAME, SOURCE_PASSWORD",
        "where save fetches from, for want of -s, and the login there (without the first: to docker.io)",
    ),
    (
        "DEST_REGISTRY, DEST_USERNAME, DEST_PASSWORD",
        "where load loads to, for want of -d, and the login there (without the first: to docker.io)",
    ),
    ("HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "proxies, as for skopeo"),
)
DESCRIPTION = (
    "image-tools turns a list of container images into one bundle (a tarball, on request in volumes) and brings it into the "
    "registry on the other side of an air gap. Whatever happens on the way, the same command once more goes on where it "
    "stopped: it repeats nothing that is done."
)


def page() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield f'.TH IMAGE\\-TOOLS 1 "" "image\\-tools {__version__}" "User Commands"'
    yield from (".SH NAME", r"image\-tools \- carry container images across an air gap")
    yield ".SH SYNOPSIS"
    for command in COMMANDS:
        yield f".B image\\-tools {_roff(command.words)}"
        if command.usage:
            yield _text(command.usage)
        yield ".br"
    yield from (".SH DESCRIPTION", _text(DESCRIPTION))
    yield ".SH COMMANDS"
    for command in COMMANDS:
        yield from _command(command)
    for title, entries in (("EXIT STATUS", EXIT_CODES), ("FILES", FILES), ("ENVIRONMENT", VARIABLES)):
        yield f".SH {title}"
        for name, text in entries:
            yield from (".TP", f".B {_roff(name)}", _text(text))
    yield from (".SH SEE ALSO", ".BR skopeo (1),", ".BR docker\\-login (1),", ".BR split (1)")


def _command(command: Command) -> Iterator[str]:
    yield f'.SS "image\\-tools {_roff(command.words)}"'
    yield _text(command.summary[0].upper() + command.summary[1:] + ".")
    for flag in command.flags:
        yield from _flag(flag)
    if command.examples:
        yield from (".PP", "Examples:", ".PP", ".nf", ".RS", *(_text(example) for example in command.examples), ".RE", ".fi")


def _flag(flag: Flag) -> Iterator[str]:
    kind, default = flag.kind_and_default()
    yield ".TP"
    long = f' ", " \\-\\-{_roff(flag.names[1])}' if len(flag.names) > 1 else ""
    yield f".BR \\-{_roff(flag.name)}{long}" + (f' " " \\fI{kind}\\fR' if kind else "")
    yield _text(flag.help + default)


def _text(text: str) -> str:
    """A line of text: one that begins with a dot or an apostrophe would be a request."""
    return re.sub(r"^([.'])", r"\\&\1", _roff(text))


def _roff(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-")


def _run(given: Given, operands: tuple[str, ...]) -> int:
    program = shutil.which("man")
    if sys.stdout.isatty() and program is not None:
        _show(program)  # does not return
    print(page(), end="")
    return EXIT_OK


def _show(program: str) -> NoReturn:
    """Become ``man``, with the page on standard input: its pager reads keys from the terminal itself."""
    with tempfile.TemporaryFile() as file:
        file.write(page().encode())
        file.seek(0)
        os.dup2(file.fileno(), 0)
    os.execv(program, [program, "-l", "-"])


BODY = Body(run=_run)
