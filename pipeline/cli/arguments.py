"""What several commands have in common: SOURCE, the settings that ``save`` has too, output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.cli.go_flags import Given
from pipeline.config import bundle_maker
from pipeline.config.flag import Flag, Value
from pipeline.config.settings import SETTINGS, Settings, absolute, rows
from pipeline.core import disk
from pipeline.core.bundle import MAX_JOBS
from pipeline.core.errors import UsageError
from pipeline.core.log import log
from pipeline.ui import terminal
from pipeline.ui.report import check_name
from pipeline.ui.terminal import harmless

ACCESS = rows("authfile", "cert-dir", "tls-verify", "retry")
"""How registries are reached."""
BASE = Flag(
    "base", "", "with a delta: the bundle that it was made against, which has what it lacks", place="file", adds_up=True
)
DEBUG = Flag("debug", False, "enable the debug output")
JSON = Flag("json", False, "print one JSON document")
LIST = Flag("f", "", "image list file", place="file", adds_up=True, long="file")
LOG_FILE = Flag("log-file", "", "write the whole log to this file, too", place="file")
QUIET = Flag("quiet", False, "print warnings, errors and what failed, and nothing else")
LOG_FORMAT = Flag("log-format", "text", "format of the log lines, can be 'text' or 'json'", choices=terminal.FORMATS)
ONLY = Flag("only", "", "only the images that this pattern names, e.g. 'rancher/*'", adds_up=True)
REQUIRE_SLIP = Flag("require-slip", "", "demand a slip, signed by one in this file (ssh-keygen, ALLOWED SIGNERS)", place="file")
REPORT = Flag("report", "", "write a report of the run to this file, as its name ends: '.html' or '.json'", place="file")
PROGRESS = Flag("progress", "auto", "how progress is shown, can be 'auto', 'rich', 'plain' or 'none'", choices=terminal.MODES)


def chosen(values: Mapping[str, Value]) -> Settings:
    """The settings of ``save`` among the flags that were given, checked one by one. Raises UsageError."""
    given = {row.setting: values[row.name] for row in SETTINGS if row.name in values}
    jobs = given.get("jobs")
    if isinstance(jobs, int) and jobs > MAX_JOBS:
        log.warning("-j %d is more than the maximum; using %d", jobs, MAX_JOBS)
        given["jobs"] = MAX_JOBS
    settings = Settings(given, Path.cwd())
    settings.check()
    return settings


def slip_signers(given: Given) -> Path | None:
    """The file of ``-require-slip``. Raises UsageError where it is not there."""
    if not given.text("require-slip"):
        return None
    path = source(given.text("require-slip"))
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file", tip="see ssh-keygen(1), ALLOWED SIGNERS", setting="require-slip")
    return path.absolute()


def report_file(given: Given) -> Path | None:
    """The file of ``-report``. Raises UsageError, EnvironmentProblem for one that cannot be written."""
    if not given.text("report"):
        return None
    path = absolute(given.text("report"), Path.cwd(), "report")
    for problem in bundle_maker.device_problem(path, "report"):
        raise problem
    check_name(path)
    disk.check_writable(path.parent)
    return path


def bases(given: Given) -> tuple[Path, ...]:
    """The bundles of ``-base``."""
    return tuple(source(text) for text in given.texts("base"))


def one_source(operands: tuple[str, ...], command: str) -> Path:
    """The SOURCE of a command that takes one. Raises UsageError."""
    if len(operands) != 1:
        many = f"one archive or folder at a time, not {' and '.join(operands)}"
        what = many if operands else "no archive or folder given"
        raise UsageError(what, tip=f"see 'image-tools {command} -h'")
    return source(operands[0])


def source(text: str) -> Path:
    """A path as it was written: messages name it so."""
    if not text or "\0" in text:
        raise UsageError("a path is empty or holds a NUL character")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"there is no such place as {text}: {error}") from error


def print_json(document: Any) -> None:
    json.dump(document, sys.stdout, indent=1)
    print()


def print_lines(*lines: str) -> None:
    # Looked at one by one: a bundle of 2,000 images has 10,000 lines, of which none needs to be changed.
    print(*(line if line.isprintable() else harmless(line) for line in lines), sep="\n")
