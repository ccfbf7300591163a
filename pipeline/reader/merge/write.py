"""Write a merged archive in one pass: every blob is hashed on its way, and memory does not depend on sizes.

A blob that is packed in its source as it would be packed now is taken over frame by frame; others are packed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from pipeline.core import disk
from pipeline.core.bundle import Output
from pipeline.core.errors import UsageError
from pipeline.core.interruption import Interruption
from pipeline.reader.contents import ArchiveStore
from pipeline.reader.merge.joined import Joined, join
from pipeline.reader.merge.sources import Merging, Source
from pipeline.reader.recut import Recut, check_size, publish
from pipeline.storage import bundle_info, locks
from pipeline.storage.archive import Codec, Member, volumes_beside, write_archive
from pipeline.storage.archive.framing import Framing
from pipeline.storage.archive.index import CHUNK_SIZE
from pipeline.storage.archive.source_file import DamagedFile


def merge(
    merging: Merging,
    output: Output,
    interruption: Interruption,
    progress: Callable[[int], None] = lambda size: None,
    wait: bool = False,
) -> tuple[Recut, Joined]:
    """Write the bundle that the sources make. Raises InputError, ArchiveError, UsageError, EnvironmentProblem, Interrupted."""
    joined = join(merging, bundle_info.packing(output))
    destination = output.destination
    check_size(joined.layout.content_size, output.part_size, destination)
    with locks.lock_destination(destination, wait=wait, sleep=interruption.sleep):
        there = [*volumes_beside(destination), *([destination] if destination.exists() else [])]
        if there:
            raise UsageError(f"{there[0]} is there already", tip="name another file with -d")
        destination.parent.mkdir(parents=True, exist_ok=True)
        disk.check_writable(destination.parent)
        written = write_archive(
            joined.layout,
            _Opener(merging.sources, joined, output),
            destination,
            codec=Codec(output.compression.value),
            level=output.level,
            part_size=output.part_size,
            progress=progress,
            check=interruption.check,
        )
        return publish(written, destination, output.part_size, checked=True), joined


class _Opener:
    """Opens the content of a member: metadata that was made, or a blob of the first source that has it."""

    def __init__(self, sources: Sequence[Source], joined: Joined, output: Output) -> None:
        self._sources = sources
        self._metadata = joined.metadata
        self._packing = bundle_info.packing(output)

    def __call__(self, member: Member) -> _Piecewise:
        if not member.is_blob:
            data = self._metadata[member.path]
            return _Piecewise(lambda: iter((data,)) if data else iter(()))
        digest = member.digest
        assert digest is not None, "a blob has one"
        source = next(source for source in self._sources if source.store.size(digest) is not None)
        store = source.store
        if isinstance(store, ArchiveStore):
            reader = store.reader
            is_alike = source.info.packing == self._packing and reader.index.chunk_size == CHUNK_SIZE
            return _Piecewise(lambda: reader.content(digest), (lambda: reader.frames(digest)) if is_alike else None)
        return _Piecewise(lambda: store.open_blob(digest))


class _Piecewise:
    """Content that comes in pieces, as an archive gives it."""

    def __init__(
        self,
        pieces: Callable[[], Iterator[bytes]],
        frames: Callable[[], Iterator[tuple[bytes, bytes]] | None] | None = None,
    ) -> None:
        self._open = pieces
        self._frames = frames
        self._pieces = pieces()
        self._rest = memoryview(b"")

    def __enter__(self) -> _Piecewise:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rest = memoryview(b"")

    def frames(self, framing: Framing, level: int) -> Iterator[tuple[bytes, bytes]] | None:
        return self._frames() if self._frames is not None else None

    def rewind(self) -> None:
        self._pieces, self._rest = self._open(), memoryview(b"")

    def read(self, size: int) -> bytearray:
        data = bytearray(size)
        self.read_into([memoryview(data)])
        return data

    def read_into(self, views: Sequence[memoryview]) -> None:
        for view in views:
            position = 0
            while position < len(view):
                if not self._rest:
                    self._rest = memoryview(next(self._pieces, b""))
                    if not self._rest:
                        raise DamagedFile
                count = min(len(self._rest), len(view) - position)
                view[position : position + count] = self._rest[:count]
                self._rest = self._rest[count:]
                position += count
