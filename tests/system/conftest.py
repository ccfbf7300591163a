"""The real counterparts: registries, and the fault proxy.

Registries that last for the session are shared: a test pushes into repositories of its own, and clears their log before
it counts. Where a test stops, damages or empties a registry, it takes ``fresh_registry``.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kinds import everything
from tests.support.leftovers import Leftovers
from tests.support.memory import IN_MEMORY, has_memory
from tests.support.proxy import FaultProxy
from tests.support.push import PushedImage
from tests.support.registry import Registry, RegistryFactory
from tests.support.tools import require


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Nothing is skipped for want of a tool: each test fails, and says how to install what is missing."""
    require("skopeo", "docker-registry", "gpg", "gpg-agent", "zstd", "pigz", "tar", "sha256sum", "setpriv")


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
