"""``image-tools completion SHELL``: a script that completes commands, flags and their values.

Everything is written into the script, so that no key press waits for a process. Flags stand as ``-flag``, as help has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pipeline.cli.catalogue import CHOICES, COMMANDS, FILES, FOLDERS, TAKE_FILES, Command
from pipeline.cli.go_flags import Flag
from pipeline.core.errors import EXIT_OK, UsageError

SHELLS = ("bash", "zsh", "fish")
ABOUT = """\
Usage:
  image-tools completion bash|zsh|fish    print a script for that shell

Examples:
  image-tools completion bash > ~/.local/share/bash-completion/completions/image-tools
  image-tools completion zsh > ~/.zfunc/_image-tools
  image-tools completion fish > ~/.config/fish/completions/image-tools.fish

(zsh reads ~/.zfunc where ~/.zshrc says 'fpath+=~/.zfunc; autoload -Uz compinit; compinit'.)
"""


def run(arguments: Sequence[str]) -> int:
    """Print the script. Its exit code. Raises UsageError."""
    if arguments and arguments[0] in ("-h", "--h", "-help", "--help"):
        print(ABOUT, end="")
        return EXIT_OK
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        raise UsageError(f"for which shell? One of {', '.join(SHELLS)}\n{ABOUT.rstrip()}")
    print({"bash": bash, "zsh": zsh, "fish": fish}[arguments[0]](), end="")
    return EXIT_OK


def _groups() -> dict[str, list[Command]]:
    """Commands by their first word."""
    groups: dict[str, list[Command]] = {}
    for command in COMMANDS:
        groups.setdefault(command.words.split()[0], []).append(command)
    return groups


def _second_words(name: str, commands: Sequence[Command]) -> list[str]:
    if name == "completion":
        return list(SHELLS)
    return [command.words.split()[1] for command in commands if " " in command.words]


def _takes_value(flag: Flag) -> bool:
    return not isinstance(flag.default, bool)


# bash


def bash() -> str:
    groups = _groups()
    seconds = "".join(
        f"        {name}) words='{' '.join(found)}' ;;\n"
        for name, commands in groups.items()
        if (found := _second_words(name, commands))
    )
    flags = "".join(f"        '{command.words}') {_bash_case(command)} ;;\n" for command in COMMANDS if command.flags)
    choices = "".join(f"        {flag}) words='{' '.join(values)}' ;;\n" for flag, values in CHOICES.items())
    files = " ".join(command.words for command in COMMANDS if command.usage in TAKE_FILES)
    return f"""\
# bash completion for image-tools; made by 'image-tools completion bash'
_image_tools() {{
    local IFS=$' \\t\\n' current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command=${{COMP_WORDS[1]}} words='' flags='' valued='' flag=''
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W '{" ".join(groups)}' -- "$current"))
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
    case $flag in
{choices}        {"|".join(sorted(FILES))}) _image_tools_files -f "$current"; return ;;
        {"|".join(sorted(FOLDERS))}) _image_tools_files -d "$current"; return ;;
    esac
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
    valued = " ".join(f"-{flag.name}" for flag in command.flags if _takes_value(flag))
    return f"flags='{every}' valued='{valued}'"


# zsh


def zsh() -> str:
    groups = _groups()
    names = "".join(f"        {_quoted(f'{name}:{_summary(commands)}')}\n" for name, commands in groups.items())
    cases = "".join(_zsh_case(name, commands) for name, commands in groups.items())
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
    second = _second_words(name, commands)
    if not second:
        return f"        {name})\n{_zsh_arguments(commands[0], ' ' * 12)}            ;;\n"
    inner = "".join(
        f"                {command.words.split()[1]})\n{_zsh_arguments(command, ' ' * 20)}                    ;;\n"
        for command in commands
        if " " in command.words and (command.flags or command.usage)
    )
    choose = f"            if ((CURRENT == 2)); then compadd -- {' '.join(second)}; return; fi\n"
    if not inner:
        return f"        {name})\n{choose}            ;;\n"
    rest = "            command=$words[2]\n            shift words\n            ((CURRENT--))\n"
    return f"        {name})\n{choose}{rest}            case $command in\n{inner}            esac\n            ;;\n"


def _zsh_arguments(command: Command, indent: str) -> str:
    specs = [_quoted(_zsh_flag(flag)) for flag in command.flags]
    if command.usage in TAKE_FILES:
        specs.append(_quoted("*:file:_files"))
    return f"{indent}_arguments" + "".join(f" \\\n{indent}    {spec}" for spec in specs) + "\n" if specs else f"{indent}:\n"


def _zsh_flag(flag: Flag) -> str:
    help_text = re.sub(r"([\[\]:\\])", r"\\\1", flag.help)
    if not _takes_value(flag):
        return f"-{flag.name}[{help_text}]"
    if flag.name in CHOICES:
        what = f"({' '.join(CHOICES[flag.name])})"
    else:
        what = "_files" if flag.name in FILES else "_files -/" if flag.name in FOLDERS else " "
    return f"-{flag.name}=[{help_text}]:{flag.name}:{what}"


def _quoted(text: str) -> str:
    """For bash, zsh and POSIX shells."""
    return "'" + text.replace("'", "'\\''") + "'"


# fish


def fish() -> str:
    groups = _groups()
    lines = ["# fish completion for image-tools; made by 'image-tools completion fish'", "complete -c image-tools -f"]
    for name, commands in groups.items():
        lines.append(f"complete -c image-tools -n __fish_use_subcommand -a {name} -d {_fish(_summary(commands))}")
        second = _second_words(name, commands)
        if second:
            seen = f"__fish_seen_subcommand_from {name}; and not __fish_seen_subcommand_from {' '.join(second)}"
            lines.append(f"complete -c image-tools -n {_fish(seen)} -a {_fish(' '.join(second))}")
        for command in commands:
            lines += _fish_flags(command)
    return "\n".join(lines) + "\n"


def _fish_flags(command: Command) -> Iterator[str]:
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.words.split())
    start = f"complete -c image-tools -n {_fish(seen)}"
    if command.usage in TAKE_FILES:
        yield f"{start} -F"
    for flag in command.flags:
        value = ""
        if flag.name in CHOICES:
            value = f" -x -a {_fish(' '.join(CHOICES[flag.name]))}"
        elif flag.name in FOLDERS:
            value = " -x -a '(__fish_complete_directories)'"
        elif _takes_value(flag):
            value = " -r -F" if flag.name in FILES else " -x"
        yield f"{start} -o {flag.name}{value} -d {_fish(flag.help)}"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _summary(commands: Sequence[Command]) -> str:
    return commands[0].summary if " " not in commands[0].words else "; ".join(command.summary for command in commands)
