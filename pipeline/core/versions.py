"""Ranges of versions over tags: ``>=1.25 <1.28``, ``~1.27``, ``^2``, ``1.27.x``, as npm and Helm have them.

A tag counts as a version where all three numbers are there, with or without a ``v``: ``1.27`` and ``latest`` move, and are
no versions. A pre-release (``1.28.0-rc.1``, and by the same rule ``1.27.1-alpine``) is taken only by a range that names one of
its version.

Source: semver 2.0.0; node-semver, "Ranges".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from pipeline.core.errors import UsageError

if TYPE_CHECKING:
    from semantic_version import NpmSpec, Version

MAX_RANGE = 200
"""Characters of a range."""
_FULL = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?", re.ASCII)


def check_range(text: str) -> None:
    """Raises UsageError for what is no range of versions."""
    _spec(text)


def is_in(tag: str, wanted: str) -> bool:
    version = _version(tag)
    return version is not None and version in _spec(wanted)


def sort_key(tag: str) -> Version:
    """Orders tags that are versions."""
    version = _version(tag)
    assert version is not None, "only versions are sorted"
    return version


def matching(tags: Iterable[str], wanted: str) -> list[str]:
    """The tags in the range ``wanted``, oldest first."""
    return sorted((tag for tag in set(tags) if is_in(tag, wanted)), key=lambda tag: (sort_key(tag), tag))


def _version(tag: str) -> Version | None:
    from semantic_version import Version  # here and below, as few bundles have ranges

    if not _FULL.fullmatch(tag):
        return None
    try:
        return Version(tag.removeprefix("v"))
    except ValueError:  # leading zeros, as dates have them
        return None


@lru_cache(maxsize=256)
def _spec(text: str) -> NpmSpec:
    from semantic_version import NpmSpec

    try:
        if not text.strip() or len(text) > MAX_RANGE:
            raise ValueError
        return NpmSpec(re.sub(r"(?<![\w.-])v(?=[0-9])", "", text.strip()))
    except ValueError as error:
        raise UsageError(
            f'"{text[:MAX_RANGE]}" is no range of versions', tip="use e.g. '>=1.25 <1.28', '~1.27' or '^2'"
        ) from error
