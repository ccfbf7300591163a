"""Go's flag syntax, as ``save.md`` documents it: ``-x v``, ``-x=v``, ``--x`` alike, ``-bool`` and ``-bool=false``.

In come arguments, out goes a mapping from flag name to typed value. Wrong input raises ``UsageError`` in Go's words plus a
hint. Source: Go package ``flag``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.errors import UsageError

Value = str | int | bool

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
# Not what int() takes: spaces, underscores, the digits of any script, and an error for thousands of them.
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class HelpWanted(Exception):
    """``-h`` or ``-help`` was given."""


@dataclass(frozen=True)
class Flag:
    """One flag. The type of ``default`` is the type of its values; zero values are not shown."""

    name: str
    default: Value
    help: str

    def parse(self, text: str) -> Value:
        if isinstance(self.default, bool):
            if text in _TRUE:
                return True
            if text in _FALSE:
                return False
            raise UsageError(f'invalid boolean value "{text}" for -{self.name}: use true or false')
        if isinstance(self.default, int):
            if not _NUMBER.fullmatch(text):
                raise UsageError(f'invalid value "{text}" for flag -{self.name}: not a whole number')
            return int(text)
        return text

    def kind_and_default(self) -> tuple[str, str]:
        """``string``, `` (default "x")``; empty where there is nothing to say."""
        kind = "" if isinstance(self.default, bool) else "int" if isinstance(self.default, int) else "string"
        if not self.default:
            return kind, ""
        shown = f'"{self.default}"' if kind == "string" else str(self.default).lower()
        return kind, f" (default {shown})"

    def usage(self) -> str:
        kind, default = self.kind_and_default()
        return f"  -{self.name}{' ' if kind else ''}{kind}\n        {self.help}{default}\n"


@dataclass(frozen=True)
class FlagSet:
    """The flags of one command."""

    command: str
    flags: tuple[Flag, ...]

    def usage(self) -> str:
        """Help in the shape of Go's ``PrintDefaults``."""
        return f"Usage of {self.command}:\n" + "".join(f.usage() for f in sorted(self.flags, key=lambda f: f.name))

    def parse(self, arguments: Sequence[str]) -> tuple[Mapping[str, Value], tuple[str, ...]]:
        """Values of the flags that were given (not the defaults), and what is left after the first non-flag.

        Raises UsageError, and HelpWanted where help is asked for.
        """
        known = {flag.name: flag for flag in self.flags}
        values: dict[str, Value] = {}
        rest = list(arguments)
        while rest and rest[0].startswith("-") and rest[0] != "-":
            argument = rest.pop(0)
            if argument == "--":
                break
            name, equals, text = argument.removeprefix("-").removeprefix("-").partition("=")
            if not name or name.startswith("-"):
                raise UsageError(f"bad flag syntax: {argument}")
            if name in ("h", "help"):
                raise HelpWanted
            if name not in known:
                raise UsageError(f"flag provided but not defined: -{name}{self._suggestion(name)}")
            flag = known[name]
            if not equals and isinstance(flag.default, bool):
                text = "true"
            elif not equals:
                if not rest:
                    raise UsageError(f"flag needs an argument: -{name}")
                text = rest.pop(0)
            values[name] = flag.parse(text)
        return values, tuple(rest)

    def _suggestion(self, name: str) -> str:
        close = difflib.get_close_matches(name, [f.name for f in self.flags], n=1)
        return f" (did you mean -{close[0]}?)" if close else f"\nTIP: see 'image-tools {self.command} -h'"
