"""Every command with what it is for, its flags and its examples: the one source of help, completion and manual.

What stands here is light; the flags of a command are looked up in its own module when they are asked for.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from pipeline.cli.go_flags import Flag, FlagSet
from pipeline.core.errors import UsageError


@dataclass(frozen=True)
class Command:
    """``words`` call it; ``usage`` follows them. ``flags_at`` and ``examples_at`` are ``module:name``, and may be empty."""

    words: str
    usage: str
    summary: str
    flags_at: str = ""
    examples_at: str = ""

    @property
    def flags(self) -> tuple[Flag, ...]:
        found = _look_up(self.flags_at)
        flag_set = found[self.words] if isinstance(found, Mapping) else found
        return tuple(sorted(cast("FlagSet", flag_set).flags, key=lambda flag: flag.name)) if flag_set else ()

    @property
    def examples(self) -> tuple[str, ...]:
        """The commands of its examples, each on one line."""
        text = str(_look_up(self.examples_at) or "").partition("Examples:\n")[2]
        joined = re.sub(r"\\\n\s*", "", text)
        return tuple(line.strip() for line in joined.splitlines() if line.startswith("  image-tools "))


def _in(module: str) -> tuple[str, str]:
    return f"{module}:FLAGS", f"{module}:ABOUT"


COMMANDS = (
    Command("save", "-f LIST", "save the images of a list into one bundle", "save_options:SAVE_FLAGS", "examples:SAVE"),
    Command("load", "-s SOURCE -d REGISTRY", "bring what was saved into a registry", *_in("load")),
    Command("ls", "SOURCE", "what is in an archive, volumes, or a folder", *_in("ls")),
    Command("verify", "SOURCE", "whether all of it is intact", *_in("verify")),
    Command("serve", "SOURCE", "a read-only registry straight from it", *_in("serve")),
    Command("bundle list", "FILE...", "the bundles of definition files", "bundle:FLAG_SETS"),
    Command("bundle check", "FILE...", "all that is wrong with them", "bundle:FLAG_SETS", "bundle:EXAMPLES"),
    Command("bundle show", "FILE [NAME...]", "bundles with every default filled in", "bundle:FLAG_SETS"),
    Command("bundle schema", "", "the JSON Schema of definitions", "bundle:FLAG_SETS"),
    Command("graph", "[-f LIST | -config FILE]", "the tasks of a save, and how far they are", "graph:FLAGS", "graph:EXAMPLES"),
    Command("cache info", "", "what belongs to which bundle", "cache:FLAG_SETS", "cache:EXAMPLES"),
    Command("cache prune", "", "remove what belongs to no bundle", "cache:FLAG_SETS"),
    Command("demo", "", "see it work, with nothing but this machine", "demo.tour:FLAGS"),
    Command("completion", "bash|zsh|fish", "completion of commands and flags for a shell", "", "completion:ABOUT"),
    Command("man", "", "the manual: image-tools man | man -l -", "", ""),
    Command("version", "", "print the version"),
)
CHOICES = {
    "compress": ("gzip", "zstd", "dir"),
    "log-format": ("text", "json"),
    "progress": ("auto", "rich", "plain", "none"),
    "repo-type": ("harbor",),
}
"""What may follow a flag, whatever the command."""
FILES = frozenset({"authfile", "config", "d", "f", "o", "password-file", "report", "s", "tls-cert", "tls-key"})
FOLDERS = frozenset({"cache", "cert-dir"})
TAKE_FILES = frozenset({"SOURCE", "FILE...", "FILE [NAME...]"})
"""Commands whose ``usage`` is one of these take files beside their flags."""
_COLUMN = 34


def overview() -> str:
    """What ``image-tools help`` prints."""
    lines = ["image-tools carries container images across an air gap.", "", "Usage:"]
    lines += [_line(f"{command.words} {command.usage}", command.summary) for command in COMMANDS]
    lines.append(_line("COMMAND -h", "all flags of a command"))
    return "\n".join(lines) + "\n"


def _line(call: str, summary: str) -> str:
    call = f"  image-tools {call}".rstrip()
    room = f"\n{'':{_COLUMN}}" if len(call) > _COLUMN - 2 else ""
    return f"{call}{room}{summary}" if room else f"{call:<{_COLUMN}}{summary}"


def no_such_command(name: str) -> UsageError:
    """With the command that was most likely meant."""
    names = list(dict.fromkeys(command.words.split()[0] for command in COMMANDS))
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return UsageError(f"there is no command '{name}' (did you mean '{close[0]}'?)")
    return UsageError(f"there is no command '{name}'\n{overview().rstrip()}")


def _look_up(place: str) -> object:
    module, _, name = place.partition(":")
    return getattr(import_module(f".{module}", __package__), name) if place else None
