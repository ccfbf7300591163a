"""A working directory in memory, pauses cut short, images with all that may refer to them, and bundles of these."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.reader.contents import open_contents
from pipeline.reader.serve import BundleSource, RegistryServer
from pipeline.registry import retry as attempts
from tests.support.registry import Registry
from tests.system.load.conftest import work
from tests.system.load.loading import Bundle, make_bundle
from tests.system.referrers.api_registry import ApiRegistry
from tests.system.referrers.signed import Signed, push_signed, push_small
from tests.system.save.conftest import other_registry

__all__ = ["other_registry", "work"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_PAUSE", 0.02)


@pytest.fixture(scope="session")
def signed(registry: Registry) -> Signed:
    """Two platforms with everything. Nobody changes it, or adds to it."""
    return push_signed(registry, "signed/image")


@pytest.fixture(scope="session")
def small(registry: Registry) -> Signed:
    """One platform with a signature and an SBOM. Nobody changes it, or adds to it."""
    return push_small(registry, "signed/small")


@pytest.fixture(scope="session")
def whole(registries_folder: Path, signed: Signed) -> Bundle:
    """A bundle of both platforms with all that refers to them."""
    return make_bundle(registries_folder / "signed-whole", [signed.image], "-referrers")


@pytest.fixture(scope="session")
def subset(whole: Bundle, signed: Signed) -> Bundle:
    """A bundle of ``linux/amd64`` with what refers to it, from the same cache."""
    return make_bundle(whole.path.parent, [signed.image], "-referrers", "-a", "amd64", name="amd64.tar.gz")


@pytest.fixture
def served(whole: Bundle) -> Iterator[RegistryServer]:
    """The whole bundle, as ``image-tools serve`` serves it: a registry with the referrers API."""
    with RegistryServer(BundleSource(open_contents(whole.path))) as server:
        yield server


@pytest.fixture
def api() -> Iterator[ApiRegistry]:
    with ApiRegistry() as started:
        yield started
