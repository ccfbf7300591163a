"""Image lists: text in, references out; every bad line is reported with its number.

One image a line, or columns: ``NAME TAG``, or ``SOURCE DEST TAG`` as lists of mirrors have them, whose DEST only ``mirror``
heeds. Lines that start with ``#`` or ``//`` are comments; blank lines, surrounding spaces, CRLF and a byte order
mark do not count. An image that is listed twice is kept once, at its first place.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.core import files, reference
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import InputError
from pipeline.core.reference import Reference

MAX_SIZE = 16 << 20
"""Bytes of a list: some 300,000 images."""

WORDS = ("latest", "stable", "edge", "main", "master", "nightly")
"""Tags without a digit that a column may have."""


@dataclass(frozen=True)
class Line:
    """One image of a list: the reference, and the text and place it was read from."""

    reference: Reference
    text: str
    origin: str
    number: int
    destination: str = ""
    """DEST of a line ``SOURCE DEST TAG``: what a mirror calls it, without the tag."""


def read(path: Path, name: str) -> bytes:
    """The bytes of a list that messages call ``name``. Raises InputError."""
    try:
        data = files.read_bounded(path, MAX_SIZE)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError([f"cannot read the image list {name}: {reason}"]) from error
    if data is None:
        raise InputError([f"{name}: it is larger than any image list ({bytes_text(MAX_SIZE)})"])
    return data


def parse(data: bytes, origin: str, *, quote: bool = True) -> tuple[Line, ...]:
    """Parse a whole list; ``origin`` names it in messages. Raises InputError with all bad lines, or for an empty list.

    Without ``quote``, messages name lines by their numbers alone: the list may be a file that is not for everybody's eyes.
    """
    return parse_all([(data, origin)], quote=quote)


def parse_all(lists: Iterable[tuple[bytes, str]], *, quote: bool = True) -> tuple[Line, ...]:
    """Parse several lists, each with its origin, as if they were one. Raises InputError with what is wrong in any of them."""
    lines: dict[Reference, Line] = {}
    problems: list[str] = []
    for data, origin in lists:
        try:
            found = list(_parse(data, origin, problems, quote))
        except InputError as error:
            problems += error.problems
            continue
        for line in found:
            lines.setdefault(line.reference, line)
    if problems:
        raise InputError(problems)
    return tuple(lines.values())


def _parse(data: bytes, origin: str, problems: list[str], quote: bool) -> Iterator[Line]:
    """The images of one list; bad lines go to ``problems``."""
    is_empty = True
    for number, text in enumerate(decode(data, origin), start=1):
        try:
            line = parse_line(text, origin, number)
        except InputError as error:
            problems += error.problems if quote else [f"{origin}:{number}: this line is not an image; -debug shows it"]
            is_empty = False
            continue
        if line is not None:
            is_empty = False
            yield line
    if is_empty:
        raise InputError([f"{origin}: the list holds no image; write one image a line, e.g. 'rancher/rancher:v2.7.0'"])


def parse_line(text: str, origin: str, number: int) -> Line | None:
    """One line of a list; None for a blank line or a comment. Raises InputError."""
    text = text.strip()
    if not text or text.startswith(("#", "//")):
        return None
    where = f"{origin}:{number}: {_show(text)}"
    columns = re.split(r"[ \t]+", text)
    name, destination = _of_columns(columns) if len(columns) > 1 else (text, "")
    if not name:
        raise InputError([f"{where}: one image a line, without spaces; a comment needs a line of its own"])
    if scheme := re.match(r"(?:docker|oci|https?)://", name):
        rest = name[scheme.end() :]
        raise InputError([f"{where}: leave out '{scheme[0]}': write '{rest}'"])
    try:
        return Line(reference.parse(name), name, origin, number, destination)
    except InputError as error:
        raise InputError([f"{where}: {problem}" for problem in error.problems]) from error


def _of_columns(columns: list[str]) -> tuple[str, str]:
    """The image of ``NAME TAG`` or ``SOURCE DEST TAG``, and DEST; nothing where these are not such columns."""
    source, destination, tag = columns[0], "".join(columns[1:-1]), columns[-1]
    is_name = "@" not in source and ":" not in source.rpartition("/")[2]
    # Two names in one line are a mistake: a tag has a digit, mostly.
    looks_like_tag = reference.is_tag(tag) and (tag in WORDS or any(each.isdigit() for each in tag))
    if len(columns) > 3 or not is_name or not looks_like_tag:
        return "", ""
    return f"{source}:{tag}", destination


def format_list(texts: Iterable[str]) -> bytes:
    """A list in the very format that ``parse`` reads."""
    return "".join(f"{text}\n" for text in texts).encode()


def write_failed(path: Path, texts: Collection[str], list_files: Iterable[Path]) -> None:
    """The list of what failed, ready for ``-f``. Where nothing did it is removed, unless it is one of ``list_files``."""
    if texts:
        files.write_atomic(path, format_list(texts))
    elif not any(files.same_file(path, each) for each in list_files):
        path.unlink(missing_ok=True)


def decode(data: bytes, origin: str) -> list[str]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError([f"{origin}: the list is UTF-16; save it as UTF-8"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise InputError([f"{origin}:{number}: the list is not UTF-8 text; save it as UTF-8"]) from error
    # Not splitlines(): form feeds and other exotic separators would shift the line numbers that editors show.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _show(text: str) -> str:
    return ascii(text if len(text) <= 100 else text[:97] + "...")
