"""What one flag, or one key of a definition, takes: its type, its choices and its limits, in one place.

``cli.go_flags`` reads command lines with these; ``config.settings`` adds what only the settings of a bundle have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from pipeline.core.errors import UsageError

Value = str | int | bool
Place = Literal["", "file", "folder"]

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""What Go's ``strconv.ParseBool`` takes."""
# Not what int() takes: spaces, underscores, the digits of any script, and an error for thousands of them.
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True)
class Flag:
    """One flag. The type of ``default`` is the type of its values; zero values are not shown."""

    name: str
    default: Value
    help: str
    _: KW_ONLY
    choices: tuple[str, ...] = ()
    """The texts that it takes; words that it takes beside its values where it is a number or a switch."""
    minimum: int | None = None
    maximum: int | None = None
    place: Place = ""
    """What a path names, for completion."""
    adds_up: bool = False
    """Given several times, all its values count; of any other flag the last one does."""
    long: str = ""
    """Its other name, a word where ``name`` is a letter."""

    @property
    def names(self) -> tuple[str, ...]:
        """What a command line may call it."""
        return (self.name, self.long) if self.long else (self.name,)

    @property
    def setting(self) -> str:
        """What an error calls it in its ``setting``."""
        return self.name

    @property
    def takes_value(self) -> bool:
        """Whether the next argument is its value. A switch takes one only behind an equals sign."""
        return not isinstance(self.default, bool)

    def parse(self, text: str) -> Value:
        """The value that a command line gives. Raises UsageError; limits are for ``check`` to see to."""
        if text in self.choices:
            return text
        if isinstance(self.default, bool):
            if text in TRUE or text in FALSE:
                return text in TRUE
            raise self._refusal(f'"{text}"', either("true", "false", *self.choices))
        if isinstance(self.default, int):
            if _NUMBER.fullmatch(text):
                return int(text)
            raise self._refusal(f'"{text}"', either("a whole number", *self.choices))
        if self.choices and text != self.default:
            raise self._refusal(f'"{text}"', f"one of {', '.join(self.choices)}")
        return text

    def check(self, value: Value) -> None:
        """Raises UsageError for a value of the right type that is not one of the choices, or not within the limits."""
        if isinstance(value, str):
            if self.choices and value not in self.choices:
                raise self._refusal(f'"{value}"', f"one of {', '.join(self.choices)}")
        elif isinstance(value, int) and not isinstance(value, bool):
            low, high = self.minimum, self.maximum
            if (low is not None and value < low) or (high is not None and value > high):
                raise self._refusal(str(value), limits_text(low, high))

    def _refusal(self, shown: str, valid: str) -> UsageError:
        return UsageError(f"invalid value {shown}: use {valid}", setting=self.setting)

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


def either(*names: str) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def limits_text(minimum: int | None, maximum: int | None) -> str:
    """``a number from 1 to 20``, ``0 or more``."""
    return f"{minimum} or more" if maximum is None else f"a number from {minimum} to {maximum}"


def in_flags(error: UsageError, flags: Sequence[Flag]) -> UsageError:
    """The same error, in the words of a command line: its message begins with the flag that it is about."""
    names = {flag.setting: flag.name for flag in flags}
    if error.setting not in names:
        return error
    return UsageError(f"-{names[error.setting]}: {error.message}", tip=error.tip)
