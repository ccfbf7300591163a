"""Standard streams that are closed, broken or full: the work is done, and the exit code is that of the work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kinds import push_kind
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import ROOT
from tests.system.save.conftest import store, work
from tests.system.save.saving import ARCHIVE, PLAIN, fetched_before, write_list

__all__ = ["store", "work"]

STREAMS = {
    "output closed": ">&-",
    "output full": ">/dev/full",
    "error closed": "2>&-",
    "error full": "2>/dev/full",
    "all closed": "<&- >&- 2>&-",
    "all full": ">/dev/full 2>&1",
}


@pytest.fixture(scope="session")
def image(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-single", "streams/image")


def shell(redirection: str, *arguments: str | Path) -> tuple[int, str]:
    """The exit code, and what could be read of both streams."""
    script = f'exec "$@" {redirection}'
    line = ["bash", "-c", script, "bash", sys.executable, "-m", "pipeline", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def nobody_reads() -> Iterator[int]:
    """The end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("streams", STREAMS)
def test_save(image: PushedImage, streams: str) -> None:
    fetched_before([image])
    code, said = shell(STREAMS[streams], "save", "-f", write_list([image]), PLAIN)
    assert code == 0, said
    assert "should not happen" not in said
    assert "Traceback" not in said
    assert ("cannot write to standard output: No space left on device" in said) == (streams == "output full")
    assert Path(f"{ARCHIVE}.sha256").exists()
    assert shell("", "verify", ARCHIVE)[0] == 0


@pytest.mark.parametrize("streams", ["output closed", "output full", "all closed"])
def test_the_exit_code_of_a_save_that_failed_in_part(registry: Registry, image: PushedImage, streams: str) -> None:
    fetched_before([image])
    code, said = shell(STREAMS[streams], "save", "-f", write_list([image, f"{registry.host}/none/one:1"]), PLAIN)
    assert code == 1, said
    assert ARCHIVE.exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_nobody_reads(image: PushedImage, nobody_reads: int, unbuffered: str) -> None:
    """The exit code of a save and of a verify; of what only prints, that it could not. Nothing is said about it."""
    fetched_before([image])
    write_list([image])
    commands = {
        ("save", "-f", "list.txt", PLAIN): 0,
        ("verify", str(ARCHIVE)): 0,
        ("cache", "prune"): 0,
        ("ls", str(ARCHIVE)): 3,
        ("version",): 3,
        ("help",): 3,
        ("cache", "info"): 3,
        ("completion", "bash"): 3,
    }
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    for command, code in commands.items():
        line = [sys.executable, "-m", "pipeline", *command]
        done = subprocess.run(line, stdout=nobody_reads, stderr=subprocess.PIPE, text=True, env=env, timeout=60)
        assert done.returncode == code, (command, done)
        for word in ("should not happen", "Broken pipe", "Traceback", "Exception ignored", "cannot write"):
            assert word not in done.stderr, command
    assert ARCHIVE.exists()


def test_a_full_disk_under_what_is_printed(image: PushedImage) -> None:
    """A script that keeps a listing must be told."""
    code, said = shell(">/dev/full", "version")
    assert (code, said) == (3, "image-tools: cannot write to standard output: No space left on device\n")
    assert shell(">&-", "version") == (0, ""), "who closes it wants none"


def test_a_closed_input_is_an_empty_list() -> None:
    code, said = shell("<&-", "save", "-f", "-")
    assert code == 2, said
    assert "should not happen" not in said


def test_output_that_is_made_to_wait(image: PushedImage) -> None:
    """A pipe that does not block, and is read slowly: nothing of it is lost."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    line = [sys.executable, "-m", "pipeline", "man"]
    with subprocess.Popen(line, stdout=writing, env={**os.environ, "PYTHONPATH": str(ROOT)}) as running:
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            size = len(file.read())
        assert running.wait(20) == 0
    assert size == len(subprocess.run(line, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}).stdout)
