"""What several commands have in common: SOURCE, the settings that ``save`` has too, Harbor's project, output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.cli.go_flags import Given
from pipeline.config.flag import Flag, Value
from pipeline.config.settings import SETTINGS, Settings, rows
from pipeline.core import reference
from pipeline.core.bundle import MAX_JOBS
from pipeline.core.errors import InputError, UsageError
from pipeline.core.log import log
from pipeline.registry.harbor import DEFAULT_PROJECT
from pipeline.ui import terminal
from pipeline.ui.terminal import harmless

ACCESS = rows("authfile", "cert-dir", "tls-verify", "retry")
"""How registries are reached."""
PROJECT = Flag("default-project", DEFAULT_PROJECT, "Harbor project of images that have none")
DEBUG = Flag("debug", False, "enable the debug output")
JSON = Flag("json", False, "print one JSON document")
LIST = Flag("f", "", "image list file", place="file", adds_up=True)
LOG_FORMAT = Flag("log-format", "text", "format of the log lines, can be 'text' or 'json'", choices=terminal.FORMATS)
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


def default_project(given: Given) -> str:
    """The Harbor project of images that have none; empty where the registry is no Harbor. Raises UsageError."""
    if not given.text("repo-type"):
        return ""
    project = given.text("default-project")
    try:
        reference.parse(f"localhost/{project}/image")
    except InputError as error:
        raise UsageError(f"{project!a} is not a name of a project: {error}", setting="default-project") from error
    return project


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
