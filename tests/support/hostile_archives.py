"""Archives, and tars of other programs, that were made to do harm: small files that claim a lot.

Written without the program's own writer: only the frames of the two formats, the index and the trailer of docs/formats.md.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

MIB = 1024 * 1024
HUGE = 128 * MIB
"""Bytes: more than any of the commands may take."""
TRAILER = b"image-tools trailer\n"
MARK = b"image-tools archive\n"


@dataclass(frozen=True)
class Format:
    """How one format packs, stores and notes."""

    codec: str
    packed: str
    block_size: int
    pack: Callable[[bytes], bytes]
    note: Callable[[bytes], bytes]


def gzip_note(payload: bytes) -> bytes:
    extra = b"IT" + struct.pack("<H", len(payload)) + payload
    return b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", len(extra)) + extra + b"\x03\0" + bytes(8)


def gzip_pack(data: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = packer.compress(data) + packer.flush()
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


GZIP = Format("gzip", "deflate", 65535, gzip_pack, gzip_note)
ZSTD = Format(
    "zstd",
    "zstd",
    131069,
    lambda data: zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data),
    lambda payload: struct.pack("<II", 0x184D2A57, len(payload)) + payload,
)
FORMATS = (GZIP, ZSTD)


def index(form: Format, **changes: Any) -> dict[str, Any]:
    """An archive index that says nothing, but for ``changes``; ``blobs``, ``frames`` and ``files`` are what they are there."""
    metadata = {"frames": changes.pop("frames", []), "files": changes.pop("files", {})}
    return {
        "version": 1,
        "codec": form.codec,
        "root": "saved-image-cache",
        "chunkSize": 2 * MIB,
        "blockSize": form.block_size,
        "blobs": {},
        "metadata": metadata,
        "samples": {"step": 512, "length": 32, "hashes": ""},
        **changes,
    }


def archive(form: Format, document: dict[str, Any] | bytes, body: bytes = b"", **trailer: Any) -> bytes:
    """``body``, the index, the trailer; the fields of the trailer are right, but for those that are given."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    packed = form.pack(content)
    end = len(form.note(bytes(88)))
    right = {
        "version": 1,
        "stream_size": len(body) + len(packed) + end,
        "offset": len(body),
        "length": len(packed),
        "size": len(content),
        "sha256": hashlib.sha256(content).digest(),
    }
    fields = struct.pack("<20sIQQQQ32s", TRAILER, *(right | trailer).values())
    return body + packed + form.note(fields)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def archives(form: Format) -> Iterator[tuple[str, bytes]]:
    """Archives that lie, by what they lie about."""

    def lying(name: str, body: bytes = b"", **changes: Any) -> tuple[str, bytes]:
        return f"{form.codec}: {name}", archive(form, index(form, **changes), body)

    def blob(**fields: Any) -> dict[str, Any]:
        return {digest(1): {"offset": 0, "length": 10, "size": 10, "encoding": form.packed, **fields}}

    zeros = form.pack(bytes(2 * MIB))
    huge = form.pack(bytes(HUGE))
    yield f"{form.codec}: an index too large", archive(form, bytes(HUGE))
    yield f"{form.codec}: an index of objects", archive(form, b"[" + b"{}," * (9 * MIB) + b"{}]")
    yield f"{form.codec}: an index of lists", archive(form, b"[" + b"[]," * (9 * MIB) + b"[]]")
    yield f"{form.codec}: a deep index", archive(form, b"[" * 10 * MIB)
    yield f"{form.codec}: an index that is a number", archive(form, b"1" * 20 * MIB)
    for field in ("stream_size", "offset", "length", "size"):
        for number in (0, 1, 2**40, 2**63, 2**64 - 1):
            changed: dict[str, Any] = {field: number}
            yield f"{form.codec}: {field} of the trailer is {number}", archive(form, index(form), **changed)
    values: list[Any] = [-1, 2**40, 2**63, 2**70, 1.5, None, "1", True, []]
    for field, value in itertools.product(("offset", "length", "size"), values):
        yield lying(f"{field} of a blob is {value}", zeros, blobs=blob(**{field: value}))
        whole: dict[str, Any] = {"offset": 0, "length": len(zeros), "size": 2 * MIB, field: value}
        yield lying(f"{field} of a whole blob is {value}", zeros, blobs=blob(**whole))
    yield lying("too large a chunk", huge, chunkSize=2**40, blobs=blob(length=len(huge), size=HUGE))
    yield lying("a frame too large", huge, frames=[[0, len(huge), 0, HUGE]], files={"index.json": [0, MIB, digest(1)]})
    yield lying(
        "a file too large",
        zeros * 512,
        frames=[[number * len(zeros), len(zeros), number * 2 * MIB, 2 * MIB] for number in range(512)],
        files={"index.json": [0, HUGE, digest(1)]},
    )
    yield lying("a gap too large", huge)
    yield lying("a gap of empty frames", form.pack(b"") * 60_000)
    yield lying("a gap of marks", form.note(MARK) * 30_000)
    yield lying("a gap of tiny frames", form.pack(b"\0") * 60_000)
    yield lying("a gap of nonsense", bytes(3 * MIB))
    yield lying("a blob of ten thousand chunks", zeros * 20, blobs=blob(chunks=[len(zeros)] * 10_000, size=20_000 * MIB))
    whole = {"offset": 0, "length": len(zeros), "size": 2 * MIB, "encoding": form.packed}
    yield lying("blobs that overlap", zeros, blobs={digest(number): whole for number in range(20_000)})
    yield lying("files that overlap", zeros, files={str(number): [0, 2 * MIB, digest(1)] for number in range(20_000)})
    yield lying("frames that overlap", zeros, frames=[[0, len(zeros), 0, MIB]] * 20_000)
    yield lying("frames backwards", zeros * 2, frames=[[len(zeros), len(zeros), 0, MIB], [0, len(zeros), MIB, MIB]])
    yield lying("samples everywhere", zeros, samples={"step": 1, "length": 32, "hashes": "00" * 4 * MIB})
    yield lying("no samples", zeros, samples={"step": 2**62, "length": 32, "hashes": ""})
    yield lying("a step of nothing", zeros, samples={"step": 0, "length": 32, "hashes": ""})
    yield lying("long names", files={"x" * MIB: [0, 0, digest(1)], "../../etc/passwd": [0, 0, digest(1)]}, root="y" * MIB)
    strangers: list[Any] = [None, [], {}, "x", 0, {"a": [1]}]
    for key, wrong in itertools.product(index(form), strangers):
        yield lying(f"{key} is {wrong}", zeros, **{key: wrong})
    if form is GZIP:
        yield lying("a name without an end", b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"x" * 3 * MIB)
        yield lying(
            "large extra fields", (b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\xff\xff" + bytes(65535) + b"\x03\0" + bytes(8)) * 40
        )
    else:
        yield lying("skippable frames of 4 GB", struct.pack("<II", 0x184D2A50, 0xFFFFFFFF) + bytes(MIB))
        yield lying("a window of 2 GB", b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\0\0")
        yield lying("content of an exabyte", b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**60) + b"\x02\0\x10\0" * MIB)


def pax(data: bytes, kind: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    """An extended header."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = kind, len(data) if size is None else size
    return entry.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def member(name: str = "file", content: bytes = b"", size: int | None = None, kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, len(content) if size is None else size
    return entry.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def sparse(size: int) -> bytes:
    """An old GNU sparse file whose map goes on for ``size`` bytes."""
    block = bytearray(member(kind=tarfile.GNUTYPE_SPARSE))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    entry = b"00000000001\0" * 42 + b"\x01" + bytes(7)
    return bytes(block) + entry * (size // len(entry))


def tars() -> Iterator[tuple[str, bytes]]:
    """Tars that were not written by the program, compressed or not."""
    end = bytes(1024)
    zip_ = gzip_pack
    yield "a pax header too large", zip_(pax(bytes(HUGE)))
    yield "a pax header that is not there", zip_(pax(b"", size=2**33))
    yield "a long name too long", zip_(pax(b"x" * HUGE, tarfile.GNUTYPE_LONGNAME))
    yield "a pax header of digits", zip_(pax(b"1" * (MIB - 1024)) + member() + end)
    yield "a name of a megabyte", zip_(pax(b"x" * (MIB - 1024), tarfile.GNUTYPE_LONGNAME) + member() + end)
    yield "a hundred thousand global headers", zip_(pax(b"12 x=abcde\n\n", tarfile.XGLTYPE) * 100_000 + member() + end)
    yield "ten thousand headers in a row", zip_(pax(b"11 path=ab\n") * 10_000 + member() + end)
    yield "a sparse file", zip_(sparse(HUGE))
    yield "a sparse file in pax", zip_(pax(b"22 GNU.sparse.major=1\n") + member() + end)
    yield "a size of an exabyte", zip_(member(size=2**60))
    yield "a size of a yottabyte", zip_(member(size=2**80, kind=b"Q"))
    yield "a member as large as a disk", zip_(member(size=2**33, content=bytes(HUGE)))
    yield "megabytes after the end", zip_(member() + end + bytes(HUGE))
    yield "a folder ten thousand deep", zip_(pax(b"a/" * 10_000, tarfile.GNUTYPE_LONGNAME) + member() + end)
    yield "a file that is a folder", zip_(member("a") + member("a/b") + end)
    yield "a folder that is a file", zip_(member("a/b") + member("a") + member("a/c/d") + member("a/c") + member("a/c/d") + end)
    yield "links in a ring", zip_(link("a", "b") + link("b", "a") + end)
    yield "a name without an end", b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"x" * 3 * MIB
    yield "empty gzip members", gzip.compress(b"") * 60_000
    yield "xz that needs a gigabyte", lzma_with_dictionary(0x24)
    yield "zstd with a window of 2 GB", b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x02\0\x10\0" * MIB
    yield (
        "skippable frames of 4 GB",
        b"\x28\xb5\x2f\xfd\x20\0\x01\0\0" + struct.pack("<II", 0x184D2A50, 0xFFFFFFFF) + bytes(MIB),
    )
    yield "zeros", bytes(MIB)
    yield "nothing", b""
    yield "half a header", member()[:300]


def link(name: str, target: str) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry.tobuf(tarfile.GNU_FORMAT)


def lzma_with_dictionary(size: int) -> bytes:
    """An xz file whose header says that its dictionary is large (xz file format, 5.3.1: 0x24 is 2^30 bytes)."""
    data = bytearray(lzma.compress(bytes(MIB), preset=0))
    header = bytearray(data[12 : 12 + (data[12] + 1) * 4 - 4])
    header[header.index(b"\x21\x01") + 2] = size
    data[12 : 12 + len(header)] = header
    data[12 + len(header) : 16 + len(header)] = struct.pack("<I", zlib.crc32(bytes(header)))
    return bytes(data)


def write(folder: Path, number: int, data: bytes) -> Path:
    path = folder / f"hostile-{number}.tar"
    path.write_bytes(data)
    return path
