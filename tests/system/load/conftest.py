"""Fixtures of the load tests: bundles that are made once, and a working directory in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import image, index, layer
from tests.support.kinds import push_kind
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.system.load.loading import Bundle, make_bundle

SMALL = ("docker-list", "shared-one", "shared-two")


@pytest.fixture(autouse=True)
def work(clean_environment: Path, registries_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="work-", dir=registries_folder) as folder:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("XDG_STATE_HOME", f"{folder}/state")
        yield Path(folder)
        monkeypatch.chdir(clean_environment)


@pytest.fixture(scope="session")
def volumes(registries_folder: Path, every_kind: dict[str, PushedImage]) -> Bundle:
    """One image of every kind, in small volumes."""
    return make_bundle(registries_folder / "load-volumes", list(every_kind.values()), "-part", "-part-size=30K")


@pytest.fixture(scope="session")
def small(registries_folder: Path, registry: Registry) -> Bundle:
    """Three images, two of which share layers, in one archive."""
    images = [push_kind(registry, kind, f"small/{kind}") for kind in SMALL]
    return make_bundle(registries_folder / "load-small", images)


@pytest.fixture(scope="session")
def slow(registries_folder: Path, registry: Registry) -> Bundle:
    """Five images with layers of their own that take a moment to send; zstd."""
    images = [
        push(registry, f"slow/{number}", "v1", index(image("linux/amd64", [layer(f"slow/{number}", 400_000)])), str(number))
        for number in range(5)
    ]
    return make_bundle(registries_folder / "load-slow", images, "-compress=zstd", name="slow.tar.zst")
