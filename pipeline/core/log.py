"""The one logger, and what its lines are about.

Whoever works on an image says so with ``about``; every line logged below, by whichever module, then carries the image's
``M_ID`` (its place in the list) and the platform's ``IMG_ID`` (its place in the image). ``display`` formats them.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Iterator
from dataclasses import dataclass

log = logging.getLogger("image_tools")


@dataclass(frozen=True)
class Subject:
    """Zero where a line is about no image, or about an image as a whole."""

    m_id: int = 0
    img_id: int = 0
    task: str = ""
    image: str = ""


_subject: contextvars.ContextVar[Subject | None] = contextvars.ContextVar("subject", default=None)


def subject() -> Subject:
    """What the current thread works on."""
    return _subject.get() or Subject()


@dataclass(frozen=True)
class Done:
    """An image is finished: what a person is told of it, once, while rows show the rest. Sizes in bytes."""

    name: str
    platforms: tuple[str, ...]
    size: int


def log_done(done: Done) -> None:
    """For who watches; the log has lines of its own about each step."""
    log.info("%s", done.name, extra={"done": done})


PLAN = {"is_for_all": True}
"""``extra`` of a line that is shown above live rows, too."""


@contextlib.contextmanager
def about(m_id: int, img_id: int = 0, task: str = "", image: str = "") -> Iterator[None]:
    token = _subject.set(Subject(m_id, img_id, task, image))
    try:
        yield
    finally:
        _subject.reset(token)
