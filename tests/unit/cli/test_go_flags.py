"""Flags the way Go's ``flag`` package reads them, and the help that the document shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import go_flags
from pipeline.cli.go_flags import HelpWanted
from pipeline.cli.save.options import SAVE_FLAGS
from pipeline.config.flag import Flag, Value
from pipeline.core.errors import EXIT_USAGE, UsageError
from tests.support.documented import SAVE_HELP
from tests.support.run import run

FLAGS = (
    Flag("name", "", "a text"),
    Flag("part", False, "a switch"),
    Flag("on", True, "a switch that is on"),
    Flag("j", 1, "a number"),
    Flag("size", "2G", "a text with a default"),
    Flag("level", 0, "a number with a zero"),
    Flag("list", "", "a text that adds up", adds_up=True),
    Flag("kind", "x", "one of a few", choices=("x", "y")),
    Flag("jobs", 1, "a number or a word", choices=("auto",)),
    Flag("strict", False, "a switch or a word", choices=("strict",)),
)

# As the document has it.


def parse(*arguments: str) -> tuple[dict[str, Value], tuple[str, ...]]:
    read = go_flags.parse(FLAGS, arguments, "sample")
    return dict(read.given.values), read.operands


def refusal(*arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        go_flags.parse(FLAGS, arguments, "sample")
    assert caught.value.exit_code == EXIT_USAGE
    return str(caught.value)


def test_a_value_follows_or_stands_behind_an_equals_sign() -> None:
    for arguments in (["-name", "v"], ["-name=v"], ["--name", "v"], ["--name=v"]):
        assert parse(*arguments) == ({"name": "v"}, ())


def test_any_text_is_a_value() -> None:
    assert parse("-name", "-part") == ({"name": "-part"}, ())
    assert parse("-name", "--") == ({"name": "--"}, ())
    assert parse("-name=a=b") == ({"name": "a=b"}, ())
    assert parse("-name=") == ({"name": ""}, ())
    assert parse("-name", "") == ({"name": ""}, ())


def test_a_switch_takes_its_value_only_behind_an_equals_sign() -> None:
    assert parse("-part") == ({"part": True}, ())
    assert parse("--part", "-j", "2") == ({"part": True, "j": 2}, ())
    assert parse("-part", "false") == ({"part": True}, ("false",))
    assert parse("-on=false", "-part=true") == ({"on": False, "part": True}, ())
    for text in ("1", "t", "T", "true", "TRUE", "True"):
        assert parse(f"-part={text}") == ({"part": True}, ())
    for text in ("0", "f", "F", "false", "FALSE", "False"):
        assert parse(f"-on={text}") == ({"on": False}, ())
    for text in ("", "yes", "tRUE", "2", " true"):
        assert refusal(f"-part={text}") == f'invalid value "{text}": use true or false'


def test_a_number_is_a_number() -> None:
    assert parse("-j", "4")[0] == {"j": 4}
    assert parse("-j=-1")[0] == {"j": -1}
    assert parse("-j", "-1")[0] == {"j": -1}
    assert parse("-j=+4")[0] == {"j": 4}
    for text in ("", "four", "4.0", " 4", "4\n", "1_0", "\u0664", "0x4", "--4", "9" * 5000):
        assert "use a whole number" in refusal(f"-j={text}")


def test_a_few_choices_and_words_beside_values() -> None:
    assert parse("-kind=y", "-jobs", "auto", "-strict=strict")[0] == {"kind": "y", "jobs": "auto", "strict": "strict"}
    assert parse("-kind=x", "-jobs=4", "-strict")[0] == {"kind": "x", "jobs": 4, "strict": True}
    assert refusal("-kind=z") == 'invalid value "z": use one of x, y'
    assert refusal("-jobs=many") == 'invalid value "many": use a whole number or auto'
    assert refusal("-strict=very") == 'invalid value "very": use true, false or strict'


def test_the_last_value_counts_and_is_told_where_it_replaced_another_one() -> None:
    assert parse("-j", "1", "-name=a", "-j=2", "--name", "b")[0] == {"j": 2, "name": "b"}
    for arguments, replaced in (
        (["-j", "1", "-j", "2", "-name=a"], ("j",)),
        (["-j", "1", "-j", "1"], ()),
        (["-part", "-part=false", "-part=true"], ("part",)),
        (["-list=a", "-list=b"], ()),
    ):
        assert go_flags.parse(FLAGS, arguments, "sample").replaced == replaced


def test_values_that_add_up() -> None:
    read = go_flags.parse(FLAGS, ["-list", "a", "-j=2", "--list=b", "-list=", "-list", "a"], "sample").given
    assert read.texts("list") == ("a", "b")
    assert go_flags.parse(FLAGS, [], "sample").given.texts("list") == ()


def test_what_was_given_stands_over_the_defaults() -> None:
    assert parse() == ({}, ())
    assert parse("-j", "1") == ({"j": 1}, ())
    read = go_flags.parse(FLAGS, ["-j", "3"], "sample").given
    assert (read.number("j"), read.text("size"), read.switch("on"), read.text("name")) == (3, "2G", True, "")
    assert "j" in read and "size" not in read
    assert read.only({"j", "size"}) == {"j": 3}


def test_flags_stand_before_and_after_the_operands() -> None:
    assert parse("-part", "list.txt", "-j", "2") == ({"part": True, "j": 2}, ("list.txt",))
    assert parse("-part", "-", "-on=false") == ({"part": True, "on": False}, ("-",))
    assert parse("", "-part") == ({"part": True}, ("",))
    assert parse("-part", "--", "-j", "--") == ({"part": True}, ("-j", "--"))


def test_bad_syntax() -> None:
    for argument in ("---part", "-=v", "--=v", "---", "----"):
        assert refusal(argument) == f"bad flag syntax: {argument}"


def test_a_missing_argument() -> None:
    assert refusal("-part", "-name") == "flag needs an argument: -name"
    assert refusal("--j") == "flag needs an argument: -j"


def test_an_unknown_flag_comes_with_a_suggestion() -> None:
    assert refusal("-nam", "v") == "flag provided but not defined: -nam (did you mean -name?)"
    assert refusal("--pert=1") == "flag provided but not defined: -pert (did you mean -part?)"
    assert refusal("-xyz") == "flag provided but not defined: -xyz\nTIP: see 'image-tools sample -h'"
    assert refusal("-Part"), "case counts, as in Go"


def test_help_is_wanted_wherever_it_is_asked_for() -> None:
    for arguments in (["-h"], ["--h"], ["-help"], ["--help"], ["-part", "-h"], ["-h=false"], ["-j", "2", "-help", "-xyz"]):
        with pytest.raises(HelpWanted):
            go_flags.parse(FLAGS, arguments, "sample")
    assert parse("-name", "-h") == ({"name": "-h"}, ())
    assert parse("--", "-h") == ({}, ("-h",))
    assert refusal("-xyz", "-h"), "what is wrong before it is said first, as in Go"


def test_the_shape_of_the_help() -> None:
    assert go_flags.usage("sample", FLAGS[:6]) == (
        "Usage of sample:\n"
        "  -j int\n        a number (default 1)\n"
        "  -level int\n        a number with a zero\n"
        "  -name string\n        a text\n"
        "  -on\n        a switch that is on (default true)\n"
        "  -part\n        a switch\n"
        '  -size string\n        a text with a default (default "2G")\n'
    )


@given(st.lists(st.text("-=apjnr01 \0é", max_size=8)))
def test_any_arguments_are_values_help_or_a_usage_error(arguments: list[str]) -> None:
    try:
        read = go_flags.parse(FLAGS, arguments, "sample")
    except (UsageError, HelpWanted):
        return
    assert set(read.given.values) <= {flag.name for flag in FLAGS}
    assert all(operand in arguments for operand in read.operands)


# The flags of save


def pairs(text: str) -> list[tuple[str, str]]:
    """The two lines of each flag."""
    _, *lines = text.splitlines()
    return list(zip(lines[::2], lines[1::2], strict=True))


def test_save_shows_the_documented_flags_as_documented() -> None:
    result = run("save", "-h")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage of save:\n")
    shown = pairs(result.stdout.partition("\n\n")[0])
    documented = pairs(SAVE_HELP)
    assert len(documented) == 10
    assert [pair for pair in shown if pair in documented] == documented, "each line for line, and in this order"


def test_the_flags_beyond_the_document() -> None:
    names = {flag.name for flag in SAVE_FLAGS}
    assert len(names) == len(SAVE_FLAGS)
    assert {"cache", "os", "authfile", "cert-dir", "tls-verify", "retry", "force", "dry-run"} <= names


def test_no_line_of_the_help_is_wrapped_by_a_wide_terminal() -> None:
    assert max(map(len, go_flags.usage("save", SAVE_FLAGS).splitlines())) <= 128
