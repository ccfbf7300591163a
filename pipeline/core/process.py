"""Programs that we run: skopeo, credential helpers. The only importer of plumbum.

Each runs in a session of its own, so that it is killed with whatever it has started; on Linux it also dies with the thread that
started it, whatever ends that. Only the thread that waits for a program may start it. Arguments can be seen by everybody on the
machine: a secret goes through standard input or a file.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from pipeline.core.interruption import Interruption

_POLL = 0.05
"""Seconds between two looks at whether a program has ended."""

Process = subprocess.Popen[bytes]
"""A program that runs; its pipes carry bytes."""


class Finished(NamedTuple):
    """``code`` is the exit code, or minus the number of the signal that ended it."""

    code: int
    out: bytes
    err: bytes


@contextlib.contextmanager
def running(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
) -> Iterator[Process]:
    """Start ``command``, a path or name and its arguments; it is killed at the end of the block if it still runs.

    Its standard output and error are pipes. ``env`` is added to our environment. Raises OSError when it cannot be started.
    """
    from plumbum import local  # here: a run that has nothing to copy starts no program, and needs no machinery for it

    program, *arguments = (*_dies_with_us(), *command)
    process: Process = local[program].popen(
        arguments, cwd=str(cwd or Path.cwd()), env={**os.environ, **(env or {})}, stdin=stdin, new_session=True
    )  # type: ignore[assignment]  # plumbum's class decodes nothing, whatever its annotation says
    with process:
        try:
            yield process
        finally:
            kill(process)


def run(command: Sequence[str], *, timeout: float, stdin: bytes = b"") -> Finished:
    """Run ``command`` to its end. Raises OSError when it cannot be started, TimeoutError after ``timeout`` seconds."""
    with running(command, stdin=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"no answer within {timeout:.0f} s") from error
    return Finished(process.returncode, out, err)


def run_until(
    command: Sequence[str], interruption: Interruption, *, timeout: float = float("inf"), keep: int = 1 << 22
) -> Finished:
    """As ``run``, until an interruption kills it; of its output the first ``keep`` bytes each. Raises Interrupted, too."""
    kept: dict[str, bytes] = {}

    def read(name: str, stream: IO[bytes]) -> None:
        data = b""
        while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]
            data += chunk[: keep - len(data)]
        kept[name] = data

    with running(command) as process:
        assert process.stdout is not None and process.stderr is not None
        threads = [
            threading.Thread(target=read, args=pair, daemon=True) for pair in (("out", process.stdout), ("err", process.stderr))
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + timeout
        while process.poll() is None:
            interruption.wait(_POLL)
            interruption.check()
            if time.monotonic() > end:
                raise TimeoutError(f"no end within {timeout:.0f} s")
        for thread in threads:
            thread.join()
    return Finished(process.returncode, kept["out"], kept["err"])


def kill(process: Process) -> None:
    """Kill it with whatever it has started."""
    if process.returncode is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


@functools.cache
def _dies_with_us() -> tuple[str, ...]:
    """Rather than preexec_fn, which is not safe with threads. Without it (not Linux) only kill -9 leaves a child behind."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()
