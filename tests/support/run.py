"""Running the command line as a user does: its own process, its own folder, real exit codes.

``run`` waits for the end; ``spawn`` gives the running process, for tests that send signals or answer it. Output goes to
files, not pipes, so that a full pipe never blocks the program, and can be read while it runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIG_DFL, SIGINT, signal
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
COMMAND = (sys.executable, "-m", "pipeline")
TIMEOUT = 60.0
"""Seconds after which a run is killed and the test fails."""


@dataclass(frozen=True)
class Result:
    """How a run ended. ``code`` is negative when a signal killed the process."""

    code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- standard output\n{self.stdout}\n--- standard error\n{self.stderr}"


class Running:
    """A started command. As a context manager it leaves nothing behind: what still runs at the end is killed."""

    def __init__(
        self,
        command: tuple[str, ...],
        cwd: Path | None = None,
        stdin: str | bytes | int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.command = command
        self._stdout = tempfile.TemporaryFile()  # noqa: SIM115
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        given: int | None = stdin if isinstance(stdin, int) else None
        with tempfile.TemporaryFile() as text:
            if isinstance(stdin, (str, bytes)):
                text.write(stdin.encode() if isinstance(stdin, str) else stdin)
                text.seek(0)
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=text if given is None and stdin is not None else (subprocess.DEVNULL if given is None else given),
                stdout=self._stdout,
                stderr=self._stderr,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
                start_new_session=True,
                # Who runs the tests in the background of a shell hands down that Ctrl-C is ignored.
                preexec_fn=lambda: signal(SIGINT, SIG_DFL),
            )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def stdout(self) -> str:
        """What was written so far."""
        return _text(self._stdout.fileno())

    @property
    def stderr(self) -> str:
        """What was written so far."""
        return _text(self._stderr.fileno())

    def signal(self, signum: int) -> None:
        """Send a signal to the process alone, as ``kill`` does."""
        self._process.send_signal(signum)

    def signal_group(self, signum: int = SIGINT) -> None:
        """Send a signal to the whole process group, as Ctrl-C on a terminal does."""
        os.killpg(self.pid, signum)

    def wait(self, timeout: float = TIMEOUT) -> Result:
        """Wait for the end. A run that takes longer than ``timeout`` seconds is killed and fails the test."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            shown = Result(0, self.stdout, self.stderr)
            self.close()
            raise AssertionError(f"{' '.join(self.command)} still ran after {timeout} s\n{shown}") from None
        return Result(code, self.stdout, self.stderr)

    def wait_for(self, text: str, timeout: float = 20.0) -> None:
        """Wait until ``text`` stands in the output or the error output."""
        limit = time.monotonic() + timeout
        while text not in self.stderr and text not in self.stdout:
            if not self.running and text not in self.stderr + self.stdout:
                raise AssertionError(f"it ended without {text!r}\n{Result(self._process.returncode, self.stdout, self.stderr)}")
            if time.monotonic() > limit:
                raise AssertionError(f"no {text!r} within {timeout} s\n{Result(0, self.stdout, self.stderr)}")
            time.sleep(0.005)

    def close(self) -> None:
        if self.running:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        self._stderr.close()


def spawn(
    *args: str | Path,
    cwd: Path | None = None,
    stdin: str | bytes | int | None = None,
    env: Mapping[str, str] | None = None,
    command: tuple[str, ...] = COMMAND,
) -> Running:
    """Start ``image-tools ARGS`` in a session of its own. Use it in a ``with``, or close it.

    ``stdin`` is text, bytes or a file descriptor (a pipe or a terminal); without it there is none.
    """
    return Running((*command, *map(str, args)), cwd, stdin, env)


def run(
    *args: str | Path,
    cwd: Path | None = None,
    stdin: str | bytes | int | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    command: tuple[str, ...] = COMMAND,
) -> Result:
    """Run ``image-tools ARGS`` to its end."""
    with spawn(*args, cwd=cwd, stdin=stdin, env=env, command=command) as running:
        return running.wait(timeout)


def skopeo(
    *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = TIMEOUT
) -> Result:
    """Run skopeo itself, to look at results as somebody else's tool does."""
    return run(*args, cwd=cwd, env=env, timeout=timeout, command=("skopeo",))


def _text(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")
