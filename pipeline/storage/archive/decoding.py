"""Decompress what other programs wrote, in pieces of bounded size: gzip, zstd, xz, or nothing.

Memory: a few MiB, and what the format needs to look back: 128 MiB at most, as much as the ``zstd`` program allows itself.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, cast

import zstandard

from pipeline.core.files import CHUNK
from pipeline.storage.archive.volume_reader import VolumeSet

MAX_WINDOW = 128 * 1024 * 1024
_INPUT = 64 * 1024
_GZIP_START, _ZSTD_START, _XZ_START = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
_GZIP = 16 + zlib.MAX_WBITS


class DecodingError(Exception):
    """Compressed bytes are damaged, cut off, or need too much memory."""


def compression(volumes: VolumeSet) -> str:
    """``gzip``, ``zstd``, ``xz``, or ``tar`` for all else."""
    start = volumes.read(0, min(len(_XZ_START), volumes.size))
    for name, magic in (("gzip", _GZIP_START), ("zstd", _ZSTD_START), ("xz", _XZ_START)):
        if start.startswith(magic):
            return name
    return "tar"


def decompressed(volumes: VolumeSet) -> Iterator[bytes]:
    """The content of ``volumes`` in pieces of up to a MiB. Raises DecodingError, ArchiveError."""
    decode = {"gzip": _gzip, "zstd": _zstd, "xz": _xz, "tar": _plain}[compression(volumes)]
    try:
        yield from decode(volumes)
    except (zlib.error, zstandard.ZstdError, lzma.LZMAError) as error:
        raise DecodingError(str(error)) from error


class PieceStream:
    """Pieces of bytes, to be read in any sizes, as a ``TarStream``; ``check`` is called with the size of each piece."""

    def __init__(self, pieces: Iterator[bytes], check: Callable[[int], None]) -> None:
        self.position = 0
        self._pieces = pieces
        self._check = check
        self._data = memoryview(b"")

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer where all ends."""
        parts = list(self.pass_on(size))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, size: int) -> None:
        """Pass ``size`` bytes, or what there is."""
        for _ in self.pass_on(size):
            pass

    def pass_on(self, size: int) -> Iterator[bytes]:
        """The next ``size`` bytes in pieces, fewer where all ends."""
        while size:
            if not self._data:
                piece = next(self._pieces, b"")
                self._check(len(piece))
                if not piece:
                    return
                self._data = memoryview(piece)
            part, self._data = self._data[:size], self._data[size:]
            size -= len(part)
            self.position += len(part)
            yield bytes(part)


def _plain(volumes: VolumeSet, size: int = CHUNK) -> Iterator[bytes]:
    for position in range(0, volumes.size, size):
        yield volumes.read(position, min(size, volumes.size - position))


def _gzip(volumes: VolumeSet) -> Iterator[bytes]:
    source = _plain(volumes, _INPUT)
    data = next(source, b"")
    while data:
        unpacker = zlib.decompressobj(_GZIP)
        while not unpacker.eof:
            data = data or next(source, b"")
            if not data:
                raise DecodingError("it ends too early")
            if content := unpacker.decompress(data, CHUNK):
                yield content
            data = unpacker.unconsumed_tail
        data = _after_padding(unpacker.unused_data, source)


def _xz(volumes: VolumeSet) -> Iterator[bytes]:
    source = _plain(volumes, _INPUT)
    data = next(source, b"")
    while data:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_WINDOW)
        while not unpacker.eof:
            if unpacker.needs_input and not data and not (data := next(source, b"")):
                raise DecodingError("it ends too early")
            if content := unpacker.decompress(data, CHUNK):
                yield content
            data = b""
        data = _after_padding(unpacker.unused_data, source)


def _after_padding(data: bytes, source: Iterator[bytes]) -> bytes:
    """What comes after zeros, which may stand between and after members; empty at the end."""
    while not (rest := data.lstrip(b"\0")) and (data := next(source, b"")):
        pass
    return rest


def _zstd(volumes: VolumeSet) -> Iterator[bytes]:
    source = cast("IO[bytes]", _Source(_plain(volumes, _INPUT)))
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    with decompressor.stream_reader(source, read_size=_INPUT, read_across_frames=True) as reader:
        while content := reader.read(CHUNK):
            yield content


class _Source:
    """Pieces, as ``zstandard`` wants to read them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int) -> bytes:
        return next(self._pieces, b"")
