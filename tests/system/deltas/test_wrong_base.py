"""Bases that are not what a delta takes them for: each is refused with a reason, and nothing is pushed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.reader.contents import open_contents
from tests.support.proxy import FaultProxy, NoMount, Reset, Status
from tests.support.registry import Registry
from tests.system.deltas.releases import Releases
from tests.system.deltas.test_delta import everything
from tests.system.load.loading import load, loaded

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Site:
    """A registry with the first release behind a proxy, its receipt, and where the work is done."""

    releases: Releases
    registry: Registry
    proxy: FaultProxy
    receipt: Path
    work: Path

    def delta(self, *bases: str | Path) -> Path:
        more = [word for base in bases or (self.receipt,) for word in ("-base", str(base))]
        return self.releases.saved("second", self.work / "delta.tar.gz", *more)

    @property
    def absent(self) -> list[str]:
        return [str(digest) for digest in open_contents(self.work / "delta.tar.gz").absent]

    def edited(self, change: Callable[[dict[str, Any]], object]) -> Path:
        """The receipt as somebody might write it."""
        document = json.loads(self.receipt.read_text())
        change(document)
        path = self.work / "edited.json"
        path.write_text(json.dumps(document))
        return path


@pytest.fixture(scope="module")
def made(releases: Releases, registries_folder: Path) -> Iterator[Site]:
    work = registries_folder / "wrong-bases"
    work.mkdir()
    with (
        pytest.MonkeyPatch.context() as there,
        Registry(registries_folder / "wrong-base-registry") as registry,
        FaultProxy(registry.host) as proxy,
    ):
        there.chdir(work)
        there.setenv("XDG_STATE_HOME", str(work / "state"))
        loaded(releases.saved("first", work / "first.tar.gz"), proxy.host)
        yield Site(releases, registry, proxy, work / "first.tar.gz.receipt.json", work)


@pytest.fixture
def site(made: Site, work: Path) -> Iterator[Site]:
    """As it was made, for each test."""
    content = made.registry.blob_path("sha256:" + "0" * 64).parents[4]
    shutil.copytree(content, work / "content")
    made.proxy.clear()
    yield made
    if made.registry.pid is None:
        made.registry.restart()
    shutil.rmtree(content)
    shutil.copytree(work / "content", content)


def unlink(site: Site, count: int) -> int:
    for digest in site.absent[:count]:
        site.registry.blob_path(digest).unlink()
    return count


def unnamed(document: dict[str, Any]) -> None:
    for blob in document["blobs"]:
        blob["repositories"] = []


def elsewhere(document: dict[str, Any]) -> None:
    for blob in document["blobs"]:
        blob["repositories"] = ["other.example.com/deltas/app"]


def nowhere(document: dict[str, Any]) -> None:
    for blob in document["blobs"]:
        blob["repositories"] = [name.replace("deltas/", "never/") for name in blob["repositories"]]


def repositories(site: Site) -> Path:
    return site.registry.blob_path("sha256:" + "0" * 64).parents[4] / "repositories"


def one_byte_less(site: Site) -> int:
    path = site.registry.blob_path(site.absent[0])
    return path.write_bytes(path.read_bytes()[:-1])


def gone(folder: Path) -> Path:
    shutil.rmtree(folder)
    return folder


def down(registry: Registry) -> Registry:
    registry.stop()
    return registry


CASES: dict[str, Callable[[Site], object]] = {
    "a layer is gone from the disk": lambda site: (site.delta(), unlink(site, 1)),
    "all layers are gone": lambda site: (site.delta(), unlink(site, 99)),
    "a layer has a byte less": lambda site: (site.delta(), one_byte_less(site)),
    "the repositories are gone": lambda site: (site.delta(), gone(repositories(site) / "deltas")),
    "one repository is gone": lambda site: (site.delta(), gone(repositories(site) / "deltas" / "same")),
    "the registry is down": lambda site: (site.delta(), down(site.registry)),
    "access is denied": lambda site: (site.delta(), site.proxy.fault("/blobs/", Status(401), times=None)),
    "reading is forbidden": lambda site: (site.delta(), site.proxy.fault("/blobs/", Status(403), method="GET", times=None)),
    "it says not found": lambda site: (site.delta(), site.proxy.fault("/blobs/", Status(404), method="GET", times=None)),
    "only HEAD is answered": lambda site: (site.delta(), site.proxy.fault("/blobs/", Status(410), method="GET", times=None)),
    "it has an error": lambda site: (site.delta(), site.proxy.fault("/blobs/", Status(500), method="GET", times=None)),
    "connections break": lambda site: (site.delta(), site.proxy.fault("/blobs/", Reset(-1), method="GET", times=None)),
    "it has no time": lambda site: (site.delta(), site.proxy.fault("/blobs/", Status(503), method="GET", times=None)),
    "a receipt that names no repositories, and layers that are gone": lambda site: (
        site.delta(site.edited(unnamed)),
        unlink(site, 1),
    ),
    "a receipt that names another host, and layers that are gone": lambda site: (
        site.delta(site.edited(elsewhere)),
        unlink(site, 1),
    ),
    "a receipt that names repositories that never were": lambda site: (
        site.delta(site.edited(nowhere)),
        gone(repositories(site) / "deltas"),
    ),
    "a receipt of another registry": lambda site: site.delta(
        site.edited(lambda document: document.update(of="other.example.com:5000"))
    ),
    "the base was loaded to another path": lambda site: (
        site.delta(site.work / "first.tar.gz"),
        shutil.move(repositories(site) / "deltas", repositories(site) / "moved"),
    ),
    "a lock of what was never loaded": lambda site: (
        site.delta(site.releases.folder / "second.txt.lock.yaml"),
        unlink(site, 1),
    ),
    "an earlier bundle of which a part was loaded": lambda site: (
        site.delta(site.work / "first.tar.gz"),
        unlink(site, 2),
    ),
    "the delta is cut": lambda site: site.delta().write_bytes((site.work / "delta.tar.gz").read_bytes()[:-100]),
    "what it leaves out was changed on the way": lambda site: damage(site.delta()),
}


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) - 400] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_base_pushes_nothing(case: str, site: Site) -> None:
    CASES[case](site)
    before = len(site.proxy.requests)
    result = load(site.work / "delta.tar.gz", site.proxy.host, "-retry", "0")
    assert result.code in (1, 2, 3), result
    assert "image-tools: " in result.stderr or "failed 4" in result.stdout, result
    assert not [seen for seen in site.proxy.requests[before:] if seen.method in WRITES]


def test_a_registry_that_refuses_mounts_gets_the_layers_from_itself(site: Site) -> None:
    delta = site.delta()
    rule = site.proxy.fault("/blobs/uploads/", NoMount(), method="POST", times=None)
    before = len(site.proxy.requests)
    loaded(delta, site.proxy.host)
    assert rule.used
    everything(site.registry, site.releases.second)
    uploads = [seen for seen in site.proxy.requests[before:] if seen.method == "DELETE"]
    assert not uploads, "no upload was opened in vain"
