"""gzip frames: RFC 1952 members around RFC 1951 deflate, without time, name or operating system.

A stored frame is made of deflate's stored blocks: five bytes of header for each 65,535 of content. A note is an empty
member with a subfield of ours in its extra field.
"""

from __future__ import annotations

import struct
import zlib

from pipeline.storage.archive.framing import MAX_FRAME, Buffer, Codec, FrameError, Framing

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Deflate, no flags, no time, no extra flags, "unknown" operating system (RFC 1952, 2.3)."""
_HEADER_EXTRA = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
_SUBFIELD = b"IT"
_EMPTY_DEFLATE = b"\x03\x00"
_RAW_DEFLATE = -zlib.MAX_WBITS
_GZIP = 16 + zlib.MAX_WBITS


class GzipFraming(Framing):
    codec = Codec.GZIP
    default_level = 6
    levels = range(1, 10)
    packed_name = "deflate"
    stored_name = "stored"
    block_size = 65535
    block_header_size = 5
    has_checksum = True
    library = f"zlib {zlib.ZLIB_RUNTIME_VERSION}"

    def stored_start(self, size: int) -> bytes:
        return _HEADER

    def block_header(self, size: int, is_last: bool) -> bytes:
        return struct.pack("<BHH", is_last, size, size ^ 0xFFFF)

    def stored_end(self, checksum: int, size: int) -> bytes:
        return struct.pack("<II", checksum, size & 0xFFFFFFFF)

    def pack(self, data: Buffer, level: int) -> bytes:
        packer = zlib.compressobj(level, zlib.DEFLATED, _RAW_DEFLATE)
        return b"".join((_HEADER, packer.compress(data), packer.flush(), self.stored_end(zlib.crc32(data), len(data))))

    def unpack(self, frame: bytes, size: int) -> bytes:
        unpacker = zlib.decompressobj(_GZIP)
        try:
            data = unpacker.decompress(frame, size + 1)
        except zlib.error as error:
            raise FrameError(str(error)) from error
        if len(data) != size or not unpacker.eof or unpacker.unused_data or not frame.startswith(_HEADER):
            raise FrameError(f"no gzip member of {size} bytes")
        return data

    def first_frame(self, data: bytes) -> tuple[bytes, int]:
        unpacker = zlib.decompressobj(_GZIP)
        try:
            content = unpacker.decompress(data, MAX_FRAME + 1)
        except zlib.error as error:
            raise FrameError(str(error)) from error
        if len(content) > MAX_FRAME or not unpacker.eof or not data.startswith(_HEADER):
            raise FrameError(f"no gzip member of {MAX_FRAME} bytes or less")
        return content, len(data) - len(unpacker.unused_data)

    def note(self, payload: bytes) -> bytes:
        extra = _SUBFIELD + struct.pack("<H", len(payload)) + payload
        return _HEADER_EXTRA + struct.pack("<H", len(extra)) + extra + _EMPTY_DEFLATE + self.stored_end(0, 0)
