"""What was found in a file: an image, or something that is none, with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pipeline.core import reference
from pipeline.core.errors import InputError
from pipeline.core.image_list import Line
from pipeline.core.reference import Reference

_SHOWN = 120
"""Characters of a text that is shown."""


class Certainty(Enum):
    """Of a finding."""

    SURE = "sure"
    """It stands where the format has an image."""
    PROBABLE = "probable"
    """It reads like an image: a flag, a variable, a text of a ConfigMap."""
    UNKNOWN = "unknown"
    """It is not taken; ``note`` says why."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``path`` is where in the document, ``line`` counts from 1. ``reference`` is None of what is unknown."""

    text: str
    reference: Reference | None
    certainty: Certainty
    origin: str
    line: int
    path: str
    note: str = ""
    destination: str = ""
    """What a list of mirrors calls it on the other side."""

    @property
    def place(self) -> str:
        return f"{self.origin}:{self.line}" + (f" ({self.path})" if self.path else "")

    def to_line(self) -> Line:
        """As a line of an image list."""
        assert self.reference is not None, "what is unknown is in no list"
        return Line(self.reference, self.text, self.origin, self.line, self.destination)

    def to_json(self) -> dict[str, Any]:
        return {
            "image": self.text if self.reference is not None else None,
            "reference": str(self.reference) if self.reference is not None else None,
            "certainty": self.certainty.value,
            "file": self.origin,
            "line": self.line,
            "path": self.path,
            **({"text": self.text, "note": self.note} if self.note else {}),
        }


@dataclass(frozen=True)
class Reading:
    """All that one file holds, in its order. ``format`` is what it was taken for."""

    format: str
    findings: tuple[Finding, ...]

    def images(self, certainty: Certainty) -> tuple[Finding, ...]:
        """Each image once, at its first place: the sure ones, or those that are no more than probable."""
        found: dict[Reference, Finding] = {}
        sure = {f.reference for f in self.findings if f.certainty is Certainty.SURE}
        for each in self.findings:
            if each.reference is not None and each.certainty is certainty:
                found.setdefault(each.reference, each)
        if certainty is Certainty.SURE:
            return tuple(found.values())
        return tuple(finding for name, finding in found.items() if name not in sure)

    @property
    def unknown(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.certainty is Certainty.UNKNOWN)


class Findings:
    """Collects the findings of one file."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.found: list[Finding] = []
        self._known: set[tuple[object, ...]] = set()

    def sure(self, text: str, line: int, path: str) -> None:
        """An image where the format has one; unknown where it is none, with the reason."""
        self._image(text, line, path, Certainty.SURE)

    def probable(self, text: str, line: int, path: str) -> None:
        """Raises nothing and adds nothing for a text that cannot be an image."""
        try:
            found = reference.parse(text)
        except InputError:
            return
        self._add(text, found, Certainty.PROBABLE, line, path, "")

    def unknown(self, text: str, line: int, path: str, note: str) -> None:
        self._add(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...", None, Certainty.UNKNOWN, line, path, note)

    def _image(self, text: str, line: int, path: str, certainty: Certainty) -> None:
        text = text.strip()
        for prefix in ("docker://", "oci://"):
            text = text.removeprefix(prefix)
        if variable := unresolved(text):
            self.unknown(text, line, path, f"{variable} is filled in elsewhere")
            return
        try:
            self._add(text, reference.parse(text), certainty, line, path, "")
        except InputError as error:
            self.unknown(text, line, path, error.message)

    def _add(self, text: str, found: Reference | None, certainty: Certainty, line: int, path: str, note: str) -> None:
        key = (text, certainty, line, path, note)
        if key not in self._known:
            self._known.add(key)
            self.found.append(
                Finding(
                    text=text,
                    reference=found,
                    certainty=certainty,
                    origin=self.origin,
                    line=line,
                    path=path,
                    note=note,
                )
            )


def unresolved(text: str) -> str:
    """What of a text is a placeholder of a shell, a template or a build, or nothing."""
    for opening, closing in _PLACEHOLDERS.items():
        start = text.find(opening)
        if start >= 0 and (end := text.find(closing, start + len(opening))) >= 0:
            return text[start : end + len(closing)]
    return ""


_PLACEHOLDERS: Mapping[str, str] = {"{{": "}}", "${": "}", "$(": ")", "###": "###", "@@": "@@", "<": ">"}
