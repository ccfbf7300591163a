"""Programs that we run: what they say, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core import process


def is_alive(pid: int) -> bool:
    """Whether it runs; one that has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


def test_what_it_says_and_its_exit_code() -> None:
    script = "cat; printf words >&2; exit 7"
    assert process.run(["sh", "-c", script], stdin=b"given", timeout=60) == process.Finished(7, b"given", b"words")


def test_one_that_was_killed() -> None:
    assert process.run(["sh", "-c", "kill -9 $$"], timeout=60).code == -signal.SIGKILL


def test_large_output_on_both_does_not_block_it() -> None:
    script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"
    finished = process.run(["sh", "-c", script], timeout=60)
    assert (finished.code, len(finished.out), len(finished.err)) == (0, 300_000, 300_000)


def test_one_that_is_not_there() -> None:
    code, _, err = process.run(["/no/such/program"], timeout=60)
    assert (code, b"/no/such/program" in err) == (127, True)


def test_one_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(TimeoutError, match="no answer within 1 s"):
        process.run(["sh", "-c", f"sleep 600 & echo $$ $! >{pids}; wait"], timeout=1)
    assert all(ends(int(pid)) for pid in pids.read_text().split())


def test_one_that_still_runs_at_the_end_of_the_block_is_killed() -> None:
    with process.running(["sleep", "600"]) as sleeping:
        assert is_alive(sleeping.pid)
    assert sleeping.returncode == -signal.SIGKILL


def test_a_folder_and_more_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    with process.running(["sh", "-c", "pwd; echo $OURS$MORE"], cwd=tmp_path, env={"MORE": "2"}) as shell:
        out, _ = shell.communicate()
    assert out.decode().split() == [str(tmp_path), "12"]


def test_it_has_a_session_of_its_own() -> None:
    with process.running(["sleep", "600"]) as sleeping:
        assert os.getsid(sleeping.pid) == sleeping.pid != os.getsid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a child die with its parent")
def test_it_dies_with_us_even_by_kill_9() -> None:
    program = (
        "from pipeline.core import process\nwith process.running(['sleep', '600']) as p: print(p.pid, flush=True); p.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        while Path(f"/proc/{child}/comm").read_text() != "sleep\n":  # it has said what is to end it
            time.sleep(0.01)
        parent.kill()
    assert ends(child)
