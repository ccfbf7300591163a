"""Fixtures of the whole suite: a clean environment, and a check that nothing is left over. They need no program."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import Leftovers
from tests.support.memory import IN_MEMORY, has_memory

FOREIGN_VARIABLES = (
    "CONTAINERS_CONF",
    "CONTAINERS_REGISTRIES_CONF",
    "DEST_PASSWORD",
    "DEST_REGISTRY",
    "DEST_USERNAME",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_COLOR",
    "NO_PROXY",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "LINES",
    "PYTHONPATH",
    "REGISTRIES_CONFIG_PATH",
    "REGISTRY_AUTH_FILE",
    "SOURCE_DATE_EPOCH",
    "SOURCE_PASSWORD",
    "SOURCE_REGISTRY",
    "SOURCE_USERNAME",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
"""Variables of the user that would change what we or skopeo do."""


def pytest_configure() -> None:
    # Collections in a process that holds all the tests cost a thirtieth of the time.
    gc.set_threshold(20_000, 20, 20)
    if has_memory():
        # Where pytest puts ``tmp_path``.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


def pytest_collection_finish() -> None:
    """What is there now stays: the garbage collector need not look at all the tests again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def leftovers() -> Leftovers:
    return Leftovers()


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Own home, own working directory, no user's settings. Returns the working directory, ``tmp_path / "work"``."""
    for name in FOREIGN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for variable, folder in {"HOME": "home", "XDG_RUNTIME_DIR": "run", "TMPDIR": "tmp"}.items():
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / folder))
    (tmp_path / "run").chmod(0o700)
    # tempfile remembers where temporary files go; ours shall go where the variable says.
    monkeypatch.setattr(tempfile, "tempdir", None)
    # As root, skopeo would remember blobs in one file for all tests, below /var/lib, with sixteen syncs for each copy. It
    # takes us for somebody else, and does so in our home.
    monkeypatch.setenv("_CONTAINERS_ROOTLESS_UID", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A save that was interrupted ignores signals from then on, as its process ends; ours goes on, and passes that on."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(autouse=True)
def no_leftovers(clean_environment: Path, leftovers: Leftovers) -> Iterator[None]:
    """No process that the test started, directly or through the program, outlives it."""
    before = leftovers.snapshot()
    yield
    left = leftovers.since(before)
    if left:
        pytest.fail("processes left over: " + "; ".join(left), pytrace=False)
