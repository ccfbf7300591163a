"""Write an archive: a layout and the files it names come in, synced volumes under temporary names go out.

One pass, no intermediate file, little memory, the same bytes for the same layout and content. Every file is re-hashed
while it passes: what is in an archive has the digest that stands there, or there is no archive.

The stream is the gzip or zstd form of one tar. It consists of metadata frames (headers, small files, padding), the frames
of each blob, the archive index, and the trailer; ``archive_index`` tells how they are found again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipeline.core.errors import DamagedBlobsError, UsageError
from pipeline.core.oci import Digest
from pipeline.storage.archive import index as archive_index
from pipeline.storage.archive import tar_header
from pipeline.storage.archive.codecs import FRAMINGS
from pipeline.storage.archive.conveyor import Conveyor, Output, Piece, Scan, Section
from pipeline.storage.archive.encoding import TRIAL_SIZE, StoredPieces, encode_small, is_called_compressed, would_gain
from pipeline.storage.archive.framing import Buffer, Codec, Framing
from pipeline.storage.archive.index import CHUNK_SIZE, ArchiveIndex, BlobEntry, MetadataFile, MetadataFrame, Trailer
from pipeline.storage.archive.members import ArchiveLayout, Member
from pipeline.storage.archive.source_file import Content, DamagedFile, SourceFile
from pipeline.storage.archive.volume_writer import Volume, VolumeWriter

METADATA_FRAME = 256 * 1024
"""Bytes of tar after which a metadata frame ends: one has to be unpacked to read a small file in it."""
SMALL_BLOB = 64 * 1024
"""Blobs up to this size are encoded many at once: a way through all threads for each would cost more than it does."""
BATCH = 512 * 1024


def write_archive(
    layout: ArchiveLayout,
    source: Callable[[Member], Path | Content],
    destination: Path,
    *,
    codec: Codec,
    level: int | None = None,
    part_size: int | None = None,
    progress: Callable[[int], None] = lambda size: None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Volume, ...]:
    """Write the archive of ``layout`` beside ``destination``, cut at exactly ``part_size`` bytes if that is given.

    ``source`` tells where the content of a member is, or opens it. ``progress`` is given the bytes of files that were dealt
    with since its last call; if none is damaged they add up to ``layout.content_size``. ``check`` is called at least every
    few MiB, and twenty times a second while waiting; what it raises ends the pass. Both are called by the calling thread only.

    Whatever is raised, no temporary file is left. DamagedBlobsError names, after a scan of everything, all files that are
    missing or do not have their size and digest; EnvironmentProblem says that the disk would not take the archive.
    """
    framing = FRAMINGS[codec]
    level = framing.default_level if level is None else level
    if level not in framing.levels:
        raise UsageError(f"{codec.value} has no compression level {level}, only {framing.levels[0]} to {framing.levels[-1]}")
    if not archive_index.fits(layout):
        raise UsageError(f"{len(layout.members)} files are too many for one archive", tip="split the list into several bundles")
    if part_size is not None and part_size < 1:
        raise UsageError(f"a part size of {part_size} bytes is impossible")
    writer = VolumeWriter(destination, part_size, archive_index.sample_step(layout.content_size))
    try:
        with Conveyor(writer, StoredPieces.buffer_size(framing), progress, check) as conveyor:
            _Packer(layout, source, framing, level, writer, conveyor).run()
            return writer.close(conveyor.wait)
    except BaseException:
        writer.discard()
        raise


class _Packer:
    """The main thread's part: turns members, in order, into pieces on the belt."""

    def __init__(
        self,
        layout: ArchiveLayout,
        source: Callable[[Member], Path | Content],
        framing: Framing,
        level: int,
        writer: VolumeWriter,
        conveyor: Conveyor,
    ) -> None:
        self._layout = layout
        self._source = source
        self._framing = framing
        self._level = level
        self._writer = writer
        self._conveyor = conveyor
        self._pending = _Metadata()
        self._tar_position = 0
        self._frames: list[tuple[Section, int, int]] = []
        self._files: dict[str, MetadataFile] = {}
        self._blobs: dict[Digest, tuple[Section, int]] = {}
        self._batch: list[Callable[[], tuple[Section, bytes]]] = []
        self._batch_size = 0

    def run(self) -> None:
        for member in self._layout.members:
            self._add_metadata(tar_header.header(member, self._layout.mtime))
            if member.digest is not None:
                try:
                    self._add_content(member, member.digest)
                except DamagedFile:
                    self._conveyor.damaged.add(member.digest)
                self._add_metadata(tar_header.padding(member.size))
        self._end_metadata()
        self._send_batch()
        self._conveyor.drain()
        if self._conveyor.damaged:
            in_order = dict.fromkeys(m.digest for m in self._layout.members if m.digest in self._conveyor.damaged)
            raise DamagedBlobsError([str(digest) for digest in in_order])
        self._add_end()
        self._conveyor.drain()

    def _add_content(self, member: Member, digest: Digest) -> None:
        source = self._source(member)
        with SourceFile(source, member.size) if isinstance(source, Path) else source as file:
            if not member.is_blob:
                self._add_file(member, digest, file)
                return
            section = Section()
            self._blobs.setdefault(digest, (section, member.size))
            self._end_metadata()
            self._tar_position += member.size
            if member.size <= SMALL_BLOB:
                self._add_small_blob(member, digest, file, section)
            elif is_called_compressed(member.media_type):
                self._add_stored_blob(member, digest, file, section)
            else:
                start = file.read(min(TRIAL_SIZE, member.size))
                file.rewind()
                if not would_gain(start):
                    self._add_stored_blob(member, digest, file, section)
                elif (frames := file.frames(self._framing, self._level)) is not None:
                    self._add_frames(member, digest, frames, section)
                else:
                    self._add_packed_blob(member, digest, file, section)

    # Small things: encoded in the pool, many at once.

    def _add_metadata(self, data: Buffer) -> None:
        self._pending.data += data
        self._tar_position += len(data)
        if len(self._pending.data) >= METADATA_FRAME:
            self._end_metadata()

    def _end_metadata(self) -> None:
        pending, self._pending = self._pending, _Metadata()
        if not pending.data:
            return
        section, size = Section(), len(pending.data)
        if pending.has_files:
            self._frames.append((section, self._tar_position - size, size))
        self._add_to_batch(size, lambda: (section, self._framing.pack(pending.data, self._level)))
        if self._tar_position == size:
            self._add_to_batch(0, lambda: (Section(), self._framing.note(archive_index.START_MARK)))

    def _add_file(self, member: Member, digest: Digest, file: Content) -> None:
        name = member.path.removeprefix(f"{self._layout.root}/")
        self._files[name] = MetadataFile(self._tar_position, member.size, digest)
        scan, remaining = Scan(digest), member.size
        while remaining:
            data = file.read(min(METADATA_FRAME, remaining))
            remaining -= len(data)
            self._pending.has_files = True
            self._scan_here(scan, data, is_last=not remaining)
            self._add_metadata(data)
        if not member.size:
            self._scan_here(scan, b"", is_last=True)

    def _add_small_blob(self, member: Member, digest: Digest, file: Content, section: Section) -> None:
        data = bytes(file.read(member.size))
        self._scan_here(Scan(digest), data, is_last=True)

        def encode() -> tuple[Section, bytes]:
            section.encoding, frame = encode_small(self._framing, data, member.media_type, self._level)
            return section, frame

        if data:
            self._add_to_batch(len(data), encode)
        else:
            section.encoding = self._framing.stored_name

    def _scan_here(self, scan: Scan, data: Buffer, is_last: bool) -> None:
        scan.update(data)
        self._conveyor.count(len(data))
        if is_last and not scan.is_intact():
            raise DamagedFile

    def _add_to_batch(self, size: int, job: Callable[[], tuple[Section, bytes]]) -> None:
        self._batch.append(job)
        self._batch_size += size
        if self._batch_size >= BATCH:
            self._send_batch()

    def _send_batch(self) -> None:
        batch, self._batch, self._batch_size = self._batch, [], 0
        if batch:
            slot = self._conveyor.take_slot()
            self._conveyor.put(Piece(slot=slot, output=self._conveyor.submit(partial(_encode_batch, batch))))

    # Large blobs: on the belt piece by piece.

    def _add_stored_blob(self, member: Member, digest: Digest, file: Content, section: Section) -> None:
        self._send_batch()
        section.encoding = self._framing.stored_name
        pieces = StoredPieces(self._framing, member.size)
        scan = Scan(digest, self._framing.has_checksum)
        start: list[Buffer] = [self._framing.stored_start(member.size)]
        position = 0
        while position < member.size:
            slot = self._conveyor.take_slot()
            output, content = pieces.lay_out(slot, position)
            self._read_into(file, slot, content)
            position += sum(map(len, content))
            piece = Piece(slot=slot, output=[(section, [*start, output])], scan=scan, content=content)
            if position == member.size:
                piece.is_last = True
                piece.end = lambda scan: [(section, [self._framing.stored_end(scan.checksum, member.size)])]
            self._conveyor.put(piece)
            start = []

    def _add_packed_blob(self, member: Member, digest: Digest, file: Content, section: Section) -> None:
        self._send_batch()
        section.encoding = self._framing.packed_name
        scan = Scan(digest)
        for start in range(0, member.size, CHUNK_SIZE):
            slot = self._conveyor.take_slot()
            data = bytearray(min(CHUNK_SIZE, member.size - start))
            self._read_into(file, slot, [memoryview(data)])
            output = self._conveyor.submit(partial(_pack_chunk, section, self._framing, data, self._level))
            self._conveyor.put(
                Piece(slot=slot, output=output, scan=scan, content=[data], is_last=start + len(data) == member.size)
            )

    def _add_frames(self, member: Member, digest: Digest, frames: Iterator[tuple[bytes, bytes]], section: Section) -> None:
        """A blob that is packed already."""
        self._send_batch()
        section.encoding = self._framing.packed_name
        scan, position = Scan(digest), 0
        for frame, content in frames:
            position += len(content)
            slot = self._conveyor.take_slot()
            output: Output = [(section, [frame])]
            self._conveyor.put(Piece(slot=slot, output=output, scan=scan, content=[content], is_last=position == member.size))

    def _read_into(self, file: Content, slot: bytearray, views: list[memoryview]) -> None:
        try:
            file.read_into(views)
        except DamagedFile:
            self._conveyor.put(Piece(slot=slot))
            raise

    # The end

    def _add_end(self) -> None:
        framing = self._framing
        content = self._index().to_bytes(framing)
        path = f"{self._layout.root}/{archive_index.INDEX_NAME}"
        header = tar_header.header(Member(path, len(content), Digest.of(content)), self._layout.mtime)
        padding = tar_header.padding(len(content))
        tar_size = self._tar_position + len(header) + len(content) + len(padding)
        before = framing.pack(header, self._level)
        index = framing.pack(content, self._level)
        after = framing.pack(padding + tar_header.end_of_archive(tar_size), self._level)
        offset = self._writer.position + len(before)
        stream_size = offset + len(index) + len(after) + archive_index.trailer_size(framing)
        trailer = Trailer(
            stream_size=stream_size,
            offset=offset,
            length=len(index),
            size=len(content),
            sha256=hashlib.sha256(content).digest(),
        )
        output: Output = [(Section(), [before, index, after, trailer.to_frame(framing)])]
        self._conveyor.put(Piece(slot=self._conveyor.take_slot(), output=output))

    def _index(self) -> ArchiveIndex:
        """Everything is written, so it is known where it lies."""
        return ArchiveIndex(
            codec=self._framing.codec,
            root=self._layout.root,
            chunk_size=CHUNK_SIZE,
            blobs={
                digest: BlobEntry(section.offset, section.length, size, section.encoding, self._chunks(section))
                for digest, (section, size) in self._blobs.items()
            },
            frames=tuple(MetadataFrame(s.offset, s.length, start, size) for s, start, size in self._frames),
            files=self._files,
            samples=self._writer.samples(),
            is_delta=self._layout.is_delta,
        )

    def _chunks(self, section: Section) -> tuple[int, ...]:
        return tuple(section.chunks) if section.encoding == self._framing.packed_name else ()


class _Metadata:
    """The tar bytes of a metadata frame in the making."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.has_files = False


def _encode_batch(jobs: list[Callable[[], tuple[Section, bytes]]]) -> Output:
    return [(section, [frame]) for section, frame in (job() for job in jobs)]


def _pack_chunk(section: Section, framing: Framing, data: Buffer, level: int) -> Output:
    return [(section, [framing.pack(data, level)])]
