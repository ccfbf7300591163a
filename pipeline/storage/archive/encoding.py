"""Decide what is worth compressing, and lay stored bytes out.

A layer that is compressed already gains nothing from a second time, which is where other tools spend most of their time.
"""

from __future__ import annotations

import zlib

from pipeline.storage.archive.framing import Buffer, Framing

STORED_PIECE = 1024 * 1024
"""Bytes, about, of a stored blob that are read at once: they stay in the processor's cache on their way."""
_ALIGNMENT = 16
"""The kernel reads zstd's blocks to odd addresses at half the speed."""
TRIAL_SIZE = 1024 * 1024
_TRIAL_LEVEL = 1
_WORTHWHILE = 0.97
_COMPRESSED_ENDINGS = ("gzip", "zstd", "gz", "zst", "xz", "bzip2")


def is_called_compressed(media_type: str) -> bool:
    """Whether a media type ends in the name of a compression, as in ``…layer.v1.tar+gzip`` or ``…rootfs.diff.tar.gzip``."""
    return media_type.replace("+", ".").rpartition(".")[2].lower() in _COMPRESSED_ENDINGS


def gains(size: int, packed_size: int) -> bool:
    """Whether compressing ``size`` bytes to ``packed_size`` was worth it."""
    return packed_size < size * _WORTHWHILE


def would_gain(start: Buffer) -> bool:
    """Try it with the first ``TRIAL_SIZE`` bytes of a blob, the fastest way there is."""
    return gains(len(start), len(zlib.compress(start, _TRIAL_LEVEL)))


def encode_small(framing: Framing, data: bytes, media_type: str, level: int) -> tuple[str, bytes]:
    """The name of the better encoding, and the frame: for a blob that fits in memory."""
    if not is_called_compressed(media_type):
        packed = framing.pack(data, level)
        if gains(len(data), len(packed)):
            return framing.packed_name, packed
    return framing.stored_name, framing.store(data)


class StoredPieces:
    """How a stored frame of ``size`` bytes is cut into pieces of whole blocks, each read into a buffer of ``buffer_size``."""

    def __init__(self, framing: Framing, size: int) -> None:
        self._framing = framing
        self._size = size

    @staticmethod
    def buffer_size(framing: Framing) -> int:
        block_count = STORED_PIECE // framing.block_size
        return _first_header(framing) + block_count * (framing.block_header_size + framing.block_size)

    def lay_out(self, buffer: bytearray, start: int) -> tuple[memoryview, list[memoryview]]:
        """Write the headers of the blocks that begin at content byte ``start``, as many as fit.

        Returns what of the buffer belongs to the stream, and the places in it where the content is still to be read to:
        scattered by the kernel, it is never copied again.
        """
        whole = memoryview(buffer)
        head, places = self._framing.block_header_size, []
        begin = position = _first_header(self._framing)
        while position < len(whole) and start < self._size:
            length = min(self._framing.block_size, self._size - start)
            start += length
            whole[position : position + head] = self._framing.block_header(length, start == self._size)
            places.append(whole[position + head : position + head + length])
            position += head + length
        return whole[begin:position], places


def _first_header(framing: Framing) -> int:
    """Where in a buffer the first block begins, for its content to be aligned."""
    return -framing.block_header_size % _ALIGNMENT
