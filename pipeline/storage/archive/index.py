"""The archive index: where in the compressed stream everything lies; and the trailer, which says where the index lies.

``archive-index.json`` is the last member of the tar. All offsets count from the start of the whole compressed stream,
whether it is one file or cut into volumes, so that volumes joined with ``cat`` are the archive, bit by bit::

    {"version": 1, "codec": "gzip", "root": "saved-image-cache", "chunkSize": 2097152, "blockSize": 65535,
     "blobs": {"sha256:…": {"offset": 812, "length": 4711, "size": 4680, "encoding": "stored"},
               "sha256:…": {…, "encoding": "deflate", "chunks": [911, 807]}},
     "metadata": {"frames": [[offset, length, start, size], …], "files": {"index.json": [start, size, "sha256:…"], …}},
     "samples": {"step": 4096, "length": 32, "hashes": "…"}}

``chunks`` are the compressed lengths of a blob's frames, each of ``chunkSize`` content bytes; they are left out when there
is one. Metadata files lie in shared frames: ``start`` counts in the unpacked tar. ``samples`` are short hashes of the 32
bytes at each multiple of ``step``: they tell cheaply whether a volume is where it belongs.

The trailer is a note of a fixed size. It also is what makes an archive ours; a mark near its start tells one of ours that
lost its end from one that never had a trailer.

Nothing of an index is believed: ``from_bytes`` takes only what ``to_bytes`` could have made. Every part has the length that its
size needs, no two overlap, and all lie before the index, so that reading each part once ends, whatever an index says.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core import bounded_json
from pipeline.core.errors import ContentError
from pipeline.core.oci import Digest
from pipeline.storage.archive.framing import MAX_FRAME, Codec, FrameError, Framing
from pipeline.storage.archive.members import ArchiveLayout

INDEX_NAME = "archive-index.json"
INDEX_VERSION = 1
DELTA_VERSION = 2
"""Of an archive that lacks blobs which it needs."""
CHUNK_SIZE = 2 * 1024 * 1024
"""Content bytes in each packed frame of a blob: the window of zstd -3, and little enough to keep many in memory."""
SAMPLE_LENGTH = 32
MAX_INDEX_SIZE = 32 * 1024 * 1024
"""Bytes; an archive of 100,000 blobs has an index of 17 MB."""
MAX_NAME = 4096
"""Characters of a path."""
MAX_METADATA = 16 * 1024 * 1024
"""Bytes of a metadata file; the ``index.json`` of 2,000 images with five signatures each has 7 MB."""

_ENTRY_SIZE, _CHUNK_SIZE = 180, 8
"""Bytes of the index for each file and each chunk of a blob, at most."""
_ENTRY_WEIGHT, _CHUNK_WEIGHT = 240 + 4 * 64, 64
"""What the reader reckons for their objects, beside their bytes."""

START_MARK = b"image-tools archive\n"
_TRAILER_MAGIC = b"image-tools trailer\n"
_TRAILER = struct.Struct("<20sIQQQQ32s")
_SAMPLE_HASH_LENGTH = 4


@dataclass(frozen=True)
class BlobEntry:
    """A blob in the stream: ``length`` bytes from ``offset`` on decode to ``size`` bytes. ``chunks``: see above; empty where
    there is one frame, or none.
    """

    offset: int
    length: int
    size: int
    encoding: str
    chunks: tuple[int, ...] = ()


@dataclass(frozen=True)
class MetadataFrame:
    """A frame at ``offset``, ``length`` bytes long, that decodes to the ``size`` bytes at ``start`` in the tar."""

    offset: int
    length: int
    start: int
    size: int


@dataclass(frozen=True)
class MetadataFile:
    """A file at ``start`` in the tar."""

    start: int
    size: int
    digest: Digest


@dataclass(frozen=True)
class Samples:
    """Short hashes of the bytes at each multiple of ``step`` in the stream."""

    step: int
    hashes: bytes

    def first_within(self, start: int, stop: int) -> int | None:
        """The position of the first sample that lies between ``start`` and ``stop``."""
        number = -(-start // self.step)
        position = number * self.step
        if position + SAMPLE_LENGTH > stop or (number + 1) * _SAMPLE_HASH_LENGTH > len(self.hashes):
            return None
        return position

    def matches(self, position: int, data: bytes) -> bool:
        """Whether ``data`` is what the stream has at ``position``, which ``first_within`` gave."""
        number = position // self.step
        return sample_hash(data) == self.hashes[number * _SAMPLE_HASH_LENGTH :][:_SAMPLE_HASH_LENGTH]


@dataclass(frozen=True, kw_only=True)
class ArchiveIndex:
    """All that ``archive-index.json`` says."""

    codec: Codec
    root: str
    chunk_size: int
    blobs: Mapping[Digest, BlobEntry]
    frames: tuple[MetadataFrame, ...]
    files: Mapping[str, MetadataFile]
    samples: Samples
    is_delta: bool = False

    def to_bytes(self, framing: Framing) -> bytes:
        document = {
            "version": DELTA_VERSION if self.is_delta else INDEX_VERSION,
            "codec": self.codec.value,
            "root": self.root,
            "chunkSize": self.chunk_size,
            "blockSize": framing.block_size,
            "blobs": {str(digest): _blob_to_json(entry) for digest, entry in self.blobs.items()},
            "metadata": {
                "frames": [[f.offset, f.length, f.start, f.size] for f in self.frames],
                "files": {path: [f.start, f.size, str(f.digest)] for path, f in self.files.items()},
            },
            "samples": {"step": self.samples.step, "length": SAMPLE_LENGTH, "hashes": self.samples.hashes.hex()},
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, framing: Framing, end: int) -> ArchiveIndex:
        """The index in ``data``, of an archive in which it starts at ``end``.

        Raises FrameError for what ``to_bytes`` of a version that we know did not make.
        """
        try:
            document = bounded_json.loads(data)
            version = document["version"]
            if version not in (INDEX_VERSION, DELTA_VERSION) or document["samples"]["length"] != SAMPLE_LENGTH:
                raise FrameError(f"archive index of version {version!r}, this program knows {DELTA_VERSION}")
            if (document["codec"], document["blockSize"]) != (framing.codec.value, framing.block_size):
                raise FrameError("it is the index of an archive in another format")
            chunk_size, metadata, samples = document["chunkSize"], document["metadata"], document["samples"]
            if not 0 < _natural(chunk_size) <= CHUNK_SIZE:
                raise ValueError(f"chunks of {chunk_size} bytes")
            index = cls(
                codec=framing.codec,
                root=_name(document["root"]),
                chunk_size=chunk_size,
                blobs={Digest.parse(d): _blob_from_json(e, framing, chunk_size) for d, e in document["blobs"].items()},
                frames=tuple(_frame_from_json(frame, framing) for frame in metadata["frames"]),
                files={_name(path): _file_from_json(file) for path, file in metadata["files"].items()},
                samples=Samples(_positive(samples["step"]), bytes.fromhex(samples["hashes"])),
                is_delta=version == DELTA_VERSION,
            )
        except (KeyError, TypeError, ValueError, AttributeError, ContentError) as error:
            raise FrameError(f"the archive index cannot be read ({error})") from error
        index._check_places(end)
        return index

    def _check_places(self, end: int) -> None:
        """Raises FrameError where parts overlap, in the stream or in the tar, or lie outside."""
        blobs = [(blob.offset, blob.length) for blob in self.blobs.values() if blob.length]
        frames = [(frame.offset, frame.length) for frame in self.frames]
        if list(self.frames) != sorted(self.frames, key=lambda frame: frame.start) or frames != sorted(frames):
            raise FrameError("the frames of the metadata are not in order")
        for parts, limit in (
            ([*blobs, *frames], end),
            ([(frame.start, frame.size) for frame in self.frames], None),
            ([(file.start, file.size) for file in self.files.values() if file.size], None),
        ):
            _check_apart(parts, limit)


@dataclass(frozen=True, kw_only=True)
class Trailer:
    """Where the index lies (``offset``, ``length``: compressed; ``size``, ``sha256``: its content), and how long the whole
    stream is, with the trailer.
    """

    stream_size: int
    offset: int
    length: int
    size: int
    sha256: bytes
    version: int = INDEX_VERSION

    def to_frame(self, framing: Framing) -> bytes:
        fields = (_TRAILER_MAGIC, self.version, self.stream_size, self.offset, self.length, self.size, self.sha256)
        return framing.note(_TRAILER.pack(*fields))

    @classmethod
    def from_frame(cls, tail: bytes, framing: Framing) -> Trailer | None:
        """The trailer at the end of ``tail``, or None where there is none in this format."""
        tail = tail[-trailer_size(framing) :]
        start = tail.find(_TRAILER_MAGIC)
        if start < 0 or len(tail) - start < _TRAILER.size:
            return None
        _, version, stream_size, offset, length, size, sha256 = _TRAILER.unpack_from(tail, start)
        trailer = cls(stream_size=stream_size, offset=offset, length=length, size=size, sha256=sha256, version=version)
        return trailer if tail == trailer.to_frame(framing) else None


def fits(layout: ArchiveLayout) -> bool:
    """Whether readers will take the index of an archive of ``layout``: they bound its size, and the memory that it needs."""
    files = [member for member in layout.members if member.digest is not None]
    chunks = sum(-(-member.size // CHUNK_SIZE) for member in files if member.is_blob)
    names = sum(len(member.path) for member in files if not member.is_blob)
    size = _ENTRY_SIZE * len(files) + _CHUNK_SIZE * chunks + names
    weight = 2 * size + _ENTRY_WEIGHT * len(files) + _CHUNK_WEIGHT * chunks
    small = all(member.size <= MAX_METADATA for member in files if not member.is_blob)
    return small and size < MAX_INDEX_SIZE and weight < bounded_json.MAX_WEIGHT


def trailer_size(framing: Framing) -> int:
    """Bytes of the trailer, which are the last ones of the stream."""
    return len(framing.note(bytes(_TRAILER.size)))


def sample_hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_SAMPLE_HASH_LENGTH]


def sample_step(content_size: int) -> int:
    """The distance of samples for an archive of that much content: about a thousand in all, however large it is."""
    step = 512
    while step * 1024 < content_size:
        step *= 2
    return step


def _blob_to_json(entry: BlobEntry) -> dict[str, Any]:
    data: dict[str, Any] = {
        "offset": entry.offset,
        "length": entry.length,
        "size": entry.size,
        "encoding": entry.encoding,
    }
    return {**data, "chunks": list(entry.chunks)} if len(entry.chunks) > 1 else data


def _blob_from_json(data: Mapping[str, Any], framing: Framing, chunk_size: int) -> BlobEntry:
    offset, length, size = _naturals((data["offset"], data["length"], data["size"]))
    if data["encoding"] == framing.stored_name:
        if length != framing.stored_length(size):
            raise ValueError(f"{size} stored bytes cannot have a length of {length}")
        return BlobEntry(offset, length, size, framing.stored_name)
    if data["encoding"] != framing.packed_name:
        raise ValueError(f"unknown encoding {data['encoding']!r}")
    chunks = tuple(_naturals(data.get("chunks", (length,))))
    if sum(chunks) != length or len(chunks) != -(-size // chunk_size):
        raise ValueError(f"the chunks of a blob at {offset} do not add up")
    if max(chunks) > framing.max_packed_length(min(size, chunk_size)):
        raise ValueError(f"a chunk of a blob at {offset} is too long")
    return BlobEntry(offset, length, size, framing.packed_name, chunks if len(chunks) > 1 else ())


def _frame_from_json(data: Any, framing: Framing) -> MetadataFrame:
    frame = MetadataFrame(*_naturals(data))
    if not 0 < frame.size <= MAX_FRAME or not 0 < frame.length <= framing.max_packed_length(frame.size):
        raise ValueError(f"a frame of {frame.size} bytes in {frame.length}")
    return frame


def _file_from_json(data: Any) -> MetadataFile:
    start, size, digest = data
    if _natural(size) > MAX_METADATA:
        raise ValueError(f"a metadata file of {size} bytes")
    return MetadataFile(_natural(start), size, Digest.parse(digest))


def _check_apart(parts: Iterable[tuple[int, int]], end: int | None) -> None:
    """Raises FrameError where two parts (start, length) overlap, or one goes beyond ``end``."""
    position = 0
    for start, length in sorted(parts):
        if start < position:
            raise FrameError(f"two parts of the archive overlap at byte {start}")
        position = start + length
    if end is not None and position > end:
        raise FrameError(f"a part of the archive ends at byte {position}, after its end")


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise ValueError("a name that no file can have")
    return value


def _naturals(values: Any) -> list[int]:
    return [_natural(value) for value in values]


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not an offset or size")
    return value


def _positive(value: Any) -> int:
    if _natural(value) == 0:
        raise ValueError("a size of 0")
    return _natural(value)
