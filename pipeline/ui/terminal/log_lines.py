"""The log, on standard error: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable

from pipeline.core.log import log, subject
from pipeline.core.redact import redact
from pipeline.ui.terminal.text import harmless

FORMATS = ("text", "json")
_EXTRA = ("bytes", "seconds")


class TextFormatter(logging.Formatter):
    """``2026-11-23 14:31:59 INFO  [M_ID:3] [IMG_ID:1] message``; the lines below a first one are indented."""

    def format(self, record: logging.LogRecord) -> str:
        about = subject()
        ids = f"[M_ID:{about.m_id}] " if about.m_id else ""
        ids += f"[IMG_ID:{about.img_id}] " if about.img_id else ""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        text = harmless(record.getMessage()).replace("\n", "\n    ")
        return f"{when} {_level(record):<5} {ids}{text}"


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, message, and what is known of m_id, img_id, task, image, bytes, seconds."""

    def format(self, record: logging.LogRecord) -> str:
        about = subject()
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created))
        entry: dict[str, object] = {"time": when, "level": _level(record), "message": redact(record.getMessage())}
        known = {"m_id": about.m_id, "img_id": about.img_id, "task": about.task, "image": about.image}
        entry |= {key: value for key, value in known.items() if value}
        entry |= {key: record.__dict__[key] for key in _EXTRA if key in record.__dict__}
        return json.dumps(entry)


def _to_standard_error(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class _Handler(logging.Handler):
    """Writes each line through ``print_line``, which a live display takes over, so that lines scroll above its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.print_line: Callable[[str], None] = _to_standard_error

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.print_line(self.format(record))
        except Exception:  # as in logging's own handlers: a line that cannot be written must not end the run
            self.handleError(record)


handler = _Handler()


def start_logging(debug: bool = False, style: str = "text") -> None:
    """Send the log to standard error."""
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if debug else logging.INFO)
    log.propagate = False


def _level(record: logging.LogRecord) -> str:
    return "WARN" if record.levelno == logging.WARNING else record.levelname
