"""``image-tools completion SHELL``: a script that completes commands, flags and their values.

Everything is written into the script, so that no key press waits for a process. Flags stand as ``-flag``, as help has them.
"""

from __future__ import annotations

from pipeline.cli.command import Body
from pipeline.cli.completion import bash, fish, zsh
from pipeline.cli.go_flags import Given
from pipeline.core.errors import EXIT_OK, UsageError

SCRIPTS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}


def _run(given: Given, operands: tuple[str, ...]) -> int:
    if len(operands) != 1 or operands[0] not in SCRIPTS:
        raise UsageError(f"name one shell: {', '.join(SCRIPTS)}", tip="see 'image-tools completion -h'")
    print(SCRIPTS[operands[0]](), end="")
    return EXIT_OK


BODY = Body(
    run=_run,
    about="(zsh reads ~/.zfunc where ~/.zshrc says 'fpath+=~/.zfunc; autoload -Uz compinit; compinit'.)",
    examples=(
        "image-tools completion bash > ~/.local/share/bash-completion/completions/image-tools",
        "image-tools completion zsh > ~/.zfunc/_image-tools",
        "image-tools completion fish > ~/.config/fish/completions/image-tools.fish",
    ),
    choices=tuple(SCRIPTS),
)
