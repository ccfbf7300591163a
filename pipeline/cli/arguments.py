"""What the commands have in common: one SOURCE among the flags, before or after them; help; the log; JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.cli.go_flags import Flag, FlagSet, HelpWanted, Value
from pipeline.config import settings
from pipeline.config.settings import SETTINGS, Settings
from pipeline.core import reference
from pipeline.core.errors import EXIT_OK, InputError, UsageError
from pipeline.registry.harbor import DEFAULT_PROJECT
from pipeline.ui.terminal import harmless, start_logging

ACCESS = tuple(
    Flag(setting.flag, setting.default, setting.help)
    for setting in SETTINGS
    if setting.key in ("authfile", "cert-dir", "tls-verify", "retry")
)
"""How registries are reached."""
PROJECT = Flag("default-project", DEFAULT_PROJECT, "Harbor project of images that have none")
DEBUG = Flag("debug", False, "enable the debug output")
JSON = Flag("json", False, "print one JSON document")


def parse(flags: FlagSet, arguments: Sequence[str], about: str) -> tuple[Mapping[str, Value], Path] | int:
    """The flags that were given, and SOURCE; the exit code where help was asked for and given. Raises UsageError."""
    values: dict[str, Value] = {}
    places: list[str] = []
    rest = tuple(arguments)
    try:
        while rest:
            found, rest = flags.parse(rest)
            values.update(found)
            places += rest[:1]
            rest = rest[1:]
    except HelpWanted:
        print(flags.usage() + about, end="")
        return EXIT_OK
    start_logging(bool(values.get("debug")))
    if len(places) != 1:
        what = "which archive or folder?" if not places else f"one archive or folder at a time, not {' and '.join(places)}"
        raise UsageError(f"{what}\nTIP: see 'image-tools {flags.command} -h'")
    return values, source(places[0])


def one_of(values: Mapping[str, Value], flag: str, choices: Sequence[str], default: str) -> str:
    """The value of a flag that has a few. Raises UsageError."""
    value = str(values.get(flag, default))
    if value not in (*choices, default):
        raise UsageError(f'invalid value "{harmless(value)}" for -{flag}: use one of {", ".join(choices)}')
    return value


def default_project(values: Mapping[str, Value]) -> str:
    """The Harbor project of images that have none; empty where the registry is no Harbor. Raises UsageError."""
    if not one_of(values, "repo-type", ("harbor",), ""):
        return ""
    project = str(values.get("default-project", DEFAULT_PROJECT))
    try:
        reference.parse(f"localhost/{project}/image")
    except InputError as error:
        raise UsageError(f"-default-project {project!a} is no name of a project: {error}") from error
    return project


def source(text: str) -> Path:
    """A path as it was written: messages name it so."""
    if not text or "\0" in text:
        raise UsageError("a path is empty or holds a NUL character")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"there is no such place as {text}: {error}") from error


def chosen(values: Mapping[str, Value]) -> Settings:
    """What was given of the settings that ``save`` has too."""
    given = {setting.key: values[setting.flag] for setting in SETTINGS if setting.flag in values}
    return settings.Settings(given, Path.cwd())


def print_json(document: Any) -> None:
    json.dump(document, sys.stdout, indent=1)
    print()


def print_lines(*lines: str) -> None:
    # Looked at one by one: a bundle of 2,000 images has 10,000 lines, of which none needs to be changed.
    print(*(line if line.isprintable() else harmless(line) for line in lines), sep="\n")
