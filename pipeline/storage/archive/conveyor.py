"""The machinery of packing: four kinds of threads, one queue of pieces, a fixed number of slots.

    main thread     reads files into slots, in the order of the archive
    pool            compresses what is really compressed, several pieces at once
    hash thread     re-hashes every file as it passes, and computes the CRC of stored frames
    output thread   hashes and writes the stream, in the order in which the pieces were put on the belt

A piece holds a slot from reading to writing; there are ``SLOTS``, so memory is bounded, and whoever is fast waits for a
slot. ``hashlib``, ``zlib``, ``zstandard`` and the system calls free the interpreter, so two cores are really used.

An error in any thread reaches the main thread at its next ``take_slot`` or ``drain``. When a file turns out to be damaged
nothing is written any more, but hashing goes on, so that all damaged files are found in one pass.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.core.oci import Digest
from pipeline.storage.archive.framing import Buffer
from pipeline.storage.archive.volume_writer import VolumeWriter

T = TypeVar("T")

SLOTS = 10
MAX_WORKERS = 6
PATIENCE = 0.05
"""Seconds between two looks at ``check`` while the main thread waits."""


@dataclass
class Section:
    """A stretch of the stream that the archive index will name. Where it lies is filled in by the output thread."""

    offset: int = 0
    length: int = 0
    encoding: str = ""
    chunks: list[int] = field(default_factory=list)


Output = Sequence[tuple[Section, Sequence[Buffer]]]
"""What a piece adds to the stream: for each section one chunk, made of these bytes."""


class Scan:
    """The re-hashing of one file."""

    def __init__(self, digest: Digest, has_checksum: bool = False) -> None:
        self.digest = digest
        self.checksum = 0
        self._hash = hashlib.new(digest.algorithm)
        self._has_checksum = has_checksum

    def update(self, data: Buffer) -> None:
        self._hash.update(data)
        if self._has_checksum:
            self.checksum = zlib.crc32(data, self.checksum)

    def is_intact(self) -> bool:
        return self._hash.hexdigest() == self.digest.hex


@dataclass(kw_only=True)
class Piece:
    """A stretch of the stream on its way. ``content`` is what ``scan`` has to hash; ``is_last``: then the file is complete."""

    slot: bytearray
    output: Output | Future[Output] = ()
    scan: Scan | None = None
    content: Sequence[Buffer] = ()
    is_last: bool = False
    end: Callable[[Scan], Output] | None = None
    """Makes what comes after the content, once its checksum is known."""


class Conveyor:
    """Starts its threads on entering and has ended them when it is left, whatever happened."""

    def __init__(
        self, writer: VolumeWriter, slot_size: int, progress: Callable[[int], None], check: Callable[[], None]
    ) -> None:
        self.damaged: set[Digest] = set()
        self._writer = writer
        self._progress = progress
        self._check = check
        self._hashed = 0
        self._counted = 0
        self._reported = 0
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._slot_size = slot_size
        self._slots_made = 0
        self._to_hash: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._to_write: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1), "pack")
        self._threads = [
            threading.Thread(target=self._guard, args=(run,), name=run.__name__) for run in (self._hash_all, self._write_all)
        ]

    def __enter__(self) -> Conveyor:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._to_hash.put(None)
        self._pool.shutdown(cancel_futures=True)
        for thread in self._threads:
            thread.join()

    def submit(self, job: Callable[[], Output]) -> Output | Future[Output]:
        """Let the pool do ``job``, unless nothing is written any more."""
        return () if self.damaged else self._pool.submit(job)

    def take_slot(self) -> bytearray:
        """Wait for a free slot. Each is made when it is first needed: zeroing all costs a small bundle more than the rest."""
        self.look()
        if self._free.empty() and self._slots_made < SLOTS:
            self._slots_made += 1
            return bytearray(self._slot_size)
        return self._take_free_slot()

    def _take_free_slot(self) -> bytearray:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._free.get(timeout=PATIENCE)
            self.look()

    def put(self, piece: Piece) -> None:
        self._to_hash.put(piece)

    def count(self, size: int) -> None:
        """Bytes of files that were dealt with by the main thread itself."""
        self._counted += size

    def drain(self) -> None:
        """Wait until all that was put on the belt is written."""
        slots = [self._take_free_slot() for _ in range(self._slots_made)]
        for slot in slots:
            self._free.put(slot)
        self.look()

    def wait(self, future: Future[T]) -> None:
        """Wait for something that is under way elsewhere."""
        while True:
            with contextlib.suppress(FutureTimeout):
                future.exception(PATIENCE)
                return
            self.look()

    def look(self) -> None:
        """Report progress; raise what ``check`` raises, or the error of another thread."""
        if self._error is not None:
            raise self._error
        self._check()
        if (done := self._hashed + self._counted) > self._reported:
            self._progress(done - self._reported)
            self._reported = done

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            if not self._stop.is_set():
                self._error = error

    def _hash_all(self) -> None:
        try:
            while (piece := self._to_hash.get()) is not None:
                if self._stop.is_set():
                    continue
                if piece.scan is not None:
                    self._hash(piece, piece.scan)
                self._to_write.put(piece)
        finally:
            self._to_write.put(None)

    def _hash(self, piece: Piece, scan: Scan) -> None:
        for data in piece.content:
            scan.update(data)
            self._hashed += len(data)
        if piece.is_last:
            if not scan.is_intact():
                self.damaged.add(scan.digest)
            elif piece.end is not None:
                assert not isinstance(piece.output, Future)
                piece.output = (*piece.output, *piece.end(scan))

    def _write_all(self) -> None:
        while (piece := self._to_write.get()) is not None:
            if self._stop.is_set():
                continue
            if not self.damaged:
                for section, chunk in piece.output.result() if isinstance(piece.output, Future) else piece.output:
                    self._write(section, chunk)
            self._free.put(piece.slot)

    def _write(self, section: Section, chunk: Sequence[Buffer]) -> None:
        start = self._writer.position
        if not section.length:
            section.offset = start
        for data in chunk:
            self._writer.write(data)
        section.chunks.append(self._writer.position - start)
        section.length += section.chunks[-1]
