"""Lists on standard input: from a pipe, with ``-f -``, and typed at the ``>>>`` prompt of a terminal."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path

import pytest

from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Stall
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import COMMAND, Result, run, spawn
from tests.system.save.saving import ARCHIVE, CACHE, FAILED, PLAIN, command, layer_gets, lines, unpack
from tests.system.save.terminal import CTRL_C, CTRL_D, PROMPT, Terminal


@pytest.fixture(scope="session")
def one(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-index", "stdin/one")


@pytest.fixture(scope="session")
def two(registry: Registry) -> PushedImage:
    return push_kind(registry, "docker-list", "stdin/two")


# Pipes


def test_a_pipe(one: PushedImage, two: PushedImage) -> None:
    """A list like any other, one job."""
    result = run("save", PLAIN, "-j", "4", stdin=f"# a list\n{one.reference}\n\n{two.reference}\n")
    assert result.code == 0, result
    [warning] = [line for line in result.stderr.splitlines() if " WARN " in line]
    assert "-j 4" in warning
    assert ">>>" not in result.stdout + result.stderr
    assert unpack().names == [one.reference, two.reference]
    moves = re.findall(r"\] (copying|copied) ", result.stderr)
    assert moves == ["copying", "copied"] * 4, "one after the other"


def test_a_pipe_without_jobs_is_not_warned_about(one: PushedImage) -> None:
    result = run("save", PLAIN, stdin=one.reference)
    assert result.code == 0, result
    assert "WARN" not in result.stderr


def test_a_dash(one: PushedImage, two: PushedImage) -> None:
    """A list on standard input, with all jobs."""
    result = run("save", "-f", "-", PLAIN, "-j", "4", stdin=lines([one, two]))
    assert result.code == 0, result
    assert "WARN" not in result.stderr
    assert unpack().names == [one.reference, two.reference]
    assert re.findall(r"\] (copying|copied) ", result.stderr)[:2] == ["copying", "copying"], "at the same time"


def test_bad_lines_in_a_pipe(one: PushedImage) -> None:
    result = run("save", PLAIN, stdin=f"{one.reference}\nBad/Name\nworse name\n")
    assert result.code == 2
    assert "standard input:2: 'Bad/Name'" in result.stderr
    assert "standard input:3: 'worse name'" in result.stderr
    assert not CACHE.exists()


def test_no_standard_input_at_all() -> None:
    for result in (run("save", PLAIN), run("-c", 'exec "$@" <&-', "sh", *COMMAND, "save", PLAIN, command=("sh",))):
        assert result.code == 2, result
        assert "holds no image" in result.stderr
    assert not CACHE.exists()


def go_on(text: str) -> Result:
    """Run the command that was printed, as the user would copy it."""
    [line] = [line.strip() for line in text.splitlines() if line.strip().startswith("image-tools save ")]
    return command(*shlex.split(line)[1:])


@pytest.mark.parametrize("arguments", [[], ["-f", "-"], ["-f=-", "-d", "my bundle.tar.gz"]], ids=str)
def test_an_interrupted_list_is_kept(proxy: FaultProxy, one: PushedImage, two: PushedImage, arguments: list[str]) -> None:
    names = [one.via(proxy.host), two.via(proxy.host)]
    last = two.platforms[1].layers[0]
    proxy.fault(last, Stall(60, after=100))
    with spawn("save", *arguments, PLAIN, stdin="\n".join(names)) as running:
        proxy.wait_for(last)
        running.signal(signal.SIGINT)
        result = running.wait(5)
    assert result.code == 130, result
    archive = Path(arguments[-1] if "-d" in arguments else ARCHIVE)
    assert not archive.exists()
    proxy.clear()
    result = go_on(result.stderr)
    assert result.code == 0, result
    assert unpack(archive).names == names
    assert [seen.path.rpartition("/")[2] for seen in proxy.requests if seen.path.rpartition("/")[2] in two.layers] == [last]


# The prompt


def test_the_prompt(registry: Registry, one: PushedImage, two: PushedImage) -> None:
    """One image after the other, copied as it is entered; bad and failing lines are told, and the prompt comes back."""
    with Terminal("save", PLAIN, "-j", "8") as terminal:
        start = terminal.expect(PROMPT)
        assert "Ctrl-D" in start
        assert " WARN " in start
        assert "-j 8" in start
        registry.clear_requests()
        told = terminal.answer(one.reference)
        assert "copied" in told
        assert len(layer_gets(registry, one)) == 3, "it is here before the next is typed"
        assert "not a path component" in terminal.answer("bad/Name")
        assert "one image a line" in terminal.answer("two words")
        told = terminal.answer(f"{registry.host}/none/one:1")
        assert "not found: the registry has no" in told
        assert "[M_ID:2]" in told
        for nothing in ("", "   ", "# a comment", "// another"):
            assert " ERROR " not in terminal.answer(nothing)
        assert "[M_ID:3]" in terminal.answer(f"  {two.reference}  ")
        terminal.type(CTRL_D)
        assert terminal.end() == 1
    assert "saved 2 of 3 images" in terminal.shown
    assert unpack().names == [one.reference, two.reference]
    assert FAILED.read_text() == f"{registry.host}/none/one:1\n"
    [kept] = (CACHE / ".state/bundles").glob("*/images.txt")
    assert kept.read_text() == lines([one, f"{registry.host}/none/one:1", two])


def test_an_image_that_is_entered_twice(registry: Registry, one: PushedImage) -> None:
    with Terminal("save", PLAIN) as terminal:
        terminal.expect(PROMPT)
        terminal.answer(one.reference)
        assert " ERROR " not in terminal.answer(one.reference)
        terminal.type(CTRL_D)
        assert terminal.end() == 0, terminal.shown
    assert "saved 1 of 1 images" in terminal.shown
    assert unpack().names == [one.reference]


def test_an_image_that_fails_and_is_entered_again(registry: Registry) -> None:
    name = f"{registry.host}/stdin/late:v1"
    with Terminal("save", PLAIN) as terminal:
        terminal.expect(PROMPT)
        assert "not found: the registry has no" in terminal.answer(name)
        late = push_kind(registry, "oci-single", "stdin/late")
        assert "copied" in terminal.answer(name)
        terminal.type(CTRL_D)
        assert terminal.end() == 0, terminal.shown
    assert "saved 1 of 1 images" in terminal.shown
    assert unpack().names == [late.reference]
    assert not FAILED.exists()
    registry.delete_tag("stdin/late", "v1")


def test_an_image_that_is_saved_and_fails_when_it_is_entered_again(proxy: FaultProxy, one: PushedImage) -> None:
    """What is here stays here."""
    name = one.via(proxy.host)
    with Terminal("save", PLAIN, "-retry", "0") as terminal:
        terminal.expect(PROMPT)
        terminal.answer(name)
        proxy.close()
        assert "cannot be reached: Connection refused" in terminal.answer(name)
        terminal.type(CTRL_D)
        code = terminal.end()
    # Either is right, as long as it is said once.
    assert (code, "saved 1 of 1" in terminal.shown) in ((0, True), (3, False)), terminal.shown


def test_nothing_entered(one: PushedImage) -> None:
    """An empty list is an error, and nothing is lost by it."""
    assert run("save", PLAIN, stdin=one.reference).code == 0
    before = ARCHIVE.read_bytes()
    FAILED.write_text("of another run\n")
    with Terminal("save", PLAIN) as terminal:
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.end() == 2, terminal.shown
    assert "no image" in terminal.shown
    assert ARCHIVE.read_bytes() == before
    assert FAILED.read_text() == "of another run\n"


def test_only_failing_ones(registry: Registry) -> None:
    with Terminal("save", PLAIN) as terminal:
        terminal.expect(PROMPT)
        terminal.answer(f"{registry.host}/none/one:1")
        terminal.type(CTRL_D)
        assert terminal.end() == 3
    assert not ARCHIVE.exists()


def test_ctrl_c_at_the_prompt(registry: Registry, one: PushedImage, two: PushedImage) -> None:
    """Ends without a bundle; the command that is printed goes on, and needs no typing."""
    with Terminal("save", PLAIN, "-d", "my bundle.tar.gz") as terminal:
        terminal.expect(PROMPT)
        terminal.answer(one.reference)
        terminal.answer(two.reference)
        terminal.type(CTRL_C)
        assert terminal.end() == 130, terminal.shown
    assert "Traceback" not in terminal.shown
    assert not Path("my bundle.tar.gz").exists()
    registry.clear_requests()
    result = go_on(terminal.shown)
    assert result.code == 0, result
    assert registry.blob_gets == []
    assert unpack(Path("my bundle.tar.gz")).names == [one.reference, two.reference]


def test_ctrl_c_before_anything_was_entered(one: PushedImage) -> None:
    with Terminal("save", PLAIN) as terminal:
        terminal.expect(PROMPT)
        terminal.type(CTRL_C)
        assert terminal.end() == 130, terminal.shown
    assert "Traceback" not in terminal.shown
    assert not ARCHIVE.exists()
    assert "-f" not in terminal.shown.rpartition("interrupted")[2], "there is no list to go on with"


def test_ctrl_c_in_the_middle_of_a_copy(proxy: FaultProxy, one: PushedImage, two: PushedImage) -> None:
    stalled = two.platforms[0].layers[0]
    proxy.fault(stalled, Stall(60, after=100))
    names = [one.via(proxy.host), two.via(proxy.host)]
    with Terminal("save", PLAIN) as terminal:
        terminal.expect(PROMPT)
        terminal.answer(names[0])
        terminal.type(f"{names[1]}\n")
        proxy.wait_for(stalled)
        terminal.type(CTRL_C)
        assert terminal.end() == 130, terminal.shown
    proxy.clear()
    result = go_on(terminal.shown)
    assert result.code == 0, result
    assert unpack().names == names
    assert not [seen for seen in proxy.requests if any(layer in seen.path for layer in one.layers)]


def test_bytes_that_are_no_text(one: PushedImage) -> None:
    for env in ({"LC_ALL": "C.UTF-8"}, {"PYTHONIOENCODING": "utf-8:strict"}):
        with Terminal("save", PLAIN, env=env) as terminal:
            terminal.expect(PROMPT)
            assert " ERROR " in terminal.answer(b"two words \xe9")
            terminal.answer(one.reference)
            terminal.type(CTRL_D)
            assert terminal.end() == 0, terminal.shown


def test_a_dry_run_has_nothing_to_ask() -> None:
    """A plan of what is still to be typed: refused, not an empty plan."""
    with Terminal("save", PLAIN, "-dry-run") as terminal:
        assert terminal.end() == 2, terminal.shown
    assert "-f" in terminal.shown


def test_a_dash_on_a_terminal(one: PushedImage) -> None:
    """A list like any other, up to Ctrl-D."""
    with Terminal("save", "-f", "-", PLAIN) as terminal:
        terminal.type(f"{one.reference}\n")
        terminal.type(CTRL_D)
        assert terminal.end() == 0, terminal.shown
    assert PROMPT not in terminal.shown
    assert unpack().names == [one.reference]
