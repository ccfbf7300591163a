"""What other programs compressed comes out in small pieces, or an error does."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pipeline.storage.archive.decoding import DecodingError, PieceStream, compression, decompressed
from pipeline.storage.archive.volume_reader import VolumeSet
from tests.unit.storage.archive.cases import noise, text

CONTENT = text(3_000_000) + noise(300_000) + bytes(2_000_000)
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data),
    "xz": lambda data: lzma.compress(data, preset=0),
    "tar": lambda data: data,
}
forms = pytest.mark.parametrize("form", FORMS)
compressed = pytest.mark.parametrize("form", [form for form in FORMS if form != "tar"])


def written(folder: Path, data: bytes) -> VolumeSet:
    (folder / "file").write_bytes(data)
    return VolumeSet([folder / "file"])


@forms
@pytest.mark.parametrize("members", [1, 2])
def test_all_of_it(form: str, members: int, tmp_path: Path) -> None:
    half = len(CONTENT) // members
    volumes = written(tmp_path, b"".join(FORMS[form](CONTENT[start : start + half]) for start in range(0, len(CONTENT), half)))
    assert compression(volumes) == form
    pieces = list(decompressed(volumes))
    assert max(map(len, pieces)) <= 1024 * 1024
    assert b"".join(pieces) == CONTENT


@pytest.mark.parametrize("form", ["gzip", "xz"])
def test_zeros_after_the_end(form: str, tmp_path: Path) -> None:
    assert b"".join(decompressed(written(tmp_path, FORMS[form](b"content") + bytes(200_000)))) == b"content"


@compressed
def test_damage(form: str, tmp_path: Path) -> None:
    data = bytearray(FORMS[form](CONTENT))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(DecodingError):
        list(decompressed(written(tmp_path, bytes(data))))
    with pytest.raises(DecodingError):
        list(decompressed(written(tmp_path, FORMS[form](b"content") + b"something else")))


@pytest.mark.parametrize("form", ["gzip", "xz"])
def test_cut_off(form: str, tmp_path: Path) -> None:
    with pytest.raises(DecodingError, match="ends too early"):
        list(decompressed(written(tmp_path, FORMS[form](CONTENT)[:-3])))


def test_reading_in_any_sizes() -> None:
    sizes: list[int] = []
    stream = PieceStream(iter([b"abc", b"d", b"efgh"]), sizes.append)
    assert (stream.read(2), stream.read(0), stream.read(3)) == (b"ab", b"", b"cde")
    stream.skip(1)
    assert list(stream.pass_on(10)) == [b"gh"]
    assert stream.read(1) == b""
    assert sizes[:3] == [3, 1, 4]
