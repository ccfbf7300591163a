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
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import ContentError
from pipeline.core.oci import Digest
from pipeline.storage.archive.framing import Codec, FrameError, Framing

INDEX_NAME = "archive-index.json"
INDEX_VERSION = 1
CHUNK_SIZE = 2 * 1024 * 1024
"""Content bytes in each packed frame of a blob: the window of zstd -3, and little enough to keep many in memory."""
SAMPLE_LENGTH = 32
MAX_INDEX_SIZE = 512 * 1024 * 1024
"""Bytes; an archive of 100,000 blobs has an index of 15 MB."""

START_MARK = b"image-tools archive\n"
_TRAILER_MAGIC = b"image-tools trailer\n"
_TRAILER = struct.Struct("<20sIQQQQ32s")
_SAMPLE_HASH_LENGTH = 4


@dataclass(frozen=True)
class BlobEntry:
    """A blob in the stream: ``length`` bytes from ``offset`` on decode to ``size`` bytes. ``chunks``: see above."""

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


@dataclass(frozen=True)
class ArchiveIndex:
    """All that ``archive-index.json`` says."""

    codec: Codec
    root: str
    chunk_size: int
    blobs: Mapping[Digest, BlobEntry]
    frames: tuple[MetadataFrame, ...]
    files: Mapping[str, MetadataFile]
    samples: Samples

    def to_bytes(self, framing: Framing) -> bytes:
        document = {
            "version": INDEX_VERSION,
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
    def from_bytes(cls, data: bytes) -> ArchiveIndex:
        """Raises FrameError for what ``to_bytes`` of a version that we know did not make."""
        try:
            document = json.loads(data)
            if document["version"] != INDEX_VERSION or document["samples"]["length"] != SAMPLE_LENGTH:
                raise FrameError(f"archive index of version {document['version']!r}, this program knows {INDEX_VERSION}")
            metadata, samples = document["metadata"], document["samples"]
            return cls(
                Codec(document["codec"]),
                str(document["root"]),
                _positive(document["chunkSize"]),
                {Digest.parse(digest): _blob_from_json(entry) for digest, entry in document["blobs"].items()},
                tuple(MetadataFrame(*_naturals(frame)) for frame in metadata["frames"]),
                {
                    path: MetadataFile(_natural(start), _natural(size), Digest.parse(digest))
                    for path, (start, size, digest) in metadata["files"].items()
                },
                Samples(_positive(samples["step"]), bytes.fromhex(samples["hashes"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, ContentError) as error:
            raise FrameError(f"the archive index cannot be read ({error})") from error


@dataclass(frozen=True)
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
        trailer = cls(stream_size, offset, length, size, sha256, version)
        return trailer if tail == trailer.to_frame(framing) else None


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


def _blob_from_json(data: Mapping[str, Any]) -> BlobEntry:
    offset, length, size = _naturals((data["offset"], data["length"], data["size"]))
    chunks = tuple(_naturals(data.get("chunks", (length,))))
    if sum(chunks) != length:
        raise ValueError(f"chunks of a blob at {offset} do not add up")
    return BlobEntry(offset, length, size, str(data["encoding"]), chunks)


def _naturals(values: Any) -> list[int]:
    return [_natural(value) for value in values]


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no offset or size")
    return value


def _positive(value: Any) -> int:
    if _natural(value) == 0:
        raise ValueError("a size of 0")
    return _natural(value)
