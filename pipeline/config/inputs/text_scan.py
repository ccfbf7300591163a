"""References inside texts: arguments, variables, scripts, files in a ConfigMap.

A full reference (a registry with a dot or a port, and a tag or digest) is found anywhere. A name without a registry counts
only where the key, variable or flag that it belongs to has ``image`` in its name, and only with a tag, a digest or a path: on
a real release file anything less would ask Docker Hub for ``daemon``, ``sh`` and ``8000``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})+(?::[0-9]{{1,5}})?|{_LABEL}:[0-9]{{1,5}})"
_PATH = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_TAG = r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"@sha256:[0-9a-f]{64}"
_FULL = re.compile(rf"{_HOST}(?:/{_PATH})+(?:{_TAG}(?:{_DIGEST})?|{_DIGEST})", re.ASCII)
_SHORT = re.compile(rf"(?:{_PATH}/)*{_PATH}(?:{_TAG})?(?:{_DIGEST})?", re.ASCII)
_WORD = re.compile(r"[^\s\"'`,;()\[\]{}<>|\\]+")
MAX_WORD = 400
"""Characters of the longest word that is looked at: a repository has 255, a tag 128."""


def references(text: str, hint: str = "") -> Iterator[tuple[str, int]]:
    """References in ``text``, and how many lines above each. ``hint`` is the key, variable or flag that it belongs to."""
    key, above, counted = hint, 0, 0
    for found in _WORD.finditer(text):
        word = found[0]
        if len(word) > MAX_WORD:
            continue
        name, equals, value = word.rpartition("=")
        name = name if equals else key
        value = value.removeprefix("docker://").removeprefix("oci://").rstrip(".-,:")
        is_image = "image" in name.lower() and is_more_than_a_word(value) and _SHORT.fullmatch(value)
        if is_image or _FULL.fullmatch(value):
            above, counted = above + text.count("\n", counted, found.start()), found.start()
            yield value, above
        is_key = word.endswith((":", "=")) or word.startswith("-")
        key = word if is_key else hint


def is_more_than_a_word(text: str) -> bool:
    """Whether it has a tag, a digest or a path."""
    return ":" in text or "/" in text or "@" in text


def is_explicit(text: str) -> bool:
    """Whether it has a tag or a digest."""
    return ":" in text.rpartition("/")[2] or "@" in text
