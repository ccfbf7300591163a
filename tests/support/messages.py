"""What skopeo says when things go wrong: ``messages.json``, made by ``collect_messages.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

PLACE = Path(__file__).with_name("messages.json")


class Message(NamedTuple):
    """The whole standard error of one failed run, whose exit code was 1.

    ``cause`` is the name of a ``Cause``, or ``CONTENT`` (bytes that do not match their digest), ``PLATFORM`` (none that was
    asked for) or ``DISK``.
    """

    cause: str
    situation: str
    text: str


MESSAGES = tuple(Message(**each) for each in json.loads(PLACE.read_text())["messages"])
