"""What everybody has reads what we write: GNU tar, gzip, pigz, zstd, sha256sum, Python; also joined from volumes."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from pipeline.core.oci import Digest
from pipeline.storage.archive import Codec, Member, open_archive, tar_header, volume_names, write_archive
from tests.support.tools import require
from tests.unit.storage.archive.cases import ROOT, Case, contents, typical
from tests.unit.storage.archive.conftest import Sample

UNPACK = {Codec.GZIP: ("gzip", "-dc"), Codec.ZSTD: ("zstd", "-dcq")}
TAR_FLAG = {Codec.GZIP: "-z", Codec.ZSTD: "--zstd"}


@pytest.fixture(autouse=True)
def _tools() -> None:
    require("tar", "gzip", "pigz", "zstd", "sha256sum", "split", "cat")


def run(*command: str | Path, data: bytes | None = None, cwd: Path | None = None) -> bytes:
    """The output of a program that must succeed and complain about nothing."""
    result = subprocess.run([str(part) for part in command], input=data, cwd=cwd, capture_output=True, timeout=60)
    assert (result.returncode, result.stderr.decode()) == (0, "")
    return result.stdout


def check_folder(case: Case, folder: Path) -> None:
    for member in case.members:
        path = folder / member.path
        if member.digest is None:
            assert path.is_dir()
        else:
            assert path.read_bytes() == case.content[member.digest]
        assert path.stat().st_mode & 0o777 == member.mode
        assert member.digest is None or path.stat().st_mtime == 1_700_000_000


def test_tar_unpacks_it(sample: Sample, tmp_path: Path) -> None:
    run("tar", TAR_FLAG[sample.codec], "-xf", sample.path, cwd=tmp_path)
    check_folder(sample.case, tmp_path)


def test_tar_finds_out_the_format_itself(sample: Sample, tmp_path: Path) -> None:
    nameless = tmp_path / "nameless"
    nameless.write_bytes(sample.data)
    run("tar", "-xf", nameless, cwd=tmp_path)
    check_folder(sample.case, tmp_path)


def test_the_programs_of_the_format_accept_it(sample: Sample) -> None:
    for command in {Codec.GZIP: (("gzip", "-t"), ("pigz", "-t")), Codec.ZSTD: (("zstd", "-tq"),)}[sample.codec]:
        run(*command, data=sample.data)
    if sample.codec is Codec.GZIP:
        assert run("pigz", "-dc", data=sample.data) == gzip.decompress(sample.data)


def test_members_are_in_order_and_name_nobody(sample: Sample) -> None:
    with tarfile.open(fileobj=io.BytesIO(run(*UNPACK[sample.codec], data=sample.data))) as tar:
        infos = tar.getmembers()
    expected = [member.path for member in sample.case.members]
    assert [info.name for info in infos] == [*expected, "saved-image-cache/archive-index.json"]
    assert {(info.uid, info.gid, info.uname, info.gname) for info in infos} == {(0, 0, "", "")}


def test_tar_ends_with_a_whole_record(sample: Sample) -> None:
    tar = run(*UNPACK[sample.codec], data=sample.data)
    assert len(tar) % 10240 == 0
    assert tar.endswith(bytes(1024))


@pytest.mark.parametrize("count", [3, 11, 101])
def test_volumes_joined_with_cat(sample: Sample, count: int, tmp_path: Path) -> None:
    part_size = -(-len(sample.data) // count)
    volumes = sample.case.write(tmp_path / "x.tar", sample.codec, part_size=part_size)
    assert len(volumes) == count
    joined = run("sh", "-c", "cat x.tar.part*", cwd=tmp_path)
    assert joined == sample.data
    run("tar", TAR_FLAG[sample.codec], "-x", data=joined, cwd=tmp_path)
    check_folder(sample.case, tmp_path)
    with open_archive(tmp_path / "x.tar") as archive:
        for digest in sample.case.blobs:
            assert contents(archive.open_blob(digest)) == sample.case.content[digest]


def test_volumes_are_cut_as_split_does(sample: Sample, tmp_path: Path) -> None:
    volumes = sample.case.write(tmp_path / "x.tar", sample.codec, part_size=1_000_000)
    run("split", "-b", "1000000", "-d", "-a", "1", sample.path, "y.part", cwd=tmp_path)
    assert [v.read_bytes() for v in volumes] == [f.read_bytes() for f in sorted(tmp_path.glob("y.part*"))]


def test_sha256sum_agrees(tmp_path: Path) -> None:
    case = typical(tmp_path / "source")
    volumes = write_archive(case.layout, case.source, tmp_path / "x.tar", codec=Codec.GZIP, part_size=500_000)
    lines = []
    for volume, name in zip(volumes, volume_names(tmp_path / "x.tar", len(volumes)), strict=True):
        volume.path.rename(name)
        lines.append(f"{volume.sha256}  {name.name}\n")
    (tmp_path / "x.tar.sha256").write_text("".join(lines))
    checked = run("sha256sum", "-c", "x.tar.sha256", cwd=tmp_path)
    assert checked.count(b": OK\n") == len(volumes)


def test_a_link_is_a_link(tmp_path: Path) -> None:
    case = Case(tmp_path)
    digest = case.add_blob(b"content")
    long = f"{'../x/' * 40}share"
    case.members += [Member(f"{ROOT}/blobs", link="share", mode=0o777), Member(f"{ROOT}/long", link=long, mode=0o777)]
    [path] = case.write(tmp_path / "x.tar")
    run("tar", "-xzf", path, cwd=tmp_path)
    assert (tmp_path / ROOT / "blobs" / "sha256" / digest.hex).read_bytes() == b"content"
    assert str((tmp_path / ROOT / "long").readlink()) == long
    with open_archive(path) as archive:
        assert set(archive.blobs) == {digest}
        assert not archive.names


def test_headers_that_ustar_cannot_hold() -> None:
    """Long names, names that are not ASCII, and huge files: GNU tar and Python read the same in them."""
    digest = Digest.of(b"")
    members = [
        Member(f"{'ä' * 60}/{'x' * 200}", 3, digest),
        Member("a" * 99, mode=0o755),
        Member("b" * 100, mode=0o755),
        Member("c" * 100, 1, digest),
        Member("d" * 101, 1, digest),
        Member("huge", 9 * 2**30, digest),
    ]
    headers = [tar_header.header(member, 0) for member in members]
    for member, header in zip(members, headers, strict=True):
        with tarfile.open(fileobj=io.BytesIO(header)) as tar:
            info = tar.next()
        assert info is not None
        assert (info.name, info.size, info.mode, info.isdir()) == (member.path, member.size, member.mode, member.is_folder)
        if member.size < 1000:
            whole = header + bytes(-(-member.size // 512) * 512 + 1024)
            listed = run("tar", "--quoting-style=literal", "--blocking-factor=1", "-t", data=whole).decode().rstrip("/\n")
            assert listed == member.path
