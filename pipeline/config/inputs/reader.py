"""Which format a file has, by its content, and its reading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.inputs.finding import Certainty, Finding, Reading
from pipeline.config.inputs.options import Options
from pipeline.core import image_list
from pipeline.core.errors import InputError

FORMATS = (
    "an image list",
    "Kubernetes YAML",
    "a Helm chart (folder or .tgz)",
    "a kustomization (folder)",
    "Compose",
    "a Carvel or dt Images.lock",
    "hauler, zarf, oc-mirror or skopeo sync YAML",
)
LIST = "image list"
MAX_BAD_LINES = 5
"""More, and no image, and it is no list."""
_GZIP = b"\x1f\x8b"
_STRUCTURE = re.compile(r"---(\s.*)?$|[\"']?[\w./-]+[\"']?\s*:(\s.*)?$|- .*|[{\[].*", re.ASCII)
"""The first line of YAML or JSON; no line of a list looks so."""


def read(path: Path, name: str, options: Options | None = None) -> Reading:
    """A file or folder that messages call ``name``. Raises InputError."""
    options = options or Options()
    if path.is_dir():
        from pipeline.config.inputs import structured  # here and below, as most lists are lists

        return structured.read_folder(path, name, options)
    data = image_list.read(path, name)
    if data.startswith(_GZIP):
        from pipeline.config.inputs import structured

        return structured.read_chart(path, name, options)
    return read_bytes(data, name, options, path.parent)


def read_bytes(
    data: bytes, name: str, options: Options | None = None, folder: Path | None = None, *, quote: bool = True
) -> Reading:
    """What a file or standard input holds. ``folder`` is where files that it names are. Raises InputError.

    Without ``quote``, messages name lines by their numbers alone, as ``image_list.parse`` has it.
    """
    lines = image_list.decode(data, name)
    if not is_structured(lines):
        try:
            return Reading(LIST, tuple(_of_list(line) for line in image_list.parse(data, name, quote=quote)))
        except InputError as error:
            images = sum(_is_image(line) for line in lines)
            if len(error.problems) > MAX_BAD_LINES and not images:
                raise _is_none_of_these(name, lines) from error
            raise
    from pipeline.config.inputs import structured

    reading = structured.read_text("\n".join(lines), name, options or Options(), folder)
    if reading is None:
        raise _is_none_of_these(name, lines)
    return reading


def _is_none_of_these(name: str, lines: Sequence[str]) -> InputError:
    return InputError(
        [f"{name} is none of the files that images are read from: {', '.join(FORMATS)}"], tip=_advice("\n".join(lines))
    )


def is_structured(lines: Sequence[str]) -> bool:
    """Whether text is YAML or JSON rather than a list, by its first line that says something."""
    said = (line for line in lines if line.strip() and not line.lstrip().startswith(("#", "//", "%YAML")))
    return bool(_STRUCTURE.fullmatch(next(said, "").rstrip()))


def _is_image(line: str) -> bool:
    try:
        return image_list.parse_line(line, "", 0) is not None
    except InputError:
        return False


def _of_list(line: image_list.Line) -> Finding:
    return Finding(
        text=line.text,
        reference=line.reference,
        certainty=Certainty.SURE,
        origin=line.origin,
        line=line.number,
        path="",
        destination=line.destination,
    )


def _advice(text: str) -> str:
    if re.search(r"^bundles:", text, re.MULTILINE):
        return "a definition of bundles is given with -config"
    if re.search(r"^(appVersion|dependencies):", text, re.MULTILINE):
        return "of a chart, name the folder or the .tgz"
    return "'image-tools images FILE' shows what is found in a file"
