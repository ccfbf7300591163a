"""Every command with what it is for: the one list that dispatch, help, completion and the manual go by.

What stands here is light; a command's body is looked up in its own module when it is needed.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pipeline.cli.command import HELP, Command, examples_text
from pipeline.core.errors import UsageError

COMMANDS = (
    Command(
        "save",
        "[-f LIST] [IMAGE...]",
        "save images into one bundle",
        "save.command:BODY",
        ("pull", "download", "bundle", "copy"),
    ),
    Command("images", "FILE...", "the images that files of any kind name", "lists.images:BODY", ("find", "extract")),
    Command("check", "LIST", "whether all of a list is there, and as it was", "lists.check:BODY"),
    Command(
        "mirror",
        "-f LIST -d REGISTRY",
        "from registry to registry, without a bundle",
        "lists.mirror:BODY",
        ("sync", "replicate"),
    ),
    Command(
        "convert-list", "LIST -d REGISTRY", "a list with sources and destinations", "lists.convert_list:BODY", ("convert",)
    ),
    Command("lock", "-f LIST", "what each image is today, without fetching it", "lock:BODY", ("pin", "freeze", "resolve")),
    Command("load", "SOURCE -d REGISTRY", "bring what was saved into a registry", "load:BODY", ("push", "import", "upload")),
    Command(
        "ls",
        "SOURCE [PATTERN...]",
        "what is in an archive, volumes, or a folder",
        "ls:BODY",
        ("list", "inspect", "show", "info"),
    ),
    Command("verify", "SOURCE", "whether all of it is intact", "verify:BODY", ("validate", "test")),
    Command("merge", "SOURCE... -d FILE", "shards, deltas or any bundles become one", "deltas.merge:BODY", ("combine",)),
    Command("diff", "OLD NEW", "what differs between lists, locks, bundles", "deltas.diff:BODY", ("compare",)),
    Command("inventory", "SOURCE -o FILE", "what it has, as the base of a delta", "deltas.inventory:BODY", ("catalog",)),
    Command("volumes", "SOURCE -d DIR", "cut an archive into volumes, or join them", "volumes:BODY", ("split", "join", "cut")),
    Command("repair", "SOURCE -d DIR", "make a damaged archive whole again", "repair:BODY", ("recover", "fix")),
    Command(
        "export", "SOURCE -for RUNTIME -d FILE", "archives for nodes without a registry", "export:BODY", ("convert-archive",)
    ),
    Command("serve", "SOURCE", "a read-only registry straight from it", "serve:BODY"),
    Command("bundle list", "FILE...", "the bundles of definition files", "bundle:LIST"),
    Command("bundle check", "[-locked] FILE...", "all that is wrong with them", "bundle:CHECK"),
    Command("bundle show", "FILE [NAME...]", "bundles with every default filled in", "bundle:SHOW"),
    Command("bundle schema", "", "the JSON Schema of definitions", "bundle:SCHEMA"),
    Command("graph", "[-f LIST | -config FILE]", "the tasks of a save, and how far they are", "graph:BODY"),
    Command("cache info", "", "what belongs to which bundle", "cache:INFO"),
    Command("cache prune", "", "remove what belongs to no bundle", "cache:PRUNE", ("prune", "clean", "rm")),
    Command("demo", "", "see it work, with nothing but this machine", "demo.tour:BODY"),
    Command("pack-self", "-d DIR|FILE", "this program, for a machine without a network", "pack_self.command:BODY", ("self",)),
    Command("completion", "bash|zsh|fish", "completion of commands and flags for a shell", "completion:BODY"),
    Command("man", "", "the manual, in a pager", "man:BODY", ("manual", "docs")),
    Command("version", "", "print the version", "version:BODY"),
)
_GROUP_NOTES = {
    "bundle": "FILE may also be given as -config FILE, as 'image-tools save' has it. Nothing is fetched, and nothing written.",
    "cache": "A bundle is what was saved to one destination; it is known until it is forgotten, wherever its archive has gone.",
}
_COLUMN = 34


def groups() -> dict[str, list[Command]]:
    """Commands by their first word."""
    found: dict[str, list[Command]] = {}
    for command in COMMANDS:
        found.setdefault(command.words.split()[0], []).append(command)
    return found


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name. Its exit code. Raises ImageToolsError."""
    name, rest = (arguments[0], list(arguments[1:])) if arguments else ("help", [])
    if name == "help" and rest:
        return run([*rest, "-h"])
    if name in ("help", *HELP):
        print(overview(), end="")
        return 0
    if name in ("-version", "--version"):
        name = "version"
    found = groups().get(name)
    if found is None:
        raise _no_such_command(name)
    if found[0].words == name:
        return found[0].call(rest)
    second, rest = (rest[0], rest[1:]) if rest else ("help", [])
    if second in ("help", *HELP):
        print(_group_help(name, found), end="")
        return 0
    for command in found:
        if command.words == f"{name} {second}":
            return command.call(rest)
    raise UsageError(f"there is no command '{name} {second}'\n{_group_help(name, found).rstrip()}")


def overview() -> str:
    """What ``image-tools help`` prints."""
    head = "image-tools carries container images across an air gap.\n\n"
    return head + _usage(COMMANDS, "image-tools COMMAND -h")


def _group_help(name: str, commands: Sequence[Command]) -> str:
    examples = [example for command in commands for example in command.body.examples]
    return f"{_usage(commands, f'image-tools {name} COMMAND -h')}\n{_GROUP_NOTES[name]}\n{examples_text(examples)}"


def _usage(commands: Sequence[Command], help_call: str) -> str:
    lines = [(command.call_line, command.summary) for command in commands]
    return "Usage:\n" + "".join(_line(call, summary) for call, summary in [*lines, (help_call, "all flags of a command")])


def _line(call: str, summary: str) -> str:
    call = f"  {call}"
    return f"{call}\n{'':{_COLUMN}}{summary}\n" if len(call) > _COLUMN - 2 else f"{call:<{_COLUMN}}{summary}\n"


def _no_such_command(name: str) -> UsageError:
    """With the command that was most likely meant: by its name, or by what else it is called."""
    close = [command.words for command in COMMANDS if name in command.also]
    close = close or difflib.get_close_matches(name, list(groups()), n=1)
    guess = f" (did you mean '{close[0]}'?)" if close else ""
    return UsageError(f"there is no command '{name}'{guess}", tip="" if close else "see 'image-tools help'")
