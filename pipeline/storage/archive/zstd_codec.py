"""zstd frames (RFC 8878).

A stored frame is made of raw blocks of 128 KiB with their header; its window is as large, and it is no "single segment"
frame, so that a decoder needs no more memory than that for a blob of any size. A note is a skippable frame.
"""

from __future__ import annotations

import struct

import zstandard

from pipeline.storage.archive.framing import MAX_FRAME, Buffer, Codec, FrameError, Framing

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = 0x184D2A57
"""One of the sixteen that are free for anybody (3.1.2); 50, 51 and 5E are used by zstd:chunked, pzstd and seekable zstd."""
_DESCRIPTOR_SIZE_IN_8_BYTES = 0xC0
_WINDOW_128_KIB = (17 - 10) << 3
_RLE_BLOCK = 1
"""One byte, repeated."""


class ZstdFraming(Framing):
    codec = Codec.ZSTD
    default_level = 3
    levels = range(1, 20)
    packed_name = "zstd"
    stored_name = "raw"
    block_size = 128 * 1024 - 3
    block_header_size = 3
    has_checksum = False
    library = f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}"

    def stored_start(self, size: int) -> bytes:
        return _MAGIC + struct.pack("<BBQ", _DESCRIPTOR_SIZE_IN_8_BYTES, _WINDOW_128_KIB, size)

    def block_header(self, size: int, is_last: bool) -> bytes:
        return (size << 3 | is_last).to_bytes(self.block_header_size, "little")

    def stored_end(self, checksum: int, size: int) -> bytes:
        return b""

    def pack(self, data: Buffer, level: int) -> bytes:
        return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data)

    def unpack(self, frame: bytes, size: int) -> bytes:
        try:
            if zstandard.get_frame_parameters(frame).content_size != size or _frame_length(frame) != len(frame):
                raise FrameError(f"no zstd frame of {size} bytes")
            return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise FrameError(str(error)) from error

    def first_frame(self, data: bytes) -> tuple[bytes, int]:
        length = _frame_length(data)
        try:
            size = zstandard.get_frame_parameters(data).content_size
        except zstandard.ZstdError as error:
            raise FrameError(str(error)) from error
        if size > MAX_FRAME:
            raise FrameError(f"no zstd frame of {MAX_FRAME} bytes or less")
        return self.unpack(data[:length], size), length

    def note(self, payload: bytes) -> bytes:
        return struct.pack("<II", _SKIPPABLE_MAGIC, len(payload)) + payload


def _frame_length(data: bytes) -> int:
    """Bytes of the frame that ``data`` starts with, told by the headers of its blocks (3.1.1.2): what is whole is decoded in
    one pass, into a buffer of the size that it says, and never needs a window. Raises FrameError.
    """
    if not data.startswith(_MAGIC):
        raise FrameError("no zstd frame")
    try:
        position = zstandard.frame_header_size(data)
        has_checksum = zstandard.get_frame_parameters(data).has_checksum
    except zstandard.ZstdError as error:
        raise FrameError(str(error)) from error
    is_last = False
    while not is_last:
        header = int.from_bytes(data[position : position + 3], "little")
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        position += 3 + (1 if kind == _RLE_BLOCK else size)
        if position > len(data):
            raise FrameError("a zstd frame is cut off")
    position += 4 if has_checksum else 0
    if position > len(data):
        raise FrameError("a zstd frame is cut off")
    return position
