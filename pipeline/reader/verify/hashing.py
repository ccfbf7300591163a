"""Hash volumes and blobs, side by side, while the disk is read once.

One thread reads the volumes from their start, for the checksum file. The others hash blobs in the order of the archive, and
stay behind it: what they read, the system still holds in memory. Without a checksum file they just go ahead.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import ArchiveError
from pipeline.core.files import CHUNK
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.core.parallel import in_parallel
from pipeline.reader.contents import ArchiveStore, Store
from pipeline.reader.verify.findings import Fault
from pipeline.storage.archive.volume_reader import VolumeSet

MAX_SUMS = 4 * 1024 * 1024
"""Bytes of a checksum file; ten thousand volumes with long names have three million."""
_VOLUME = re.compile(r"(.+)\.part[0-9]+")
_SUM = re.compile(r"([0-9a-f]{64}) [ *](.+)")


class Checksums:
    """A checksum file as ``sha256sum`` writes it, and the files that it should speak of."""

    def __init__(self, path: Path, expected: Mapping[str, str], volumes: VolumeSet) -> None:
        self._path = path
        self._expected = expected
        self._volumes = volumes

    @classmethod
    def beside(cls, volumes: VolumeSet) -> Checksums | None:
        """That of an archive or its volumes; None where there is none, or it cannot be read."""
        first = volumes.paths[0]
        match = _VOLUME.fullmatch(first.name)
        path = first.with_name(f"{match[1] if match else first.name}.sha256")
        try:
            with path.open("rb") as file:
                lines = file.read(MAX_SUMS).decode(errors="replace").splitlines()
        except OSError:
            return None
        matches = [_SUM.fullmatch(line) for line in lines]
        return cls(path, {match[2]: match[1] for match in matches if match}, volumes)

    @property
    def count(self) -> int:
        return len(self._expected)

    def mismatches(self) -> Iterator[Fault]:
        """Files that are there and not named, or named and not there."""
        names = {file.name for file in self._volumes.paths}
        for name in self._expected:
            if name not in names:
                yield Fault(name, f"is missing; {self._path.name} names it")
        for name in sorted(names - set(self._expected)):
            yield Fault(name, f"{self._path.name} does not name it")

    def compare(self, passed: Callable[[int], None]) -> Iterator[Fault]:
        """Hash the files in order; ``passed`` is told how many bytes were read."""
        for number, (file, size) in enumerate(zip(self._volumes.paths, self._volumes.sizes, strict=True)):
            hasher = hashlib.sha256()
            try:
                for position in range(0, size, CHUNK):
                    piece = self._volumes.read_volume(number, position, min(CHUNK, size - position))
                    hasher.update(piece)
                    passed(len(piece))
            except ArchiveError as error:
                yield Fault(file.name, error.message)
                continue
            if self._expected.get(file.name, hasher.hexdigest()) != hasher.hexdigest():
                yield Fault(file.name, f"does not match its checksum in {self._path.name}")


@dataclass(frozen=True, kw_only=True)
class Meter:
    """Is told how many bytes there are to hash, and then how many were. Called by any thread."""

    begin: Callable[[int], None] = lambda total: None
    count: Callable[[int], None] = lambda size: None


def hash_everything(
    store: Store, sums: Checksums | None, jobs: int, interruption: Interruption, meter: Meter
) -> tuple[dict[Digest, str], list[Fault]]:
    """What is wrong with which blobs, and with which volumes. Raises Interrupted."""
    blobs = list(store.blobs())
    meter.begin(sum(store.size(digest) or 0 for digest in blobs))
    front = _Front(interruption)
    entries = store.reader.blobs if isinstance(store, ArchiveStore) and sums else {}

    def of_volumes() -> list[Fault]:
        try:
            return list(sums.compare(front.advance)) if sums else []
        finally:
            front.open()

    def of_blob(digest: Digest) -> str:
        entry = entries.get(digest)
        done = 0
        try:
            front.wait_for(entry.offset if entry else 0)
            for piece in store.open_blob(digest):
                done += len(piece)
                interruption.check()
                meter.count(len(piece))
                if entry is not None:
                    front.wait_for(entry.offset + min(done + CHUNK, entry.size) * entry.length // entry.size)
        except ArchiveError as error:
            return error.message
        return ""

    with ThreadPoolExecutor(1) as reader:
        volumes = reader.submit(of_volumes)
        problems = in_parallel(of_blob, blobs, max(1, jobs - 1 if sums else jobs))
        faults = volumes.result()
    return {digest: problem for digest, problem in zip(blobs, problems, strict=True) if problem}, faults


class _Front:
    """How far the volumes were read."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._position = 0
        self._is_open = False
        self._changed = threading.Condition()

    def advance(self, size: int) -> None:
        self._interruption.check()
        with self._changed:
            self._position += size
            self._changed.notify_all()

    def open(self) -> None:
        """There is nothing to wait for any more."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def wait_for(self, position: int) -> None:
        with self._changed:
            while not self._is_open and self._position < position:
                self._changed.wait(0.5)
                self._interruption.check()
