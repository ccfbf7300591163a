"""Tars of every program are read; what is not a tar is an error, never more."""

from __future__ import annotations

import io
import tarfile
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.oci import Digest
from pipeline.storage.archive import tar_header
from pipeline.storage.archive.decoding import PieceStream
from pipeline.storage.archive.members import Member
from pipeline.storage.archive.tar_reader import MAX_EXTENDED, TarError, TarMember, TarReader
from tests.support.hostile_archives import member, pax

NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=70)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4).map("/".join)


def reader_of(data: bytes) -> TarReader:
    return TarReader(PieceStream(iter([data]), lambda size: None))


def members(data: bytes) -> list[TarMember]:
    reader = reader_of(data)
    found = []
    while (each := reader.next_member()) is not None:
        found.append(each)
    return found


@given(
    entries=st.lists(st.tuples(PATHS, st.binary(max_size=1500)), max_size=4),
    form=st.sampled_from((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
)
def test_what_python_writes(entries: list[tuple[str, bytes]], form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for path, content in entries:
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            try:
                tar.addfile(entry, io.BytesIO(content))
            except ValueError:  # ustar cannot hold every name
                return
    found = members(buffer.getvalue())
    assert [(each.name, each.size, each.is_file) for each in found] == [(path, len(data), True) for path, data in entries]
    for each, (_, content) in zip(found, entries, strict=True):
        assert buffer.getvalue()[each.start : each.start + each.size] == content


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_links_folders_and_large_numbers(form: Literal[1, 2]) -> None:
    def entry(name: str, kind: bytes, target: str = "", size: int = 0) -> bytes:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, size
        return info.tobuf(form)

    long = "x" * 150
    data = b"".join(
        (
            entry("folder/", tarfile.DIRTYPE),
            entry(f"folder/{long}/a", tarfile.SYMTYPE, f"../{long}/b"),
            entry("hard", tarfile.LNKTYPE, f"folder/{long}"),
            entry("pipe", tarfile.FIFOTYPE),
            entry("huge", tarfile.REGTYPE, size=9 * 2**30),
        )
    )
    reader = reader_of(data)
    found = [reader.next_member() for _ in range(5)]
    folder, symbolic, hard, pipe, huge = (each for each in found if each is not None)
    assert (folder.name, folder.is_folder, folder.is_file) == ("folder", True, False)
    assert (symbolic.target, symbolic.is_file) == (f"folder/{long}/b", False)
    assert hard.target == f"folder/{long}"
    assert (pipe.is_file, pipe.is_folder, pipe.target) == (False, False, "")
    assert (huge.size, huge.is_file) == (9 * 2**30, True)


def test_what_we_write() -> None:
    entries = [Member("root", mode=0o755), Member(f"root/{'ä' * 80}", 3, Digest.of(b"")), Member("root/link", link="x")]
    data = b"".join(tar_header.header(each, 0) + bytes(512 if each.size else 0) for each in entries) + bytes(1024)
    assert [each.name for each in members(data)] == [each.path for each in entries]


@given(st.binary(max_size=2000))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(TarError):
        members(b"x" + data)


@given(position=st.integers(0, 511), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_header_is_found(position: int, bit: int) -> None:
    data = bytearray(member("name", b"content") + bytes(1024))
    data[position] ^= 1 << bit
    try:
        found = members(bytes(data))
    except TarError:
        return
    # The first digit of a checksum and spaces around numbers may change without a meaning.
    assert [(each.name, each.size) for each in found] == [("name", 7)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pax(b"x" * 10, size=MAX_EXTENDED + 1), "an extended header of 1048577 bytes"),
        (pax(b"x", tarfile.XGLTYPE) * 3000 + member(), "an extended header"),
        (pax(b"9999 path=x\n") + member(), "a damaged pax header"),
        (pax(b"0 path=x\n") + member(), "a damaged pax header"),
        (pax(b"11 pathxxx\n") + member(), "a damaged pax header"),
        (pax(b"12 size=-12\n") + member(), "a damaged pax header"),
        (pax(b"22 GNU.sparse.major=1\n") + member(), "a sparse file"),
        (member(kind=tarfile.GNUTYPE_SPARSE), "a sparse file"),
        (pax(b"y" * 5000, tarfile.GNUTYPE_LONGNAME) + member(), "a name of 5000 bytes"),
        (member()[:300], "ends too early"),
        (member(), "ends too early"),
    ],
)
def test_what_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(TarError, match=message):
        members(data)
