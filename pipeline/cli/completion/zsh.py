"""Completion for zsh."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.cli.catalogue import groups
from pipeline.cli.command import Command
from pipeline.cli.completion.words import quoted, second_words, summary
from pipeline.config.flag import Flag


def script() -> str:
    names = "".join(f"        {quoted(f'{name}:{summary(commands)}')}\n" for name, commands in groups().items())
    cases = "".join(_zsh_case(name, commands) for name, commands in groups().items())
    return f"""\
#compdef image-tools
# zsh completion for image-tools; made by 'image-tools completion zsh'
_image-tools() {{
    local -a commands
    commands=(
{names}    )
    if ((CURRENT == 2)); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    ((CURRENT--))
    case $command in
{cases}    esac
}}
if [[ $funcstack[1] == _image-tools ]]; then _image-tools "$@"; else compdef _image-tools image-tools; fi
"""


def _zsh_case(name: str, commands: Sequence[Command]) -> str:
    second = second_words(commands)
    if not second:
        return f"        {name})\n{_zsh_arguments(commands[0], ' ' * 12)}            ;;\n"
    inner = "".join(
        f"                {command.words.split()[1]})\n{_zsh_arguments(command, ' ' * 20)}                    ;;\n"
        for command in commands
        if command.flags or command.body.takes_files
    )
    choose = f"            if ((CURRENT == 2)); then compadd -- {' '.join(second)}; return; fi\n"
    if not inner:
        return f"        {name})\n{choose}            ;;\n"
    rest = "            command=$words[2]\n            shift words\n            ((CURRENT--))\n"
    return f"        {name})\n{choose}{rest}            case $command in\n{inner}            esac\n            ;;\n"


def _zsh_arguments(command: Command, indent: str) -> str:
    specs = [quoted(_zsh_flag(flag)) for flag in command.flags]
    if command.body.takes_files:
        specs.append(quoted("*:file:_files"))
    return f"{indent}_arguments" + "".join(f" \\\n{indent}    {spec}" for spec in specs) + "\n" if specs else f"{indent}:\n"


def _zsh_flag(flag: Flag) -> str:
    help_text = re.sub(r"([\[\]:\\])", r"\\\1", flag.help)
    if not flag.takes_value:
        return f"-{flag.name}[{help_text}]"
    what = f"({' '.join(flag.choices)})" if flag.choices else {"": " ", "file": "_files", "folder": "_files -/"}[flag.place]
    return f"-{flag.name}=[{help_text}]:{flag.name}:{what}"
