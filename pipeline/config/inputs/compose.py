"""Compose files: ``services:`` with ``image:``, interpolated from the environment and the ``.env`` beside the file.

Source: Compose Specification, "Interpolation" and "Services top-level element".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping as Dict
from pathlib import Path

from pipeline.config.inputs import text_scan
from pipeline.config.inputs.finding import Findings
from pipeline.config.inputs.yaml_tree import Mapping, Scalar
from pipeline.core import files

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<sign>:?[-?+])(?P<word>[^{}]*))?\})", re.ASCII
)
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*", re.ASCII)
_MAX_ENV = 1 << 20
"""Bytes of an ``.env`` file."""


def is_compose(root: Mapping) -> bool:
    return isinstance(root.get("services"), Mapping) and root.get("apiVersion") is None


def read(root: Mapping, found: Findings, folder: Path | None) -> None:
    """``folder`` is where ``.env`` lies; None of standard input."""
    values = {**_env_file(folder), **os.environ}
    for name, service in root.mapping("services").items():
        if not isinstance(service, Mapping):
            continue
        path = f"services.{name}"
        _build_arguments(service.mapping("build"), path, values, found)
        image = service.get("image")
        if isinstance(image, Scalar) and not image.is_null:
            text, missing = interpolate(image.text, values)
            if missing:
                found.unknown(image.text, image.line, f"{path}.image", f"{missing} is set neither here nor in .env")
            elif service.get("build") is not None:
                found.probable(text, image.line, f"{path}.image")
            else:
                found.sure(text, image.line, f"{path}.image")
        elif service.get("build") is not None:
            found.unknown(name, service.line, path, "is built from source here: push what is built, and list it")
        elif service.get("extends") is not None:
            found.unknown(name, service.line, path, "extends a service of another file: give that file, too")
        else:
            found.unknown(name, service.line, path, "has no image")
    for key in ("include", "extends"):
        if (other := root.get(key)) is not None:
            found.unknown(key, other.line, key, "other files are not followed: give them with -f, too")


def _build_arguments(build: Mapping, path: str, values: Dict[str, str], found: Findings) -> None:
    """What a service is built from, where an argument of the build says so: ``BASE_IMAGE: debian:12``."""
    arguments = build.get("args")
    given: list[tuple[str, str, int]] = []
    if isinstance(arguments, Mapping):
        given = [(key, value.text, value.line) for key, value in arguments.items() if isinstance(value, Scalar)]
    for _, each in build.scalars("args"):
        key, equals, value = each.text.partition("=")
        given.append((key, value if equals else f"${{{key}}}", each.line))
    for key, value, line in given:
        text, missing = interpolate(value, values)
        if "image" in key.lower() and not missing and text_scan.is_more_than_a_word(text):
            found.probable(text, line, f"{path}.build.args.{key}")


def interpolate(text: str, values: Dict[str, str]) -> tuple[str, str]:
    """The text with its variables filled in, innermost first, and the first that has no value."""
    missing = ""

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        if match["escaped"]:
            return "\0"
        name, sign, word = match["plain"] or match["name"], match["sign"] or "", match["word"] or ""
        given = values.get(name)
        is_set = given is not None and (given != "" or ":" not in sign)
        if sign.endswith("+"):
            return word if is_set else ""
        if is_set:
            return given or ""
        if sign.endswith("-"):
            return word
        missing = missing or name
        return ""

    for _ in range(5):  # a default may hold a variable
        replaced = _VARIABLE.sub(value, text)
        if replaced == text:
            break
        text = replaced
    return text.replace("\0", "$"), missing


def _env_file(folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    try:
        data = files.read_bounded(folder / ".env", _MAX_ENV)
    except (OSError, ValueError):
        return {}
    values: dict[str, str] = {}
    for line in (data or b"").decode(errors="replace").splitlines():
        if match := _LINE.fullmatch(line):
            text = match[2]
            quoted = re.fullmatch(r"(['\"])(.*?)\1(?:\s+#.*)?", text)
            text = quoted[2] if quoted else re.sub(r"\s+#.*", "", text)
            values[match[1]] = text if quoted and quoted[1] == "'" else interpolate(text, values)[0]
    return values
