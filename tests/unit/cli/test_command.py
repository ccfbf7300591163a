"""Commands as the command line reaches them: found by their words, read in one way, refused in one voice."""

from __future__ import annotations

import pytest

from pipeline.cli import man
from pipeline.cli.catalogue import COMMANDS
from pipeline.cli.main import main
from pipeline.config.settings import SETTINGS


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_flag_that_is_given_twice_is_warned_about(clean_environment: object, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = shown(capsys, "cache", "info", "-cache", "one", "-cache=two")
    assert code != 0 and "there is no cache at" in err and "two" in err
    assert "-cache is given more than once; the last one counts: two" in err
    _, _, err = shown(capsys, "cache", "info", "-cache", "one", "-cache=one")
    assert "more than once" not in err


def test_flags_stand_before_and_after_what_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("none.tar.gz", "-json"), ("-json", "none.tar.gz"), ("-json", "--", "none.tar.gz")):
        code, _, err = shown(capsys, "ls", *arguments)
        assert code == 3 and "none.tar.gz" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["save", "/dev/null/x:1"], "the command line:1: '/dev/null/x:1'"),
        (["save", "nginx", "-config", "b.yaml"], "'nginx' and -config exclude each other"),
        (["save", "-registry", "r.io"], "flag provided but not defined: -registry (did you mean -s?)"),
        (["save", "--job", "2"], "flag provided but not defined: -job (did you mean -jobs?)"),
        (["save", "-frobnicate"], "flag provided but not defined: -frobnicate\nTIP: see 'image-tools save -h'"),
        (["save", "--jobs", "0"], "-j: invalid value 0: use a number from 1 to 20"),
        (["load", "a", "b", "-d", "r.io"], "'b' is one SOURCE too many"),
        (["load", "a", "-s", "b", "-d", "r.io"], "'a' is one SOURCE too many"),
        (["load", "-d", "r.io"], "-s is missing: what is to be loaded"),
        (["validate"], "there is no command 'validate' (did you mean 'verify'?)\n"),
        (["check"], "no list given\nTIP: see 'image-tools check -h'"),
        (["svae"], "there is no command 'svae' (did you mean 'save'?)\n"),
        (["frobnicate"], "there is no command 'frobnicate'\nTIP: see 'image-tools help'\n"),
        (["man", "save"], "unexpected argument 'save'\nTIP: see 'image-tools man -h'"),
        (["ls"], "no archive or folder given\nTIP: see 'image-tools ls -h'"),
        (["verify", "a", "b"], "one archive or folder at a time, not a and b\nTIP: see 'image-tools verify -h'"),
        (["save", "-j", "x"], '-j: invalid value "x": use a whole number or auto'),
        (["load", "-s", "a", "-d", "r.io", "-j", "0"], "-j: invalid value 0: use a number from 1 to 20"),
        (["verify", "a", "-registry", "r.io", "-j", "0"], "-j: invalid value 0: use a number from 1 to 20"),
        (["verify", "a", "-repo-type=quay"], '-repo-type: invalid value "quay": use one of harbor'),
        (["serve", "a", "-listen", "nowhere"], '-listen: invalid address "nowhere": use host:port, e.g. 127.0.0.1:5000'),
        (["completion", "tcsh"], "name one shell: bash, zsh, fish\nTIP: see 'image-tools completion -h'"),
        (["bundle", "frobnicate"], "there is no command 'bundle frobnicate'\nUsage:\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_begins_with_the_flag(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = shown(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"image-tools: {said}")


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("save", "cache prune", "cache"):
        asked, short = shown(capsys, "help", *words.split()), shown(capsys, *words.split(), "-h")
        assert asked == short and asked[0] == 0 and words in asked[1]


@pytest.mark.parametrize("arguments", [["version"], ["-version"], ["--version"]])
def test_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = shown(capsys, *arguments)
    assert code == 0 and out.startswith("image-tools 0.")


def test_graph_takes_what_save_takes_of_a_bundle() -> None:
    graph, save = (next(command for command in COMMANDS if command.words == words) for words in ("graph", "save"))
    assert {setting.name for setting in SETTINGS} <= {flag.name for flag in save.flags}
    assert {setting.name for setting in SETTINGS} <= {flag.name for flag in graph.flags}
    assert all(flag.help in man.page().replace(r"\-", "-") for flag in graph.flags if "\\" not in flag.help)
