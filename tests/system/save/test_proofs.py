"""Copies by skopeo of what is in the cache, joined: who waits for whom, and who does not."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest

from pipeline.core.bundle import Access
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Descriptor, Digest, Manifest
from pipeline.registry.skopeo.client import Skopeo
from pipeline.steps.layout_copies import ENOUGH, GATHER, LayoutCopies
from pipeline.storage.cache import Cache
from tests.support.images import image, layer
from tests.support.layouts import contents_of


class Counting(Skopeo):
    """The real skopeo; ``starts`` says when it was started."""

    def __init__(self, interruption: Interruption) -> None:
        super().__init__(Access(), interruption)
        self.starts: list[float] = []
        self.most = 0
        """How many ran at a time."""
        self.lasts = 0.0
        """Seconds that each takes longer."""
        self._running = 0
        self._lock = threading.Lock()

    def copy_layout(self, cache: Path, source: str, folder: str, *, share: str, blobs: str) -> None:
        with self._lock:
            self.starts.append(time.monotonic())
            self._running += 1
            self.most = max(self.most, self._running)
        super().copy_layout(cache, source, folder, share=share, blobs=blobs)
        time.sleep(self.lasts)
        with self._lock:
            self._running -= 1


class Proofs:
    """Images in a cache, to be proved at once, each on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.cache = Cache(folder / "cache")
        self.cache.prepare()
        interruption = Interruption()
        self.skopeo = Counting(interruption)
        self.copies = LayoutCopies(self.cache, self.skopeo, interruption)

    def prove(self, count: int, first: int = 0) -> None:
        threads = [threading.Thread(target=self._prove, args=(first + number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _prove(self, number: int) -> None:
        made = image(layers=[layer(f"proof-{number}")])
        for content in contents_of(made):
            self.cache.put(content.data, Digest.parse(content.digest))
        descriptor = Descriptor.from_json(made.manifest.descriptor())
        manifest = self.cache.parse(descriptor.digest)
        assert isinstance(manifest, Manifest)
        self.copies.prove(self.cache.root / "images" / str(number), manifest, descriptor)


@pytest.fixture
def proofs(tmp_path: Path) -> Proofs:
    return Proofs(tmp_path)


def test_few_wait_for_more_while_blobs_arrive(proofs: Proofs) -> None:
    started = time.monotonic()
    with proofs.copies.blob_arrives():
        proofs.prove(2)
        first = time.monotonic()
        proofs.prove(2, first=2)
    assert len(proofs.skopeo.starts) == 2
    assert proofs.skopeo.starts[0] < first < proofs.skopeo.starts[1]
    assert proofs.skopeo.starts[1] - started >= GATHER


def test_enough_wait_for_nobody(proofs: Proofs) -> None:
    with proofs.copies.blob_arrives():
        proofs.prove(1)
        started = time.monotonic()
        proofs.prove(ENOUGH, first=1)
        assert time.monotonic() - started < GATHER
    assert len(proofs.skopeo.starts) == 2


def test_nobody_waits_when_nothing_arrives(proofs: Proofs) -> None:
    proofs.prove(1)
    started = time.monotonic()
    proofs.prove(1, first=1)
    assert time.monotonic() - started < GATHER


def test_the_last_blob_ends_the_wait(proofs: Proofs) -> None:
    with proofs.copies.blob_arrives():
        proofs.prove(1)
        started = time.monotonic()
        waiting = threading.Thread(target=proofs.prove, args=(2, 1))
        waiting.start()
        time.sleep(GATHER / 4)
        assert len(proofs.skopeo.starts) == 1
    waiting.join()
    assert time.monotonic() - started < GATHER


@pytest.mark.parametrize("is_arriving", [True, False])
def test_two_at_a_time_only_once_all_is_here(proofs: Proofs, is_arriving: bool) -> None:
    proofs.skopeo.lasts = GATHER / 2
    with proofs.copies.blob_arrives() if is_arriving else contextlib.nullcontext():
        first = threading.Thread(target=proofs.prove, args=(1,))
        first.start()
        while not proofs.skopeo.starts:
            time.sleep(0.01)
        proofs.prove(ENOUGH, first=1)
        first.join()
    assert proofs.skopeo.most == (1 if is_arriving else 2)
    assert not list(proofs.cache.leftovers())
