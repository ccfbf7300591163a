"""Fixtures of the whole suite: registries, the fault proxy, a clean environment, and a check that nothing is left over.

Registries that last for the session are shared: a test pushes into repositories of its own, and clears their log before
it counts. Where a test stops, damages or empties a registry, it takes ``fresh_registry``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.kinds import everything
from tests.support.leftovers import Leftovers
from tests.support.proxy import FaultProxy
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.tools import complaint

IN_MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 1 << 30
"""Bytes that must be free there for the tests to keep their files in memory, where the many syncs cost nothing."""

FOREIGN_VARIABLES = (
    "CONTAINERS_CONF",
    "CONTAINERS_REGISTRIES_CONF",
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

RegistryFactory = Callable[..., Registry]


def has_memory() -> bool:
    """Whether files may be kept in memory: containers often have 64 MB there."""
    return IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > MEMORY_NEEDED


def pytest_configure() -> None:
    if has_memory():
        # Where pytest puts ``tmp_path``.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


def pytest_collection_finish() -> None:
    """What is there now stays: the garbage collector need not look at all the tests again and again."""
    gc.collect()
    gc.freeze()


def pytest_sessionstart() -> None:
    """Nothing is skipped for want of a tool: the run fails at once and says how to install what is missing."""
    if message := complaint("skopeo", "docker-registry", "gpg", "gpg-agent", "zstd", "pigz", "tar", "sha256sum", "setpriv"):
        pytest.exit(message, returncode=1)


@pytest.fixture(scope="session")
def leftovers() -> Leftovers:
    return Leftovers()


@pytest.fixture(scope="session")
def registries_folder() -> Iterator[Path]:
    """Where registries keep their content: in memory where there is enough of it."""
    with tempfile.TemporaryDirectory(prefix="image-tools-tests-", dir=IN_MEMORY if has_memory() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def registry(registries_folder: Path) -> Iterator[Registry]:
    """Plain HTTP, no login."""
    with Registry(registries_folder / "plain") as started:
        yield started


@pytest.fixture(scope="session")
def tls_registry(registries_folder: Path) -> Iterator[Registry]:
    """TLS with a private authority: ``cert_dir`` holds its ``ca.crt``."""
    with Registry(registries_folder / "tls", tls=True) as started:
        yield started


@pytest.fixture(scope="session")
def login_registry(registries_folder: Path) -> Iterator[Registry]:
    """TLS and a login: ``auth_file(folder)`` writes one."""
    with Registry(registries_folder / "login", tls=True, login=True) as started:
        yield started


@pytest.fixture
def fresh_registry(registries_folder: Path, leftovers: Leftovers) -> Iterator[RegistryFactory]:
    """``fresh_registry(tls=False, login=False)``: an empty registry of this test's own."""
    with contextlib.ExitStack() as stack:

        def start(*, tls: bool = False, login: bool = False) -> Registry:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=registries_folder)))
            return stack.enter_context(Registry(folder, tls=tls, login=login))

        yield start


@pytest.fixture(scope="session")
def every_kind(registry: Registry) -> dict[str, PushedImage]:
    """One image of every kind in the shared registry, by the name of its kind. Nobody changes or deletes them."""
    return {pushed.kind: pushed for pushed in everything(registry)}


@pytest.fixture
def proxy(registry: Registry) -> Iterator[FaultProxy]:
    """A fault proxy before the shared plain registry."""
    with FaultProxy(registry.host) as started:
        yield started


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
