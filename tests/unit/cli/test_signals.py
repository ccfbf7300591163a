"""What a signal does to a run, whichever thread of the process it comes to."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pipeline.cli.signals import stopping
from pipeline.core.interruption import Interruption


@pytest.fixture(autouse=True)
def signals_of_the_tests() -> Iterator[None]:
    """A run that was stopped ignores further signals."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_run_stops_also_where_the_main_thread_waits_for_another(signum: signal.Signals) -> None:
    """The signal comes to a worker, and nothing wakes the main thread but what the worker hands over."""
    interruption = Interruption()
    results: queue.Queue[bool] = queue.Queue()

    def work() -> None:
        interruption.wait(0.1)
        signal.pthread_kill(threading.get_ident(), signum)
        interruption.wait(2)
        results.put(interruption.requested)

    worker = threading.Thread(target=work)
    with stopping(interruption):
        worker.start()
        assert results.get(), "it was told while the main thread waited"
    worker.join()
    assert interruption.signum == signum


def test_nothing_is_left_behind() -> None:
    before = [signal.getsignal(signal.SIGINT), threading.active_count()]
    with stopping(Interruption()):
        pass
    assert [signal.getsignal(signal.SIGINT), threading.active_count()] == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_last_moment_leaves_the_exit_code_as_it_is(signum: int) -> None:
    program = (
        "import os, sys; from pipeline.cli.main import main; sys.argv = ['image-tools', 'version']; code = main(); "
        f"os.kill(os.getpid(), {int(signum)}); sys.exit(code)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
