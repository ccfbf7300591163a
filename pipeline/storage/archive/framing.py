"""What the two compressed formats have in common: a stream is made of pieces that decode on their own.

gzip calls such a piece a member, zstd a frame; here it is a *frame*. Any number of frames, one after another, is a valid
file for every decoder. That is all the archive needs to be readable in place:

* a *stored* frame holds bytes as they are, in blocks of a fixed size: where a byte lies in it can be computed;
* a *packed* frame is really compressed, and read as a whole;
* a *note* decodes to nothing and carries a few bytes of ours past every decoder.
"""

from __future__ import annotations

import abc
import enum
import zlib
from collections.abc import Iterator

Buffer = bytes | bytearray | memoryview

MAX_FRAME = 1024 * 1024
"""Content bytes in a frame of metadata at most; the writer's have half of that."""


class Codec(enum.Enum):
    """The two formats of an archive; the value is what ``-compress`` calls them."""

    GZIP = "gzip"
    ZSTD = "zstd"


class FrameError(Exception):
    """Bytes are not the frame that should be there. The reader, who knows where they lie, turns it into ArchiveError."""


class Framing(abc.ABC):
    """How one format writes and reads its frames. Has no state: any thread may use it."""

    codec: Codec
    default_level: int
    levels: range
    packed_name: str
    """What the archive index calls the encoding of a packed frame; of a stored one: ``stored_name``."""
    stored_name: str
    block_size: int
    """Content bytes in every block of a stored frame but the last."""
    block_header_size: int
    has_checksum: bool
    """Whether a stored frame ends with the CRC-32 of its content."""
    library: str
    """Who compresses, and in which version: another one may make other frames of the same bytes."""

    @abc.abstractmethod
    def stored_start(self, size: int) -> bytes:
        """What comes before the first block of a stored frame of ``size`` > 0 bytes."""

    @abc.abstractmethod
    def block_header(self, size: int, is_last: bool) -> bytes:
        """What comes before a block of ``size`` bytes."""

    @abc.abstractmethod
    def stored_end(self, checksum: int, size: int) -> bytes:
        """What comes after the last block."""

    @abc.abstractmethod
    def pack(self, data: Buffer, level: int) -> bytes:
        """One compressed frame. Frees the interpreter while it works."""

    @abc.abstractmethod
    def unpack(self, frame: bytes, size: int) -> bytes:
        """The ``size`` bytes in a packed frame, never more. Raises FrameError for anything else."""

    @abc.abstractmethod
    def note(self, payload: bytes) -> bytes:
        """A frame that decodes to nothing. Its length depends on that of ``payload`` only."""

    @abc.abstractmethod
    def first_frame(self, data: bytes) -> tuple[bytes, int]:
        """The content of the frame that ``data`` starts with, and the frame's length.

        Raises FrameError where no such frame is, or its content is larger than ``MAX_FRAME``.
        """

    def stored_length(self, size: int) -> int:
        """Bytes of a stored frame of ``size`` bytes; content of no bytes has no frame."""
        if not size:
            return 0
        headers = -(-size // self.block_size) * self.block_header_size
        return len(self.stored_start(size)) + headers + size + len(self.stored_end(0, size))

    @staticmethod
    def max_packed_length(size: int) -> int:
        """Bytes that a packed frame of ``size`` bytes has at most, whichever library made it."""
        return size + size // 8 + 1024

    def store(self, data: bytes) -> bytes:
        """A whole stored frame, for what fits in memory."""
        parts = [self.stored_start(len(data))]
        for start in range(0, len(data), self.block_size):
            block = data[start : start + self.block_size]
            parts += (self.block_header(len(block), start + len(block) == len(data)), block)
        return b"".join((*parts, self.stored_end(zlib.crc32(data), len(data))))

    def block_range(self, size: int, start: int, stop: int) -> tuple[int, int]:
        """Where, in a stored frame of ``size`` bytes, the blocks lie that hold content ``start`` to ``stop`` (> start)."""
        stride = self.block_header_size + self.block_size
        first, last = start // self.block_size, (stop - 1) // self.block_size
        head = len(self.stored_start(size))
        last_size = min(self.block_size, size - last * self.block_size)
        return head + first * stride, head + last * stride + self.block_header_size + last_size

    def blocks(self, data: bytes, size: int, start: int) -> Iterator[memoryview]:
        """The content of the blocks ``data``, of which the first holds content byte ``start`` of a frame of ``size`` bytes.

        Raises FrameError where a block header is not what it must be.
        """
        view = memoryview(data)
        position = start - start % self.block_size
        while view:
            length = min(self.block_size, size - position)
            if view[: self.block_header_size] != self.block_header(length, position + length == size):
                raise FrameError(f"no block of {length} bytes at {position}")
            yield view[self.block_header_size : self.block_header_size + length]
            view = view[self.block_header_size + length :]
            position += length
