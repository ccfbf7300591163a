"""Help, suggestions, completion and the manual: one source, nothing forgotten."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pipeline.cli import man
from pipeline.cli.catalogue import COMMANDS, overview
from pipeline.cli.command import Command
from pipeline.cli.completion import bash, fish, zsh
from pipeline.cli.main import main
from tests.support.documented import SAVE_HELP

SHAPE = re.compile(r"  -(\S+)(?: (string|int))?\n        (.*)\n")


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*command.split(), "-h"]) == 0
    return capsys.readouterr().out


def with_flags() -> list[Command]:
    return [command for command in COMMANDS if command.flags]


# Help


def test_save_has_the_documented_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Each flag of save.md, word for word, in its order."""
    documented = SAVE_HELP.removeprefix("Usage of save:\n")
    text = help_of("save", capsys)
    assert text.startswith("Usage of save:\n")
    shown = SHAPE.findall(text)
    wanted = SHAPE.findall(documented)
    assert [flag for flag in shown if flag[0] in {name for name, _, _ in wanted}] == wanted
    assert "\nExamples:\n  image-tools save " in text
    assert (
        "\nLong names: --arch (-a), --destination (-d), --file (-f), --jobs (-j), --failed-list (-o), --source (-s)\n" in text
    )


@pytest.mark.parametrize("command", with_flags(), ids=lambda command: command.words)
def test_examples_use_flags_that_there_are(command: Command) -> None:
    known = {flag.name for flag in command.flags}
    for example in command.examples:
        words = example.split()
        if " ".join(words[1:]).startswith(command.words):
            assert {word[1:].partition("=")[0] for word in words if word.startswith("-") and len(word) > 1} <= known, example


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["help"], ["-h"], ["--help"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out == overview()
    for command in COMMANDS:
        assert f"image-tools {command.words}" in overview()
    assert all(len(line) <= 80 for line in overview().splitlines())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_every_command_has_help(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(command.words, capsys)
    assert f"image-tools {command.words}" in text or f"Usage of {command.words}:" in text
    assert all(example in text for example in command.body.examples)


def test_a_group_has_the_help_of_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["bundle"], ["bundle", "-h"], ["bundle", "help"], ["cache", "--help"]):
        assert main(arguments) == 0
        text = capsys.readouterr().out
        for command in COMMANDS:
            assert (command.call_line in text) == command.words.startswith(f"{arguments[0]} ")
        assert all(len(line) <= 80 for line in text.partition("\n\n")[0].splitlines())


@pytest.mark.parametrize(
    "typed, meant", [("svae", "save"), ("sav", "save"), ("laod", "load"), ("bundel", "bundle"), ("verfy", "verify")]
)
def test_a_command_that_was_most_likely_meant(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed]) == 2
    assert capsys.readouterr().err == f"image-tools: there is no command '{typed}' (did you mean '{meant}'?)\n"


@pytest.mark.parametrize("typed, meant", [("-compres", "-compress"), ("-partsize=1", "-part-size"), ("--dryrun", "-dry-run")])
def test_a_flag_that_was_most_likely_meant(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["save", typed]) == 2
    assert f"(did you mean {meant}?)" in capsys.readouterr().err


def test_choices_are_those_of_the_help() -> None:
    for command in with_flags():
        for flag in command.flags:
            if "can be '" in flag.help:
                said = flag.help.partition("can be ")[2].partition(":")[0]
                assert tuple(re.findall(r"'([\w-]+)'", said)) == flag.choices
            if flag.place:
                assert flag.takes_value and not flag.choices


# Completion


def complete(*words: str) -> list[str]:
    """What bash offers for the last of the words, which it breaks at '='."""
    broken = [part for word in words for part in re.split(r"(=)", word) if part] + [""] * (words[-1] == "")
    script = Path("completion.bash")
    script.write_text(bash.script())
    quoted = " ".join(f"'{word}'" for word in ["image-tools", *broken])
    code = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(broken)}; _image_tools; "
    code += "printf '%s\\n' \"${COMPREPLY[@]}\""
    done = subprocess.run(["bash", "--norc", "-uc", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


def test_bash_completes_commands() -> None:
    assert complete("sa") == ["save"]
    assert set(complete("")) == {command.words.split()[0] for command in COMMANDS}
    assert complete("bundle", "s") == ["show", "schema"]
    assert complete("cache", "") == ["info", "prune"]
    assert complete("completion", "") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize("command", with_flags(), ids=lambda command: command.words)
def test_bash_completes_every_flag(command: Command) -> None:
    assert complete(*command.words.split(), "-") == [f"-{flag.name}" for flag in command.flags]


def test_bash_completes_values() -> None:
    Path("list one.txt").touch()
    Path("lists").mkdir()
    assert complete("save", "-comp") == ["-compress", "-compress-level"]
    assert complete("save", "--dry") == ["-dry-run"]
    assert complete("save", "-compress", "z") == ["zstd"]
    assert complete("save", "-compress=") == ["gzip", "zstd", "dir"]
    assert complete("save", "-compress=d") == ["dir"]
    assert complete("save", "-debug", "-progress", "") == ["auto", "rich", "plain", "none"]
    assert sorted(complete("save", "-f", "li")) == ["list one.txt", "lists"]
    assert complete("save", "-cache", "li") == ["lists"]
    assert complete("save", "-j", "") == ["auto"]
    assert complete("save", "-retry", "") == []
    assert complete("save", "li") == []
    assert "lists" in complete("ls", "li")


def test_the_other_shells_have_every_flag() -> None:
    for command in with_flags():
        for flag in command.flags:
            assert f"'-{flag.name}" in zsh.script()
            assert f" -o {flag.name} " in fish.script()


@pytest.mark.parametrize("arguments", [[], ["tcsh"], ["bash", "zsh"]])
def test_for_which_shell(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", *arguments]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err


# The manual


def test_the_manual(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["man"]) == 0
    text = capsys.readouterr().out
    assert text == man.page()
    for command in COMMANDS:
        assert f'.SS "image\\-tools {command.words}"' in text.replace(r"\-", "-").replace("image-tools", r"image\-tools")
        for flag in command.flags:
            assert flag.help.replace("-", r"\-").replace("\\\\", "\\") in text
    for line in text.splitlines():
        assert re.match(r"\.(TH|SH|SS|TP|PP|B|BR|br|nf|fi|RS|RE)\b|[^.']", line), "no text is taken for a request"
        assert "-" not in line.replace(r"\-", "") or line.startswith(".TH")
