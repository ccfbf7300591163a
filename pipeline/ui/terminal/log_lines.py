"""The log, on standard error: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.core.amounts import bytes_text
from pipeline.core.errors import EnvironmentProblem
from pipeline.core.log import Done, log, subject
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
    """Writes each line through ``print_line``, which a live display takes over, so that lines scroll above its rows.

    Beside rows, only what a person must know is written: warnings, errors, the plan, and a line for each image that is done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.print_line: Callable[[str], None] = _to_standard_error
        self.is_beside_rows = False
        """Set by the rows; -debug shows everything all the same."""
        self.is_quiet = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            done = record.__dict__.get("done")
            if isinstance(done, Done):
                if self.is_beside_rows and not self.is_quiet:
                    self.print_line(done_line(done))
            elif self._is_shown(record):
                self.print_line(self.format(record))
        except Exception:  # as in logging's own handlers: a line that cannot be written must not end the run
            self.handleError(record)

    def _is_shown(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            return True
        return not self.is_quiet and (not self.is_beside_rows or "is_for_all" in record.__dict__)


class _FileHandler(logging.FileHandler):
    """The whole log in a file, for everything that the terminal leaves out."""

    def emit(self, record: logging.LogRecord) -> None:
        if "done" not in record.__dict__:
            super().emit(record)


handler = _Handler()


def start_logging(debug: bool = False, style: str = "text", *, file: Path | None = None, quiet: bool = False) -> None:
    """Send the log to standard error, and all of it to ``file``. Raises EnvironmentProblem where that cannot be written."""
    formatter = JsonFormatter() if style == "json" else TextFormatter()
    handler.setFormatter(formatter)
    handler.is_quiet = quiet
    log.handlers[:] = [handler]
    if file is not None:
        try:
            whole = _FileHandler(file, encoding="utf-8")
        except OSError as error:
            raise EnvironmentProblem(f"cannot write the log {file}: {error.strerror}", tip="name another file") from error
        whole.setFormatter(formatter)
        log.addHandler(whole)
    log.setLevel(logging.DEBUG if debug else logging.INFO)
    log.propagate = False


def done_line(done: Done) -> str:
    """``✓ [M_ID:2] rancher/rancher:v2.9.2  amd64 arm64  201 MB``."""
    about = subject()
    ids = f"[M_ID:{about.m_id}] " if about.m_id else ""
    mark = "✓" if (sys.stderr.encoding or "").lower().startswith("utf") else "ok"
    parts = (f"{mark} {ids}{done.name}", " ".join(done.platforms), bytes_text(done.size))
    return harmless("  ".join(filter(None, parts)))


def _level(record: logging.LogRecord) -> str:
    return "WARN" if record.levelno == logging.WARNING else record.levelname
