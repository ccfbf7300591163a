"""Image lists: what does not count, what counts once, and every bad line at once."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.errors import EXIT_USAGE, InputError
from pipeline.core.image_list import Line, format_list, parse, parse_line
from pipeline.core.reference import parse as parse_reference


def names(data: bytes | str) -> list[tuple[int, str]]:
    """Line number and text of each image of a list."""
    lines = parse(data.encode() if isinstance(data, str) else data, "list.txt")
    return [(line.number, line.text) for line in lines]


def problems(data: bytes | str) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        parse(data.encode() if isinstance(data, str) else data, "list.txt")
    assert caught.value.exit_code == EXIT_USAGE
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_a_line_knows_where_it_was_read() -> None:
    (line,) = parse(b"\nnginx:1\n", "list.txt")
    assert line == Line(parse_reference("nginx:1"), "nginx:1", "list.txt", 2)


def test_comments_and_blank_lines_do_not_count() -> None:
    for comment in ("# a", "#", "// a", "//", "   # a", "\t//a", "#nginx:1", "//nginx:1", "", "   ", "\t"):
        assert names(f"{comment}\nnginx\n{comment}") == [(2, "nginx")]
        assert parse_line(comment, "input", 1) is None


def test_surrounding_spaces_do_not_count() -> None:
    for text in ("nginx", "  nginx", "nginx\t", "\tnginx  ", "\u00a0nginx\u3000"):
        assert names(text) == [(1, "nginx")]


def test_every_kind_of_line_end() -> None:
    for end in ("\n", "\r\n", "\r"):
        for text in ("a\n\nb", "a\n\nb\n", "a\n\nb\n\n"):
            assert names(text.replace("\n", end)) == [(1, "a"), (3, "b")]


def test_a_byte_order_mark_does_not_count() -> None:
    assert names(codecs.BOM_UTF8 + b"nginx\n") == [(1, "nginx")]
    assert names(codecs.BOM_UTF8 + b"# comment\nnginx") == [(2, "nginx")]


def test_utf_16_is_an_error() -> None:
    for bom, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (b"", "utf-16")):
        (problem,) = problems(bom + "nginx\nredis\n".encode(encoding))
        assert problem == "list.txt: the list is UTF-16; save it as UTF-8"


def test_utf_16_without_a_mark_is_an_error_too() -> None:
    assert problems("nginx\n".encode("utf-16-le"))


def test_what_is_not_utf_8_is_named_by_line() -> None:
    (problem,) = problems(b"nginx\n# caf\xe9\nredis\n")
    assert problem == "list.txt:2: the list is not UTF-8 text; save it as UTF-8"


def test_a_comment_may_hold_any_text() -> None:
    assert names("# café ☃ \u2028 \x0c\nnginx") == [(2, "nginx")]


def test_duplicates_count_once_at_their_first_place() -> None:
    listed = "redis\nnginx\ndocker.io/library/nginx:latest\nindex.docker.io/nginx\nredis:7\nnginx:latest\nredis:latest\n"
    assert names(listed) == [(1, "redis"), (2, "nginx"), (5, "redis:7")]


def test_the_same_image_by_tag_and_by_digest_is_two() -> None:
    digest = f"sha256:{'a' * 64}"
    assert len(names(f"nginx:1\nnginx@{digest}\nnginx:1@{digest}")) == 3


def test_all_bad_lines_are_reported_together() -> None:
    found = problems("nginx\nNGINX\n# fine\n\nrancher/rancher:v2 # no\nredis:-1\nr.io/a@sha256:1\n")
    assert len(found) == 4
    assert found[0].startswith("list.txt:2: 'NGINX': invalid name 'NGINX'")
    assert "lower case" in found[0]
    assert found[1].startswith("list.txt:5: 'rancher/rancher:v2 # no': one image a line")
    assert found[2].startswith("list.txt:6: 'redis:-1': invalid tag '-1'")
    assert found[3].startswith("list.txt:7: 'r.io/a@sha256:1': not a valid digest")


def test_a_thousand_bad_lines_are_a_thousand_problems() -> None:
    assert [problem.split(":")[1] for problem in problems("A\n" * 1000)] == [str(n) for n in range(1, 1001)]


def test_exotic_separators_do_not_shift_line_numbers() -> None:
    for separator in "\x0b\x0c\x1c\x85\u2028\u2029":
        assert problems(f"# a{separator}b\nnginx\nBAD\n")[0].startswith("list.txt:3: ")
        assert problems(f"nginx{separator}redis\n")[0].startswith("list.txt:1: ")


def test_a_problem_holds_no_control_character_and_no_novel() -> None:
    (problem,) = problems("nginx\x1b[31m\u202e" + "x" * 10_000)
    assert problem.isascii()
    assert problem.isprintable()
    assert len(problem) < 500


def test_an_empty_list_is_an_error() -> None:
    for data in (b"", b"\n", b"  \r\n\t", b"# only\n// comments\n", codecs.BOM_UTF8):
        (problem,) = problems(data)
        assert problem.startswith("list.txt: the list holds no image")


def test_a_list_is_written_in_the_format_it_is_read_in() -> None:
    listed = b"nginx\nr.io:5000/a/b:1\n"
    assert format_list(line.text for line in parse(listed, "list.txt")) == listed
    assert format_list([]) == b""


GOOD = ["nginx", "redis:7", "r.io:5000/a:1", f"a@sha256:{'a' * 64}", "# c", "// c", "", " "]
LINES = st.sampled_from([*GOOD, *GOOD, "BAD", "a b", "nginx\0", "\ufeff", "é"])


ENDS = st.sampled_from(["\n", "\r\n", "\r"])
LISTS = st.builds(lambda lines, end: end.join(lines).encode(), st.lists(LINES, max_size=8), ENDS)


@given(st.binary() | LISTS)
@example(b"\xef\xbb\xbf\xff\xfe")
@example(b"\xed\xa0\x80")
def test_any_bytes_are_a_list_or_an_input_error(data: bytes) -> None:
    try:
        lines = parse(data, "list.txt")
    except InputError as error:
        assert error.problems
        assert all(problem.startswith("list.txt:") for problem in error.problems)
        return
    assert lines
    assert len({line.reference for line in lines}) == len(lines)
    assert [line.number for line in lines] == sorted(line.number for line in lines)
    again = parse(format_list(line.text for line in lines), "list.txt")
    assert [line.reference for line in again] == [line.reference for line in lines]
