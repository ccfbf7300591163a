"""Go's flag syntax, as ``save.md`` documents it: ``-x v``, ``-x=v``, ``--x`` alike, ``-bool`` and ``-bool=false``.

Takes arguments, returns ``Given``: the typed values of the flags that were given, over their defaults. Flags may stand before
and after the operands; ``--`` ends them. Wrong input raises ``UsageError`` with a hint. Source: Go package ``flag``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.config.flag import Flag, Value
from pipeline.core.errors import UsageError


class HelpWanted(Exception):
    """``-h`` or ``-help`` was given."""


class Given:
    """The flags of one command line: values by name, and the defaults of those that were not given."""

    def __init__(
        self,
        flags: Sequence[Flag],
        arguments: Sequence[str],
        values: Mapping[str, Value],
        lists: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._defaults = {flag.name: flag.default for flag in flags}
        self.arguments = tuple(arguments)
        """As they were typed."""
        self.values = values
        """Of the flags that were given: the last value of each; of one that adds up all of them, each on a line."""
        self._lists = lists

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def only(self, names: Collection[str]) -> Mapping[str, Value]:
        """The values of these flags, of those that were given."""
        return {name: value for name, value in self.values.items() if name in names}

    def text(self, name: str) -> str:
        return str(self.values.get(name, self._defaults[name]))

    def number(self, name: str) -> int:
        return int(self.values.get(name, self._defaults[name]))

    def switch(self, name: str) -> bool:
        return bool(self.values.get(name, self._defaults[name]))

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of a flag that adds up, without empty ones, each once."""
        return tuple(dict.fromkeys(filter(None, self._lists.get(name, ()))))


@dataclass(frozen=True)
class Arguments:
    """A command line as it was read. ``replaced`` are the flags whose last value replaced another one."""

    given: Given
    operands: tuple[str, ...]
    replaced: tuple[str, ...] = ()


def parse(flags: Sequence[Flag], arguments: Sequence[str], command: str = "") -> Arguments:
    """Read a command line. Raises UsageError, and HelpWanted where help is asked for."""
    known = {name: flag for flag in flags for name in flag.names}
    values: dict[str, Value] = {}
    lists: dict[str, tuple[str, ...]] = {}
    operands: list[str] = []
    replaced: dict[str, None] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            operands += rest
            break
        if not argument.startswith("-") or argument == "-":
            operands.append(argument)
            continue
        name, equals, text = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {argument}")
        if name in ("h", "help"):
            raise HelpWanted
        if name not in known:
            raise _not_defined(name, flags, command)
        flag = known[name]
        if not equals and not flag.takes_value:
            text = "true"
        elif not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: -{name}")
            text = rest.pop(0)
        name = flag.name
        value = flag.parse(text)
        if flag.adds_up:
            lists[name] = (*lists.get(name, ()), str(value))
            value = "\n".join(lists[name])
        elif values.get(name, value) != value:
            replaced[name] = None
        values[name] = value
    return Arguments(Given(flags, arguments, values, lists), tuple(operands), tuple(replaced))


def usage(command: str, flags: Sequence[Flag], groups: Mapping[str, str] | None = None) -> str:
    """Help in the shape of Go's ``PrintDefaults``; in ``groups`` (names of flags by heading) where there are some."""
    found = sorted(flags, key=lambda flag: flag.name)
    if groups:
        by_name = {flag.name: flag for flag in found}
        parts = [
            (f"\n{heading}\n" if heading else "") + "".join(by_name[name].usage() for name in sorted(names.split()))
            for heading, names in groups.items()
        ]
        body = "".join(parts)
    else:
        body = "".join(flag.usage() for flag in found)
    long = ", ".join(f"--{flag.names[1]} (-{flag.name})" for flag in found if len(flag.names) > 1)
    return f"Usage of {command}:\n{body}" + (f"\nLong names: {long}\n" if long else "")


def _not_defined(name: str, flags: Sequence[Flag], command: str) -> UsageError:
    """With the flag that was most likely meant: by its name, or by a word in what its help says."""
    names = [each for flag in flags for each in flag.names]
    close = (
        difflib.get_close_matches(name, names, n=1, cutoff=0.8)
        or [flag.name for flag in flags if name.lower() in re.findall("[a-z]{4,}", flag.help.lower())]
        or difflib.get_close_matches(name, names, n=1)
    )
    guess = f" (did you mean -{close[0]}?)" if close else ""
    tip = "" if close else f"see 'image-tools {command} -h'"
    return UsageError(f"flag provided but not defined: -{name}{guess}", tip=tip)
