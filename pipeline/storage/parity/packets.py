"""What recovery files can do, read from their packets without the program: each is checked by its own MD5.

Source: "Parity Volume Set Specification 2.0": header, main, file description and recovery slice packets.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.core.files import CHUNK

_MAGIC = b"PAR2\0PKT"
_HEADER = struct.Struct("<8sQ16s16s16s")
_KEPT = 1 << 16
"""Bytes of a body that are kept: all of what is looked at but recovery slices, whose beginning is enough."""
_MAIN, _FILE, _SLICE = b"PAR 2.0\0Main\0\0\0\0", b"PAR 2.0\0FileDesc", b"PAR 2.0\0RecvSlic"
MAX_NAMED = 65_536
"""Files and slices of a set, at most."""


@dataclass
class ParitySet:
    """``recovery`` are the numbers of the recovery blocks that are there and whole; ``files`` sizes by name."""

    block_size: int = 0
    files: dict[str, int] = field(default_factory=dict)
    recovery: set[int] = field(default_factory=set)

    @property
    def spare(self) -> int:
        """Blocks that may be lost."""
        return len(self.recovery)


def link_files(known: ParitySet, origin: Path, folder: Path) -> None:
    """The files of a set that are in ``origin``, as links in ``folder``, where the program works."""
    for name in known.files:
        if (origin / name).is_file():
            (folder / name).symlink_to(origin / name)


def read(paths: Iterable[Path]) -> ParitySet | None:
    """The set that these files belong to; None where nothing of it can be read. Damaged packets do not count."""
    found = ParitySet()
    for path in paths:
        try:
            with path.open("rb") as file:
                for kind, body in _packets(file):
                    _take(found, kind, body)
        except OSError:
            continue
    return found if found.block_size and found.files else None


def _take(found: ParitySet, kind: bytes, body: bytes) -> None:
    if kind == _MAIN and len(body) >= 8:
        found.block_size = int(struct.unpack_from("<Q", body)[0])
    elif kind == _FILE and len(body) >= 56 and len(found.files) < MAX_NAMED:
        name = body[56:].rstrip(b"\0").decode(errors="surrogateescape")
        if name and "/" not in name:
            found.files[name] = int(struct.unpack_from("<Q", body, 48)[0])
    elif kind == _SLICE and len(body) >= 4 and len(found.recovery) < MAX_NAMED:
        found.recovery.add(int(struct.unpack_from("<I", body)[0]))


def _packets(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Type and beginning of the body of every packet that is whole; what is between them is passed over."""
    end = file.seek(0, 2)
    position = 0
    while position + _HEADER.size <= end:
        file.seek(position)
        magic, length, checksum, rest, kind = _HEADER.unpack(file.read(_HEADER.size))
        is_packet = magic == _MAGIC and _HEADER.size <= length <= end - position and length % 4 == 0
        body = _body(file, length - _HEADER.size, checksum, rest + kind) if is_packet else None
        if body is None:
            position = _next(file, position + 1, end)
        else:
            yield kind, body
            position += length


def _body(file: BinaryIO, length: int, checksum: bytes, hashed_first: bytes) -> bytes | None:
    hasher = hashlib.md5(hashed_first, usedforsecurity=False)
    kept = b""
    while length:
        chunk = file.read(min(length, CHUNK))
        if not chunk:
            return None
        hasher.update(chunk)
        kept += chunk[: max(_KEPT - len(kept), 0)]
        length -= len(chunk)
    return kept if hasher.digest() == checksum else None


def _next(file: BinaryIO, position: int, end: int) -> int:
    """Where the next packet may begin."""
    while position < end:
        file.seek(position)
        window = file.read(CHUNK)
        at = window.find(_MAGIC)
        if at >= 0:
            return position + at
        if len(window) < len(_MAGIC):
            return end
        position += len(window) - len(_MAGIC) + 1
    return end
