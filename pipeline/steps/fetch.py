"""Act 2, one blob: from a registry into ``share/``, resumed where an earlier attempt stopped.

Takes a ``MissingBlob``, leaves the blob in ``share/``. Guarantees:

- a blob in ``share/`` is whole and has its digest: it grows in ``.state/partial/``, is hashed as it arrives, synced, and then
  renamed; the digest alone decides, whatever sizes and headers say;
- what has arrived is not asked for again, however the attempt, the run or the machine ended;
- hardly more bytes are written than a manifest says the blob has, however many the registry says or sends;
- each request asks the registry anew, so that a redirect or a token that has expired does no harm.

The folder that the blob is renamed into is synced by ``copy``, once for all blobs of an image.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import mmap
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from pipeline.core import files
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ContentError, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest
from pipeline.core.reference import Reference
from pipeline.registry.blobs import WrongRange
from pipeline.registry.distribution import Distribution
from pipeline.registry.retry import WrongBytes
from pipeline.steps.images.choose import PlatformImage
from pipeline.storage.cache import Cache

CHUNK = 2048 * 1024
"""Bytes read, hashed and written at once, for each connection. With fewer, threads wait for the interpreter more often."""
MARGIN = 16 * 1024 * 1024
"""Bytes that a blob may have beyond what manifests say: some are wrong about the size of a right digest."""
PROGRESS = 1024 * 1024
"""Bytes after which an attempt that broke off is no failure: it is gone on with at once, and costs none of ``-retry``."""
MAX_SOURCES = 4
"""Repositories that are asked for one blob."""

_spare: deque[memoryview] = deque()
"""Buffers that nobody uses."""


@dataclass(frozen=True, kw_only=True)
class MissingBlob:
    """A blob to fetch. ``descriptor`` states the largest size that a manifest states."""

    descriptor: Descriptor
    sources: tuple[Reference, ...]
    """Repositories that should hold it, in the order of the list, at most ``MAX_SOURCES``."""
    image: BundleImage
    platform: PlatformImage
    """The first image/arch that needs it: what log lines are about."""


def missing_blobs(wanted: Iterable[tuple[BundleImage, PlatformImage, Sequence[Descriptor]]]) -> Mapping[Digest, MissingBlob]:
    """Each blob once, in order of first use; ``wanted`` names the blobs that each image/arch lacks."""
    found: dict[Digest, MissingBlob] = {}
    for image, platform, missing in wanted:
        source = Reference(image.source.registry, image.source.repository)
        for blob in missing:
            known = found.get(blob.digest)
            if known is None:
                known = MissingBlob(descriptor=blob, sources=(source,), image=image, platform=platform)
            elif source not in known.sources and len(known.sources) < MAX_SOURCES:
                known = replace(known, sources=(*known.sources, source))
            if blob.size > known.descriptor.size:
                known = replace(known, descriptor=blob)
            found[blob.digest] = known
    return found


class Fetch:
    """The transfer of one blob."""

    def __init__(self, cache: Cache, distribution: Distribution, interruption: Interruption, blob: MissingBlob) -> None:
        self._cache = cache
        self._distribution = distribution
        self._interruption = interruption
        self._digest = blob.descriptor.digest
        self._stated = blob.descriptor.size
        self._sources = blob.sources
        self._partial = _PartialFile(cache.partial(self._digest), self._digest)
        self._received = 0

    @property
    def size(self) -> int:
        """How many of its bytes are here, at any time and from any thread."""
        return self._partial.size

    def run(self) -> int:
        """Bring the blob into ``share/``. Bytes that came from registries. Raises RegistryError, ContentError, Interrupted."""
        target = self._cache.blob(self._digest)
        with self._partial:
            self._partial.read(self._interruption)
            self._fetch_from_any()
            self._partial.finish(target)
            self._cache.note_arrival(self._digest)
        return self._received

    def _fetch_from_any(self) -> None:
        """From the first repository that gives it. A registry that fails is not asked again under another name."""
        failures: dict[Reference, RegistryError | ContentError] = {}
        failing: set[str] = set()
        for source in self._sources:
            if source.registry in failing:
                continue
            try:
                attempt = functools.partial(self._go_on, source)
                self._distribution.attempts.until_it_works(source.registry, source.by_digest(self._digest), attempt)
                return
            except (RegistryError, ContentError) as error:
                failures[source] = error
                if isinstance(error, RegistryError) and error.cause.can_pass:
                    failing.add(source.registry)
        raise _joined(failures)

    def _go_on(self, source: Reference) -> None:
        """One attempt. As long as each request brings a good piece, another one follows at once."""
        while True:
            before = self.size
            try:
                self._attempt(source)
                return
            except RegistryError as error:
                if isinstance(error, WrongBytes) or not error.cause.can_pass or self.size - before < PROGRESS:
                    raise
                log.warning("%s; going on at %s", error.message, bytes_text(self.size))

    def _attempt(self, source: Reference) -> None:
        # Of a run that was killed just before the rename, all of it may be here.
        if self.size < self._stated or not self._partial.is_right():
            try:
                self._append(source)
            except WrongRange:
                self._partial.begin_anew()
                raise
        if not self._partial.is_right():
            self._partial.begin_anew()
            raise WrongBytes(f"{source.by_digest(self._digest)}: the bytes that came are not those of the digest")

    def _append(self, source: Reference) -> None:
        """What the registry has beyond what is here: nothing, where all is here; all of it, where it knows no ranges."""
        with self._distribution.open_blob(source, self._digest, offset=self.size) as stream:
            if stream.offset != self.size:
                self._partial.begin_anew()
            with _buffer() as buffer:
                while count := stream.readinto(buffer):
                    if max(self.size + count, stream.total or 0) > self._stated + MARGIN:
                        self._partial.begin_anew()
                        what, stated = source.by_digest(self._digest), bytes_text(self._stated)
                        raise ContentError(f"{what}: the registry serves more than its manifest says, {stated}")
                    self._partial.add(buffer[:count])
                    self._received += count


def _joined(failures: Mapping[Reference, RegistryError | ContentError]) -> RegistryError | ContentError:
    """The first failure, with the other repositories that were asked."""
    first = next(iter(failures.values()))
    others = ", ".join(str(source) for source in list(failures)[1:])
    if not others:
        return first
    if isinstance(first, RegistryError):
        return RegistryError(f"{first.message}; also asked: {others}", first.cause, tip=first.tip)
    return ContentError(f"{first.message}; also asked: {others}", tip=first.tip)


@contextlib.contextmanager
def _buffer() -> Iterator[memoryview]:
    """``CHUNK`` bytes, used again and again: to take and clear new ones for each of thousands of small blobs takes long."""
    try:
        buffer = _spare.pop()
    except IndexError:
        buffer = memoryview(mmap.mmap(-1, CHUNK))
    try:
        yield buffer
    finally:
        _spare.append(buffer)


class _PartialFile:
    """A blob as far as it is here, and the hash of that. Open for as long as its block lasts; the bytes stay after it."""

    def __init__(self, path: Path, digest: Digest) -> None:
        self._path = path
        self._digest = digest
        self._hasher = hashlib.new(digest.algorithm)
        self.size = 0

    def __enter__(self) -> _PartialFile:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._fd = files.in_folder(self._path, lambda: os.open(self._path, flags, 0o644))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._fd)
        if not self.size and error is not None:
            self._path.unlink(missing_ok=True)

    def read(self, interruption: Interruption) -> None:
        """Hash what an earlier run left: its hash ended with it."""
        if not os.fstat(self._fd).st_size:
            return
        with _buffer() as buffer:
            while count := os.readv(self._fd, [buffer]):
                interruption.check()
                self._hasher.update(buffer[:count])
                self.size += count

    def add(self, data: memoryview) -> None:
        self._hasher.update(data)
        while data:
            written = os.pwrite(self._fd, data, self.size)
            self.size += written
            data = data[written:]

    def is_right(self) -> bool:
        return self._hasher.hexdigest() == self._digest.hex

    def begin_anew(self) -> None:
        os.ftruncate(self._fd, 0)
        self._hasher = hashlib.new(self._digest.algorithm)
        self.size = 0

    def finish(self, target: Path) -> None:
        """Give it its name in ``share/``; its bytes are on the disk before."""
        os.fsync(self._fd)
        files.in_folder(target, lambda: self._path.replace(target))
