"""zstd frames (RFC 8878).

A stored frame is made of raw blocks of 128 KiB with their header; its window is as large, and it is no "single segment"
frame, so that a decoder needs no more memory than that for a blob of any size. A note is a skippable frame.
"""

from __future__ import annotations

import struct

import zstandard

from pipeline.storage.archive.framing import Buffer, Codec, FrameError, Framing

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = 0x184D2A57
"""One of the sixteen that are free for anybody (3.1.2); 50, 51 and 5E are used by zstd:chunked, pzstd and seekable zstd."""
_DESCRIPTOR_SIZE_IN_8_BYTES = 0xC0
_WINDOW_128_KIB = (17 - 10) << 3


class ZstdFraming(Framing):
    codec = Codec.ZSTD
    default_level = 3
    levels = range(1, 20)
    packed_name = "zstd"
    stored_name = "raw"
    block_size = 128 * 1024 - 3
    block_header_size = 3
    has_checksum = False

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
            parameters = zstandard.get_frame_parameters(frame)
            if parameters.content_size != size:
                raise FrameError(f"no zstd frame of {size} bytes")
            return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise FrameError(str(error)) from error

    def note(self, payload: bytes) -> bytes:
        return struct.pack("<II", _SKIPPABLE_MAGIC, len(payload)) + payload
