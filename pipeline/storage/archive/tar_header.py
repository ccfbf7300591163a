"""Tar headers, the same bytes for the same member on every machine and every Python.

POSIX ustar; a pax extended header comes before it only where ustar cannot say it: a name that is too long or not ASCII, a
file of 8 GiB or more. Owner 0, no user or group name. (``tarfile`` writes headers too, but not the same in all versions.)

Source: POSIX.1-2017, ``pax``, "ustar Interchange Format" and "pax Extended Header".
"""

from __future__ import annotations

from pipeline.storage.archive.members import Member

BLOCK = 512
RECORD = 20 * BLOCK
"""tar fills its last record with zeros; some readers complain when ours is not full."""
_MAX_NAME = 100
_MAX_OCTAL_SIZE = 8**11 - 1
_REGULAR, _LINK, _FOLDER, _PAX = b"0", b"2", b"5", b"x"
_CHECKSUM = slice(148, 156)


def header(member: Member, mtime: int) -> bytes:
    """The header block of ``member``, with an extended header before it where it needs one."""
    name = (member.path + "/" if member.is_folder else member.path).encode()
    link = member.link.encode()
    size = member.size
    records = b""
    if not _fits(name):
        records += _pax_record(b"path", name)
    if not _fits(link):
        records += _pax_record(b"linkpath", link)
    if size > _MAX_OCTAL_SIZE:
        records += _pax_record(b"size", str(size).encode())
        size = 0
    kind = _LINK if member.link else _FOLDER if member.is_folder else _REGULAR
    block = _block(_shorten(name), member.mode, size, mtime, kind, _shorten(link))
    if not records:
        return block
    return _block(b"././@PaxHeader", 0o644, len(records), mtime, _PAX) + records + padding(len(records)) + block


def padding(size: int) -> bytes:
    """The zeros after a file of ``size`` bytes."""
    return bytes(-size % BLOCK)


def end_of_archive(position: int) -> bytes:
    """Two blocks of zeros, and more of them up to a whole record, for a tar of ``position`` bytes."""
    return bytes(2 * BLOCK + -(position + 2 * BLOCK) % RECORD)


def _fits(text: bytes) -> bool:
    return len(text) <= _MAX_NAME and text.isascii()


def _shorten(text: bytes) -> bytes:
    """What readers without pax see of a name that ustar cannot hold."""
    return text if _fits(text) else text[:_MAX_NAME].decode("ascii", "replace").replace("\ufffd", "_").encode()


def _block(name: bytes, mode: int, size: int, mtime: int, kind: bytes, link: bytes = b"") -> bytes:
    fields = (
        (name, 100),
        (b"%07o" % mode, 8),
        (b"%07o" % 0, 8),
        (b"%07o" % 0, 8),
        (b"%011o" % size, 12),
        (b"%011o" % mtime, 12),
        (b" " * 8, 8),
        (kind, 1),
        (link, 100),
        (b"ustar\x0000", 8),
        (b"", 64),
        (b"%07o" % 0, 8),
        (b"%07o" % 0, 8),
        (b"", 155),
    )
    block = bytearray(b"".join(value.ljust(width, b"\0") for value, width in fields).ljust(BLOCK, b"\0"))
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)


def _pax_record(key: bytes, value: bytes) -> bytes:
    """``"<length> <key>=<value>\\n"``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
