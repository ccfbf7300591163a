"""The corpus of real input files, and how well they are read: recall, and what is wrong among the sure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.inputs import Certainty, Options, Reading, read
from pipeline.core import reference

CORPUS = Path(__file__).parents[1] / "testdata" / "inputs"


@dataclass
class Score:
    """Counts over files; ``missed`` and ``wrong`` name file and reference."""

    wanted: int = 0
    found: int = 0
    sure: int = 0
    probable: int = 0
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        return self.found / self.wanted if self.wanted else 1.0

    @property
    def wrong_among_sure(self) -> float:
        return len(self.wrong) / self.sure if self.sure else 0.0


@cache
def answers() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((CORPUS / "answers.yaml").read_text())
    return found


def reading_of(name: str) -> Reading:
    flavor = answers()[name].get("flavor", "")
    return read(CORPUS / "files" / name, name, Options(flavor=flavor))


def score(half: str) -> Score:
    """``half`` is ``first``, ``later`` or ``last``."""
    total = Score()
    for name, answer in answers().items():
        if answer["half"] != half:
            continue
        wanted = {str(reference.parse(text)) for text in answer["images"]}
        reading = reading_of(name)
        sure = {str(each.reference) for each in reading.images(Certainty.SURE)}
        probable = {str(each.reference) for each in reading.images(Certainty.PROBABLE)}
        total.wanted += len(wanted)
        total.found += len(wanted & (sure | probable))
        total.sure += len(sure)
        total.probable += len(probable)
        total.missed += [f"{name}: {each}" for each in sorted(wanted - sure - probable)]
        total.wrong += [f"{name}: {each}" for each in sorted(sure - wanted)]
    return total


def published() -> Iterator[tuple[str, int, list[str]]]:
    """Of each project that publishes a list: the file, how many are in it, and which of them are not found."""
    for name, answer in answers().items():
        if listed := answer.get("published"):
            wanted = {str(reference.parse(text)) for text in listed}
            findings = [each for file in (name, *answer.get("with", ())) for each in reading_of(file).findings]
            yield name, len(wanted), sorted(wanted - {str(each.reference) for each in findings})
