"""What skopeo says, as people are told it."""

from __future__ import annotations

import pytest

from pipeline.registry.skopeo.messages import in_our_words, message_of

TEXTS = {
    "reading manifest v9 in r.io/team/app: manifest unknown: manifest unknown": "the registry has no r.io/team/app:v9",
    "reading manifest v9 in r.io/team/gone: name unknown: there is no repository": "the registry has no r.io/team/gone:v9",
    "reading manifest sha256:12 in r.io/app: manifest unknown": "the registry has no r.io/app@sha256:12",
    "writing blob: manifest unknown: manifest unknown": "writing blob: manifest unknown",
    "trying to reuse blob: authentication required": "trying to reuse blob: authentication required",
    "pinging container registry r.io: Get https://r.io/v2/: EOF": "pinging container registry r.io: Get https://r.io/v2/: EOF",
}


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_is_said_twice_or_in_skopeos_words_alone(text: str) -> None:
    assert in_our_words(text) == TEXTS[text]


def test_its_last_fatal_line_is_the_reason() -> None:
    lines = ('warning msg="a warning"', 'fatal msg="initializing source docker://r.io/a:1: reading it: EOF"')
    said = "".join(f'time="x" level={line}\n' for line in lines)
    assert message_of(said) == "reading it: EOF"
