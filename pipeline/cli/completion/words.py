"""What all three shells need to know of the commands."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.command import Command


def second_words(commands: Sequence[Command]) -> list[str]:
    """What may follow the first word of these commands, which have it in common; empty where that is up to the user."""
    if " " in commands[0].words:
        return [command.words.split()[1] for command in commands]
    return list(commands[0].body.choices)


def summary(commands: Sequence[Command]) -> str:
    return commands[0].summary if " " not in commands[0].words else "; ".join(command.summary for command in commands)


def quoted(text: str) -> str:
    """For bash, zsh and POSIX shells."""
    return "'" + text.replace("'", "'\\''") + "'"
