"""What is damaged, missing or foreign is found, and named; a pass that fails leaves nothing behind."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import ArchiveError, DamagedBlobsError, EnvironmentProblem, UsageError
from pipeline.core.oci import Digest
from pipeline.storage.archive import (
    Codec,
    ForeignArchiveError,
    Member,
    open_archive,
    temporary_files,
    volume_names,
    write_archive,
)
from pipeline.storage.archive.codecs import FRAMINGS
from pipeline.storage.archive.index import START_MARK, Trailer, trailer_size
from tests.support.tools import require
from tests.unit.storage.archive.cases import Case, contents, noise, text, typical
from tests.unit.storage.archive.conftest import Sample

PART_SIZE = 200_000


class Wanted(Exception):
    """What a test makes happen."""


def read_all(path: Path) -> None:
    with open_archive(path) as archive:
        for name in archive.names:
            archive.read_metadata(name)
        for digest in archive.blobs:
            contents(archive.open_blob(digest))


def flipped(sample: Sample, folder: Path, offset: int) -> Path:
    """The archive with one bit changed. A copy that an earlier call made is used again."""
    path = folder / "flipped.tar"
    last = folder / "flipped.tar.last"
    if not path.exists():
        path.write_bytes(sample.data)
    elif last.exists():
        flip(path, int(last.read_text()))
    flip(path, offset)
    last.write_text(str(offset))
    return path


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


# Damage in an archive


def test_a_flipped_byte_in_a_blob_is_found(sample: Sample, tmp_path: Path) -> None:
    """In the start, in a block header, in the content, and in the end of its frames."""
    with open_archive(sample.path) as archive:
        blobs = {digest: entry for digest, entry in archive.blobs.items() if entry.size}
    harmless = tried = 0
    for digest, entry in blobs.items():
        for place in {0, 3, 11, 12, 14, 20, entry.length // 2, entry.length - 6, entry.length - 1}:
            path = flipped(sample, tmp_path, entry.offset + place)
            tried += 1
            given = b""
            with open_archive(path) as archive:
                try:
                    for piece in archive.open_blob(digest):
                        given += piece
                except ArchiveError as error:
                    assert f"{digest} is damaged in {path}" in str(error)
                    assert len(given) < entry.size, "the end of a damaged blob was given away"
                else:
                    assert given == sample.case.content[digest]
                    assert entry.encoding in ("zstd", "deflate"), "every byte of a stored frame counts"
                    harmless += 1
                other = next(other for other in blobs if other != digest)
                assert contents(archive.open_blob(other)) == sample.case.content[other]
    assert harmless <= tried // 20, "only the odd bit of a compressed frame means nothing"


def test_a_flipped_byte_in_metadata_is_found(sample: Sample, tmp_path: Path) -> None:
    path = flipped(sample, tmp_path, 100)
    with open_archive(path) as archive, pytest.raises(ArchiveError, match=f"index.json is damaged in {path}"):
        archive.read_metadata("index.json")


def test_a_flipped_byte_in_the_index_or_the_trailer_is_found(sample: Sample, tmp_path: Path) -> None:
    framing = FRAMINGS[sample.codec]
    trailer = Trailer.from_frame(sample.data, framing)
    assert trailer is not None
    for place in (0, 1, trailer.length // 2, trailer.length - 1):
        path = flipped(sample, tmp_path, trailer.offset + place)
        with pytest.raises(ArchiveError, match=f"archive-index.json in {path} is damaged"):
            open_archive(path)
    size = len(sample.data)
    for offset in range(size - trailer_size(framing), size):
        with pytest.raises(ArchiveError, match=r"flipped\.tar"):
            open_archive(flipped(sample, tmp_path, offset))


def test_a_flipped_byte_between_blobs_is_found_by_other_programs(sample: Sample, tmp_path: Path) -> None:
    """Tar headers and padding, which nobody needs who reads in place, have checksums of their own."""
    require("gzip", "zstd")
    with open_archive(sample.path) as archive:
        entries = sorted((e for e in archive.blobs.values() if e.size), key=lambda e: e.offset)
    gaps = [(a.offset + a.length, b.offset) for a, b in itertools.pairwise(entries)]
    test = {Codec.GZIP: ["gzip", "-t"], Codec.ZSTD: ["zstd", "-tq"]}[sample.codec]
    for start, stop in gaps:
        damaged = flipped(sample, tmp_path, (start + stop) // 2)
        with damaged.open("rb") as file:
            assert subprocess.run(test, stdin=file, capture_output=True, timeout=60).returncode != 0


def test_a_truncated_archive(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "short.tar"
    for size in (len(sample.data) - 1, len(sample.data) - 200, len(sample.data) // 2):
        path.write_bytes(sample.data[:size])
        with pytest.raises(ArchiveError, match=f"{path} is truncated: it has {size} bytes") as caught:
            open_archive(path)
        assert not isinstance(caught.value, ForeignArchiveError)


def test_bytes_lost_in_the_middle(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "short.tar"
    path.write_bytes(sample.data[:5000] + sample.data[5100:])
    size = len(sample.data)
    with pytest.raises(ArchiveError, match=f"{path} has {size - 100} bytes, but was written with {size}"):
        open_archive(path)


def test_an_index_of_another_version(sample: Sample, tmp_path: Path) -> None:
    framing = FRAMINGS[sample.codec]
    trailer = Trailer.from_frame(sample.data, framing)
    assert trailer is not None
    content = framing.unpack(sample.data[trailer.offset :][: trailer.length], trailer.size)
    no_place = {"offset": -1, "length": 0, "size": 0, "encoding": "stored"}
    changes: list[dict[str, Any]] = [
        {"version": 99},
        {"blobs": {"sha256:12": {}}},
        {"blobs": {str(Digest.of(b"")): no_place}},
        {"chunkSize": 0},
    ]
    for change in changes:
        changed = json.dumps({**json.loads(content), **change}).encode()
        index = framing.pack(changed, 1)
        start = sample.data[: trailer.offset] + index
        size = len(start) + trailer_size(framing)
        frame = Trailer(
            stream_size=size,
            offset=trailer.offset,
            length=len(index),
            size=len(changed),
            sha256=hashlib.sha256(changed).digest(),
        ).to_frame(framing)
        path = tmp_path / "changed.tar"
        path.write_bytes(start + frame)
        with pytest.raises(ArchiveError, match=r"archive-index.json in .*changed.tar is damaged: "):
            open_archive(path)


def test_what_is_not_ours(tmp_path: Path) -> None:
    require("tar")
    (tmp_path / "file").write_bytes(text(100_000))
    subprocess.run(["tar", "-czf", "foreign.tar.gz", "file"], cwd=tmp_path, check=True, timeout=60)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("foreign.tar.gz", "file", "empty"):
        with pytest.raises(ForeignArchiveError, match=f"{name} was not written by this program"):
            open_archive(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArchiveError, match="folder is not a file"):
        open_archive(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArchiveError, match="pipe is not a file"):
        open_archive(tmp_path / "pipe")
    with pytest.raises(ArchiveError, match="there is no"):
        open_archive(tmp_path / "absent")


# Volumes


@pytest.fixture(scope="module")
def intact(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    paths = sample.case.write(tmp_path_factory.mktemp("volumes") / "x.tar", sample.codec, part_size=PART_SIZE)
    assert len(paths) > 10
    return paths


@pytest.fixture
def volumes(intact: list[Path], tmp_path: Path) -> list[Path]:
    """Copies, to be damaged."""
    return [Path(shutil.copy(path, tmp_path)) for path in intact]


def swap(a: Path, b: Path) -> None:
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def test_any_name_finds_the_set(sample: Sample, volumes: list[Path]) -> None:
    digest = sample.case.blobs[0]
    for name in ("x.tar", volumes[0].name, volumes[3].name, volumes[-1].name):
        with open_archive(volumes[0].with_name(name)) as archive:
            assert contents(archive.open_blob(digest)) == sample.case.content[digest]


def test_numbers_may_be_padded_or_not(volumes: list[Path]) -> None:
    for number, volume in enumerate(volumes):
        volume.rename(volume.with_name(f"x.tar.part{number}"))
    read_all(volumes[0].with_name("x.tar"))


def test_a_missing_volume_is_named(volumes: list[Path]) -> None:
    for number in (0, 4, 7):
        volumes[number].unlink()
    with pytest.raises(ArchiveError, match=r"x.tar is not complete; missing: x.tar.part00, x.tar.part04, x.tar.part07\n"):
        open_archive(volumes[1])
    with pytest.raises(ArchiveError, match="part00"):
        open_archive(volumes[0])


def test_a_missing_last_volume_is_named(volumes: list[Path]) -> None:
    volumes[-1].unlink()
    with pytest.raises(ArchiveError, match=f"{volumes[-1].name} is missing"):
        open_archive(volumes[0])


def test_a_truncated_volume_is_named(volumes: list[Path]) -> None:
    for number in (2, len(volumes) - 1):
        data = volumes[number].read_bytes()
        volumes[number].write_bytes(data[:-10])
        with pytest.raises(ArchiveError, match=f"{len(data) - 10} bytes") as caught:
            open_archive(volumes[0])
        assert volumes[number].name in str(caught.value)
        volumes[number].write_bytes(data)


@pytest.mark.parametrize("pair", [(1, 2), (3, 7), (0, 1), (0, -1), (4, -1)])
def test_volumes_out_of_order_are_named(volumes: list[Path], pair: tuple[int, int]) -> None:
    first, second = volumes[pair[0]], volumes[pair[1]]
    swap(first, second)
    with pytest.raises(ArchiveError, match=f"{first.name}") as caught:
        open_archive(volumes[0])
    assert not isinstance(caught.value, ForeignArchiveError)
    if pair == (3, 7):
        assert f"{first} holds what belongs into {second}" in str(caught.value)
        assert f"{second} holds what belongs into {first}" in str(caught.value)


def test_a_foreign_volume_is_named(volumes: list[Path]) -> None:
    volumes[5].write_bytes(noise(PART_SIZE, 99))
    with pytest.raises(ArchiveError, match=f"{volumes[5].name} is of another archive"):
        open_archive(volumes[0])


def test_a_foreign_last_volume_is_named(volumes: list[Path], tmp_path: Path) -> None:
    other = Case(tmp_path / "other")
    other.folder.mkdir()
    other.add_blob(noise(50_000), "x")
    [archive] = other.write(tmp_path / "other.tar")
    volumes[-1].write_bytes(archive.read_bytes())
    with pytest.raises(ArchiveError, match=f"{volumes[-1].name} ends an archive of"):
        open_archive(volumes[0])


def test_two_volumes_of_one_number(volumes: list[Path]) -> None:
    volumes[0].with_name("x.tar.part3").write_bytes(b"")
    with pytest.raises(ArchiveError, match="have the same number"):
        open_archive(volumes[0])


def test_a_damaged_blob_names_its_volumes(volumes: list[Path], sample: Sample) -> None:
    with open_archive(volumes[0]) as archive:
        digest, entry = max(archive.blobs.items(), key=lambda item: item[1].length)
    middle = (entry.offset + entry.length // 2) // PART_SIZE
    data = bytearray(volumes[middle].read_bytes())
    # Between two samples: opening must not find it.
    data[2000:2100] = bytes(100)
    volumes[middle].write_bytes(data)
    first, last = volumes[entry.offset // PART_SIZE], volumes[(entry.offset + entry.length - 1) // PART_SIZE]
    with open_archive(volumes[0]) as archive, pytest.raises(ArchiveError, match=f"{digest} is damaged in {first} to {last}"):
        contents(archive.open_blob(digest))


@pytest.mark.parametrize(("count", "last"), [(1, "x.part0"), (10, "x.part9"), (11, "x.part10"), (101, "x.part100")])
def test_names_are_padded_so_that_a_shell_sorts_them(count: int, last: str) -> None:
    names = [path.name for path in volume_names(Path("x"), count)]
    assert names == sorted(names)
    assert (len(names), names[-1]) == (count, last)
    assert volume_names(Path("x"), None) == [Path("x")]


# Damage in the cache


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("codec", Codec)
def test_all_damaged_blobs_are_named_in_one_pass(codec: Codec, tmp_path: Path) -> None:
    case = typical(tmp_path / "source")
    files = [member for member in case.members if member.digest]
    changes: dict[int, Callable[[Path], object]] = {
        1: lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"),
        5: lambda path: path.unlink(),
        6: lambda path: path.write_bytes(path.read_bytes() + b"!"),
        8: lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"),
        10: lambda path: path.write_bytes(b"!" + path.read_bytes()[1:]),
        11: replace_by_folder,
        12: lambda path: os.truncate(path, path.stat().st_size - 1),
    }
    for number, change in changes.items():
        change(case.source(files[number]))
    with pytest.raises(DamagedBlobsError) as caught:
        case.write(tmp_path / "a.tar", codec)
    assert caught.value.digests == tuple(str(files[number].digest) for number in changes)
    assert not temporary_files(tmp_path / "a.tar")
    assert not list(tmp_path.glob("*a.tar*"))


@pytest.mark.parametrize("number", range(13))
def test_each_kind_of_file_is_checked(number: int, tmp_path: Path) -> None:
    case = typical(tmp_path / "source")
    member = [m for m in case.members if m.digest][number]
    data = case.source(member).read_bytes()
    case.source(member).write_bytes(bytes([data[0] ^ 1]) + data[1:] if data else b"x")
    with pytest.raises(DamagedBlobsError, match=str(member.digest)) as caught:
        case.write(tmp_path / "a.tar")
    assert len(caught.value.digests) == 1


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    case = Case(tmp_path / "source")
    case.folder.mkdir()
    for seed in range(12):
        case.add_blob(noise(3_000_000, seed), "x+gzip")
    last = case.folder / case.blobs[-1].hex
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 34:
            os.truncate(last, 1_500_000)

    with pytest.raises(DamagedBlobsError, match=case.blobs[-1].hex):
        case.write(tmp_path / "a.tar", check=check)


# Ends before the end


@pytest.mark.parametrize("part_size", [None, 300_000])
@pytest.mark.parametrize("calls", [1, 4, 9])
def test_check_ends_the_pass(tmp_path: Path, part_size: int | None, calls: int) -> None:
    case = typical(tmp_path / "source")
    threads = threading.active_count()
    left = calls

    def check() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Wanted

    with pytest.raises(Wanted):
        case.write(tmp_path / "a.tar", part_size=part_size, check=check)
    assert not temporary_files(tmp_path / "a.tar")
    assert not list(tmp_path.glob("*a.tar*"))
    assert threading.active_count() == threads


def test_check_is_called_often(tmp_path: Path) -> None:
    case = Case(tmp_path)
    for seed in range(4):
        case.add_blob(noise(8_000_000, seed), "x+gzip")
    calls: list[None] = []
    case.write(tmp_path / "a.tar", check=lambda: calls.append(None))
    assert len(calls) >= 32


@pytest.mark.parametrize(
    ("code", "tip"), [(errno.ENOSPC, "free some space"), (errno.EFBIG, "use -part"), (errno.EIO, "Input/output error")]
)
def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, tip: str) -> None:
    case = typical(tmp_path / "source")
    real, room = os.write, 1_000_000

    def write(fd: int, data: memoryview) -> int:
        nonlocal room
        room -= len(data)
        if room < 0:
            raise OSError(code, os.strerror(code))
        return real(fd, data)

    monkeypatch.setattr("pipeline.storage.archive.volume_writer.os.write", write)
    with pytest.raises(EnvironmentProblem, match=tip):
        case.write(tmp_path / "a.tar")
    assert not temporary_files(tmp_path / "a.tar")
    assert not list(tmp_path.glob("*a.tar*"))


def test_a_destination_that_cannot_be_written(tmp_path: Path) -> None:
    case = typical(tmp_path / "source")
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        case.write(tmp_path / "absent" / "a.tar")


def test_leftovers_are_found_by_name_and_replaced(tmp_path: Path) -> None:
    case = typical(tmp_path / "source")
    strangers = [tmp_path / name for name in (".tmp-other.tar.0", ".tmp-a.tar.x", "a.tar.part0")]
    strangers.append(tmp_path / f".tmp-{os.getppid()}-a.tar.0")
    dead, mine = 2**22 + 7, os.getpid()
    leftovers = sorted(tmp_path / name for name in (".tmp-a.tar.0", f".tmp-{dead}-a.tar.17", f".tmp-{mine}-a.tar.3"))
    for path in (*strangers, *leftovers):
        path.write_bytes(b"")
    assert temporary_files(tmp_path / "a.tar") == leftovers
    write_archive(case.layout, case.source, tmp_path / "a.tar", codec=Codec.GZIP)
    assert temporary_files(tmp_path / "a.tar") == [tmp_path / f".tmp-{mine}-a.tar.0"]
    assert all(path.exists() for path in strangers)
    assert not temporary_files(tmp_path / "absent" / "a.tar")


def test_a_part_size_must_be_possible(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a part size of 0 bytes"):
        Case(tmp_path).write(tmp_path / "a.tar", part_size=0)


def test_a_problem_with_the_source_is_no_damage(tmp_path: Path) -> None:
    case = typical(tmp_path / "source")

    def source(member: Member) -> Path:
        raise Wanted

    with pytest.raises(Wanted):
        write_archive(case.layout, source, tmp_path / "a.tar", codec=Codec.GZIP)
    assert not temporary_files(tmp_path / "a.tar")


def test_the_mark_comes_early(sample: Sample) -> None:
    assert 0 < sample.data.find(START_MARK) < 512 * 1024
