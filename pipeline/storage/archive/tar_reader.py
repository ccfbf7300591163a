"""Read tar headers that nobody vouches for, from a stream, in little memory.

Knows what GNU tar, bsdtar, Go and Python write: ustar, pax headers (local and global), GNU long names, sizes in base 256.
Refuses sparse files, whose maps have no bound. (``tarfile`` reads an extended header of any size into memory, keeps every
member, and searches with regular expressions that take hours on a header made for that.)

Source: POSIX.1-2017, ``pax``, "ustar Interchange Format" and "pax Extended Header"; the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Protocol

from pipeline.storage.archive.tar_header import BLOCK

MAX_EXTENDED = 1024 * 1024
"""Bytes of the extended headers of one member, all together."""
MAX_NAME = 4096
"""Bytes: PATH_MAX. No file system takes a longer one."""
_REGULAR = b"0\x007"
_FOLDER = b"5"
_NO_CONTENT = b"12346"
"""Links, devices and pipes: what their size says is not in the tar."""
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _PAX_SOLARIS = b"L", b"K", b"x", b"g", b"X"
_HARD_LINK, _LINK, _SPARSE = b"1", b"2", b"S"
_CHECKSUM = slice(148, 156)


class TarError(Exception):
    """Bytes are not a tar."""


@dataclass(frozen=True, kw_only=True)
class TarMember:
    """A member of a tar. ``name`` has no slash at its end; ``start`` is where in the tar its ``size`` bytes of content begin.
    ``target`` is the name of the member that a link leads to, and empty for all else.
    """

    name: str
    start: int
    size: int
    is_file: bool
    is_folder: bool
    target: str = ""


class TarStream(Protocol):
    """A tar as it comes, decompressed."""

    @property
    def position(self) -> int:
        """Bytes that were read or skipped."""

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only where it ends."""

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes, or what is left."""


class TarReader:
    """The members of a tar, one after another. Between two of them the caller may read content of the first from the stream."""

    def __init__(self, stream: TarStream) -> None:
        self._stream = stream
        self._end = 0

    def next_member(self) -> TarMember | None:
        """The next member; None after the last one, when the first block of zeros was read.

        Raises TarError for what is not a tar, or ends before its end.
        """
        self._stream.skip(self._end - self._stream.position)
        extended = _Extended()
        while True:
            block = self._exactly(BLOCK)
            if not any(block):
                return None
            _check(block)
            kind, size = block[156:157], _number(block[124:136])
            if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _PAX_SOLARIS):
                extended.add(kind, self._padded(size, MAX_EXTENDED - extended.size))
                continue
            if kind == _SPARSE or extended.is_sparse:
                raise TarError("it holds a sparse file (made with 'tar --sparse'?)")
            return self._member(block, kind, size if extended.length is None else extended.length, extended)

    def _member(self, block: bytes, kind: bytes, size: int, extended: _Extended) -> TarMember:
        name, target = extended.name, extended.target
        if name is None:
            name = _text(block[:100])
            if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
                name = prefix + b"/" + name
        if target is None:
            target = _text(block[157:257])
        if max(len(name), len(target)) > MAX_NAME:
            raise TarError(f"it holds a name of {max(len(name), len(target))} bytes")
        start = self._stream.position
        is_folder = kind == _FOLDER or (kind == b"\0" and name.endswith(b"/"))
        size = 0 if is_folder or kind in _NO_CONTENT else size
        self._end = start + size + -size % BLOCK
        path = name.rstrip(b"/").decode(errors="surrogateescape")
        return TarMember(
            name=path,
            start=start,
            size=size,
            is_file=kind in _REGULAR and not is_folder,
            is_folder=is_folder,
            target=_target(kind, path, target.decode(errors="surrogateescape")),
        )

    def _padded(self, size: int, limit: int) -> bytes:
        if size > limit:
            raise TarError(f"it has an extended header of {size} bytes")
        data = self._exactly(size)
        self._exactly(-size % BLOCK)
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise TarError("it ends too early")
        return data


class _Extended:
    """What the headers before a member say of it."""

    def __init__(self) -> None:
        self.size = 0
        self.name: bytes | None = None
        self.target: bytes | None = None
        self.length: int | None = None
        self.is_sparse = False

    def add(self, kind: bytes, data: bytes) -> None:
        self.size += len(data) + BLOCK
        if kind == _LONG_NAME:
            self.name = _text(data)
        elif kind == _LONG_LINK:
            self.target = _text(data)
        elif kind in (_PAX, _PAX_SOLARIS):
            for key, value in _records(data):
                self._set(key, value)

    def _set(self, key: bytes, value: bytes) -> None:
        if key == b"path":
            self.name = value
        elif key == b"linkpath":
            self.target = value
        elif key == b"size":
            self.length = _decimal(value)
        elif key.startswith(b"GNU.sparse."):
            self.is_sparse = True


def _records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records ``"<length> <key>=<value>\\n"`` of a pax header. Raises TarError."""
    records = []
    position = 0
    while position < len(data) and data[position]:
        space = data.find(b" ", position, position + 20)
        length = _decimal(data[position : max(space, position)])
        record = data[space + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if length < space + 1 - position or position + length > len(data) or not equals or not value.endswith(b"\n"):
            raise TarError("it has a damaged pax header")
        records.append((key, value[:-1]))
        position += length
    return records


def _target(kind: bytes, name: str, target: str) -> str:
    if kind == _HARD_LINK:
        return target
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) if kind == _LINK else ""


def _check(block: bytes) -> None:
    """Raises TarError where a header does not have its checksum; old programs took bytes for signed."""
    expected = _number(block[_CHECKSUM])
    rest = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    unsigned = sum(rest)
    if expected != unsigned and expected != unsigned - 256 * sum(byte > 127 for byte in rest):
        raise TarError("it has a damaged header, or is not a tar")


def _number(field: bytes) -> int:
    """A number in octal; in base 256 where the first bit is set."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip()
    if text.strip(b"01234567"):
        raise TarError("it has a damaged header, or is not a tar")
    return int(text or b"0", 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise TarError("it has a damaged pax header")
    return int(text)


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]
