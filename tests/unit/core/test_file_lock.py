"""Locks between processes: with another process that holds them, and that is killed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pipeline.core.errors import EXIT_COULD_NOT, EnvironmentProblem
from pipeline.core.file_lock import exclusive_lock, lock_holder, no_readers, shared_lock
from pipeline.core.log import log
from tests.support.run import Running, spawn

HOLD = """
import sys, time
from pathlib import Path
from pipeline.core import file_lock
name, *arguments = sys.argv[1:]
options = {"tip": "wait"} if name != "shared_lock" else {}
with getattr(file_lock, name)(Path(arguments[0]), "the cache x", **options):
    print("held", flush=True)
    time.sleep(60)
"""
Lock = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def work(clean_environment: Path) -> Path:
    return clean_environment


@pytest.fixture
def lock(work: Path) -> Path:
    """Where a lock file goes; its folder need not be there."""
    return work / "cache" / ".state" / "lock"


def held(name: str, path: Path) -> Running:
    """Another process that holds a lock. Use it in a ``with``."""
    holder = spawn(name, path, command=(sys.executable, "-c", HOLD))
    holder.wait_for("held")
    return holder


def take(path: Path, *, wait: bool = False, is_temporary: bool = False) -> AbstractContextManager[None]:
    return exclusive_lock(path, "the cache x", tip="name another folder", wait=wait, is_temporary=is_temporary)


def is_waiting(take_it: Callable[[], AbstractContextManager[None]]) -> tuple[threading.Thread, threading.Event]:
    """A thread that wants a lock, and what says that it has got it."""
    got = threading.Event()

    def wait() -> None:
        with take_it():
            got.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not got.wait(0.15)
    return waiter, got


# For one


def test_the_holder_is_named(lock: Path) -> None:
    with held("exclusive_lock", lock) as holder:
        with pytest.raises(EnvironmentProblem) as caught, take(lock):
            pytest.fail("two have it")
        assert caught.value.exit_code == EXIT_COULD_NOT
        assert f"the cache x is in use by another run (process {holder.pid}, since " in caught.value.message
        assert caught.value.tip == "name another folder"
        known = lock_holder(lock)
        assert known is not None
        assert known.pid == holder.pid
        holder.signal(signal.SIGKILL)
        holder.wait()
    assert lock_holder(lock) is None
    with take(lock):
        assert json.loads(lock.read_bytes())["pid"] == os.getpid()


def test_it_is_free_after_its_block_whatever_ends_it(lock: Path) -> None:
    with pytest.raises(KeyError), take(lock):
        raise KeyError
    with take(lock):
        assert json.loads(lock.read_bytes())["pid"] == os.getpid()


def test_a_holder_that_cannot_be_read_is_another_process(lock: Path) -> None:
    with take(lock):
        for data in (b"", b"[]", b"{}", b'{"pid":"x","since":""}', b"\xff"):
            lock.write_bytes(data)
            with pytest.raises(EnvironmentProblem, match=r"by another run \(another process\)"), take(lock):
                pytest.fail("two have it")


def test_waiting(lock: Path) -> None:
    with take(lock):
        waiter, got = is_waiting(lambda: take(lock, wait=True))
    assert got.wait(5)
    waiter.join()


def test_what_the_sleep_raises_ends_the_waiting(lock: Path) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with take(lock), pytest.raises(KeyboardInterrupt), exclusive_lock(lock, "x", tip="", wait=True, sleep=interrupted):
        pytest.fail("two have it")


def test_a_temporary_lock_file_is_gone_afterwards(lock: Path) -> None:
    with take(lock, is_temporary=True):
        assert lock.exists()
        with pytest.raises(EnvironmentProblem), take(lock, is_temporary=True):
            pytest.fail("two have it")
        assert lock.exists(), "who does not get it removes nothing"
    assert not lock.exists()


def test_many_that_remove_it_have_it_one_at_a_time(lock: Path) -> None:
    """Each removes the file that others have opened already: none of these may believe that it has the lock."""
    inside: list[int] = []
    most: list[int] = []

    def work_with_it() -> None:
        for _ in range(25):
            with exclusive_lock(lock, "x", tip="", wait=True, sleep=lambda seconds: None, is_temporary=True):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work_with_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (100, 1)
    assert not lock.exists()


def test_a_folder_that_cannot_be_written_to(work: Path) -> None:
    (work / "file").touch()
    with pytest.raises(EnvironmentProblem, match="cannot write to the cache x") as caught, take(work / "file" / "lock"):
        pytest.fail("there is no such place")
    assert caught.value.tip


# For all who read, and for who removes


@pytest.mark.parametrize("is_folder", [True, False])
def test_readers_are_many_and_are_named(work: Path, is_folder: bool) -> None:
    place = work / "share"
    place.mkdir() if is_folder else place.touch()
    with held("shared_lock", place) as first, held("shared_lock", place) as second:
        with shared_lock(place, "x"):
            pass
        with pytest.raises(EnvironmentProblem, match="the cache is being read by ") as caught:
            no_readers(place, "the cache", tip="wait").__enter__()
        for reader in (first, second):
            assert f"process {reader.pid} ({sys.executable} -c" in caught.value.message
        assert caught.value.tip == "wait"
        waiter, got = is_waiting(lambda: no_readers(place, "the cache", tip="", wait=True))
        first.signal(signal.SIGKILL)
        assert not got.wait(0.15)
        second.signal(signal.SIGKILL)
        assert got.wait(5)
        waiter.join()


def test_a_reader_waits_for_who_removes(work: Path) -> None:
    with no_readers(work, "x", tip=""):
        waiter, got = is_waiting(lambda: shared_lock(work, "x"))
    assert got.wait(5)
    waiter.join()


def test_reading_writes_nothing(work: Path) -> None:
    """As on a read-only medium."""
    (work / "share").mkdir(mode=0o555)
    before = (work / "share").stat()
    with shared_lock(work / "share", "x"):
        assert list((work / "share").iterdir()) == []
    assert (work / "share").stat() == before


def test_what_is_not_there_is_not_locked(work: Path) -> None:
    with shared_lock(work / "none", "x"), no_readers(work / "none", "x", tip=""):
        assert not (work / "none").exists()


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks(lock: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """It goes on, says so, and leaves nothing."""

    def refused(fd: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    said: list[str] = []
    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setattr(log, "warning", lambda text, *values: said.append(text % values))
    with take(lock, is_temporary=True), shared_lock(lock, "the folder y"):
        assert lock.exists()
    assert said == [
        f"{what} cannot be locked on this file system: see to it that only one run uses it"
        for what in ("the cache x", "the folder y")
    ]
    assert not lock.exists()
