"""Completion for fish."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.cli.catalogue import groups
from pipeline.cli.command import Command
from pipeline.cli.completion.words import second_words, summary


def script() -> str:
    lines = ["# fish completion for image-tools; made by 'image-tools completion fish'", "complete -c image-tools -f"]
    for name, commands in groups().items():
        lines.append(f"complete -c image-tools -n __fish_use_subcommand -a {name} -d {_fish(summary(commands))}")
        second = second_words(commands)
        if second:
            seen = f"__fish_seen_subcommand_from {name}; and not __fish_seen_subcommand_from {' '.join(second)}"
            lines.append(f"complete -c image-tools -n {_fish(seen)} -a {_fish(' '.join(second))}")
        for command in commands:
            lines += _fish_flags(command)
    return "\n".join(lines) + "\n"


def _fish_flags(command: Command) -> Iterator[str]:
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.words.split())
    start = f"complete -c image-tools -n {_fish(seen)}"
    if command.body.takes_files:
        yield f"{start} -F"
    for flag in command.flags:
        value = ""
        if flag.choices:
            value = f" -x -a {_fish(' '.join(flag.choices))}"
        elif flag.place == "folder":
            value = " -x -a '(__fish_complete_directories)'"
        elif flag.takes_value:
            value = " -r -F" if flag.place else " -x"
        yield f"{start} -o {flag.name}{value} -d {_fish(flag.help)}"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
