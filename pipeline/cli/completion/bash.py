"""Completion for bash."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.cli.catalogue import COMMANDS, groups
from pipeline.cli.command import Command
from pipeline.cli.completion.words import second_words


def script() -> str:
    seconds = "".join(
        f"        {name}) words='{' '.join(found)}' ;;\n"
        for name, commands in groups().items()
        if (found := second_words(commands))
    )
    flags = "".join(f"        '{command.words}') {_bash_case(command)} ;;\n" for command in COMMANDS if command.flags)
    values = "".join(f"        {line}\n" for command in COMMANDS for line in _values(command))
    files = " ".join(command.words for command in COMMANDS if command.body.takes_files)
    return f"""\
# bash completion for image-tools; made by 'image-tools completion bash'
_image_tools() {{
    local IFS=$' \\t\\n' current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command=${{COMP_WORDS[1]}} words='' flags='' valued='' flag=''
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W '{" ".join(groups())}' -- "$current"))
        return
    fi
    case $command in
{seconds}    esac
    if [[ -n $words ]]; then
        if ((COMP_CWORD == 2)); then
            COMPREPLY=($(compgen -W "$words" -- "$current"))
            return
        fi
        command+=" ${{COMP_WORDS[2]}}"
    fi
    case $command in
{flags}    esac
    # '-flag=value' comes as three words, as '=' breaks them.
    if [[ $current == = ]]; then
        flag=$before current=''
    elif [[ $before == = ]]; then
        flag=${{COMP_WORDS[COMP_CWORD - 2]}}
    elif [[ " $valued " == *" -${{before##-}} "* || " $valued " == *" ${{before#-}} "* ]]; then
        flag=$before
    fi
    if [[ -z $flag ]]; then
        if [[ $current == -* ]]; then
            COMPREPLY=($(compgen -W "$flags" -- "-${{current#"${{current%%[!-]*}}"}}"))
        elif [[ ' {files} ' == *" $command "* ]]; then
            _image_tools_files -f "$current"
        fi
        return
    fi
    while [[ $flag == -* ]]; do flag=${{flag#-}}; done
    words=''
    case "$command -$flag" in
{values}    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
_image_tools_files() {{
    local IFS=$'\\n'
    COMPREPLY=($(compgen "$1" -- "$2"))
    compopt -o filenames 2>/dev/null || :
}}
complete -F _image_tools image-tools ./image-tools
"""


def _bash_case(command: Command) -> str:
    every = " ".join(f"-{flag.name}" for flag in command.flags)
    valued = " ".join(f"-{flag.name}" for flag in command.flags if flag.takes_value)
    return f"flags='{every}' valued='{valued}'"


def _values(command: Command) -> Iterator[str]:
    """What may follow each flag that says so."""
    for flag in command.flags:
        pattern = f"'{command.words} -{flag.name}')"
        if flag.choices:
            yield f"{pattern} words='{' '.join(flag.choices)}' ;;"
        elif flag.place:
            yield f'{pattern} _image_tools_files -{"d" if flag.place == "folder" else "f"} "$current"; return ;;'
