"""Damage archives at random, and see that nobody is deceived: for ``benchmarks/archive_damage``, a slice of it as a test."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from pipeline.core.errors import ImageToolsError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.reader.unpack import unpack
from pipeline.reader.verify import check
from pipeline.storage.archive import ArchiveLayout, Codec, Member, volume_names, write_archive
from tests.support.images import Content, Image, image, index, layer

NAME = "docker.io/library/app:v1"
ROOT = "saved-image-cache"
PART_SIZE = 9_000
EDGE = 3_000
"""Bytes at both ends of a file, which are dense with what is not content."""


@dataclass
class Sample:
    """The files of an archive in order, and what they decode to."""

    name: str
    files: dict[str, bytes]
    content: bytes
    is_ours: bool


@dataclass
class Tally:
    """``deceived`` are damages that were not found, and ``crashes`` those that were too much; both with what was done."""

    found: Counter[str] = field(default_factory=Counter)
    harmless: Counter[str] = field(default_factory=Counter)
    deceived: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    slowest: float = 0.0


def samples(folder: Path) -> list[Sample]:
    """An archive of each format, whole and in volumes, and tars that other programs wrote."""
    made = []
    for codec in Codec:
        for part_size in (None, PART_SIZE):
            place = folder / f"{codec.value}-{part_size}"
            place.mkdir(parents=True)
            paths = _write(place, codec, part_size)
            files = {path.name: path.read_bytes() for path in paths}
            made.append(Sample(f"{codec.value}{' volumes' if part_size else ''}", files, decoded(files), True))
    tar = made[0].content
    for name, data in (("a.tar", tar), ("a.tar.gz", gzip.compress(tar, 6, mtime=0)), ("a.tar.zst", zstandard.compress(tar))):
        made.append(Sample(f"foreign {name}", {name: data}, tar, False))
    return made


def decoded(files: dict[str, bytes]) -> bytes:
    """What the programs of the format make of the files, joined. Raises Exception of any kind."""
    data = b"".join(files.values())
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    return data


def run(folder: Path, count: int, seed: int, said: Callable[[int], None] = lambda number: None) -> Tally:
    """Damage the samples ``count`` times in all."""
    chance, tally = random.Random(seed), Tally()
    made = samples(folder / "samples")
    for sample in made:
        place = folder / sample.name
        place.mkdir()
        _put(sample.files, place)
        assert _is_clean(place / next(iter(sample.files)), place, sample.is_ours), f"{sample.name} is not whole to begin with"
    for number in range(count):
        sample = made[number % len(made)]
        what, files = damaged(sample, chance.choice(made), chance)
        place = folder / "damaged"
        place.mkdir()
        _put(files, place)
        started = time.monotonic()
        try:
            is_clean = _is_clean(place / next(iter(sample.files)), place, sample.is_ours)
        except ImageToolsError:
            is_clean = False
        except Exception as error:
            tally.crashes.append(f"{number}: {sample.name}: {what}: {error!r}")
            is_clean = False
        tally.slowest = max(tally.slowest, time.monotonic() - started)
        if not is_clean:
            tally.found[sample.name] += 1
        elif _decodes_alike(files, sample):
            tally.harmless[sample.name] += 1
        else:
            tally.deceived.append(f"{number}: {sample.name}: {what}")
        shutil.rmtree(place)
        said(number + 1)
    return tally


def _put(files: dict[str, bytes], folder: Path) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


def damaged(sample: Sample, other: Sample, chance: random.Random) -> tuple[str, dict[str, bytes]]:
    """What was done, and the files after it. They differ from those of the sample."""
    while True:
        files = dict(sample.files)
        what = chance.choice((_flip, _flip, _cut, _cut, _zero, _splice, _splice, _insert, _swap))(files, other, chance)
        if files != sample.files:
            return what, files


def _place(data: bytes, chance: random.Random) -> int:
    near = min(EDGE, len(data))
    return chance.choice((chance.randrange(len(data) + 1), chance.randrange(near + 1), len(data) - chance.randrange(near + 1)))


def _piece(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = _place(data, chance)
    return start, min(len(data), start + chance.choice((1, 10, 100, 512, 5_000, len(data))))


def _flip(files: dict[str, bytes], other: Sample, chance: random.Random) -> str:
    name = chance.choice(list(files))
    data, places = bytearray(files[name]), []
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = min(_place(bytes(data), chance), len(data) - 1)
        data[place] ^= 1 << chance.randrange(8)
        places.append(place)
    files[name] = bytes(data)
    return f"bits flipped in {name} at {places}"


def _cut(files: dict[str, bytes], other: Sample, chance: random.Random) -> str:
    name = chance.choice(list(files))
    if chance.random() < 0.1:
        del files[name]
        return f"{name} removed"
    start, stop = _piece(files[name], chance)
    stop = len(files[name]) if chance.random() < 0.5 else stop
    files[name] = files[name][:start] + files[name][stop:]
    return f"{name} without {start} to {stop}"


def _zero(files: dict[str, bytes], other: Sample, chance: random.Random) -> str:
    name = chance.choice(list(files))
    start, stop = _piece(files[name], chance)
    files[name] = files[name][:start] + bytes(stop - start) + files[name][stop:]
    return f"zeros in {name} from {start} to {stop}"


def _splice(files: dict[str, bytes], other: Sample, chance: random.Random) -> str:
    name, source = chance.choice(list(files)), chance.choice([*files.values(), *other.files.values()])
    start, stop = _piece(source, chance)
    place = start if chance.random() < 0.3 else _place(files[name], chance)
    files[name] = files[name][:place] + source[start:stop] + files[name][place + stop - start :]
    return f"{stop - start} bytes of {other.name} over {name} at {place}"


def _insert(files: dict[str, bytes], other: Sample, chance: random.Random) -> str:
    name, source = chance.choice(list(files)), chance.choice([*files.values(), *other.files.values()])
    start, stop = _piece(source, chance)
    place = _place(files[name], chance)
    files[name] = files[name][:place] + source[start:stop] + files[name][place:]
    return f"{stop - start} bytes of {other.name} put into {name} at {place}"


def _swap(files: dict[str, bytes], other: Sample, chance: random.Random) -> str:
    first, second = chance.choice(list(files)), chance.choice(list(files))
    files[first], files[second] = files[second], files[first]
    return f"{first} and {second} swapped"


def _is_clean(path: Path, folder: Path, is_ours: bool) -> bool:
    """Whether nothing is found. Raises ImageToolsError where all is wrong."""
    if not path.exists():
        path = next(iter(folder.iterdir()), path)
    if not is_ours and path.suffix != ".tar":
        unpack(path, folder / "below" / "into", Interruption())
        path = folder / "below" / "into"
    report = check(path, 1, Interruption())
    return report.is_readable and not report.faults


def _decodes_alike(files: dict[str, bytes], sample: Sample) -> bool:
    """Whether other programs unpack the same. What a foreign tar holds besides blobs has no digest, so it may be another."""
    if not sample.is_ours:
        return True
    try:
        return decoded(files) == sample.content
    except Exception:
        return False


def _write(folder: Path, codec: Codec, part_size: int | None) -> list[Path]:
    layers = [layer("damage/text", 30_000, "", text=True), layer("damage/noise", 25_000), layer("damage/small", 400)]
    top = index(image("linux/amd64", layers[:2]), image("linux/arm64", layers[1:]))
    blobs = {each.digest: each for made in top.images() for each in _contents(made)} | {top.content.digest: top.content}
    named = top.content.descriptor(annotations={"org.opencontainers.image.ref.name": NAME})
    metadata = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [named]}).encode(),
    }
    sources = {}
    members = [Member(ROOT, mode=0o755)]
    for name, data in metadata.items():
        members.append(Member(f"{ROOT}/{name}", len(data), Digest.of(data)))
        sources[f"{ROOT}/{name}"] = data
    members += [Member(f"{ROOT}/share", mode=0o755), Member(f"{ROOT}/share/sha256", mode=0o755)]
    for digest, content in blobs.items():
        path = f"{ROOT}/share/{digest.replace(':', '/')}"
        members.append(Member(path, len(content.data), Digest.parse(digest), media_type=content.media_type, is_blob=True))
        sources[path] = content.data
    places = {name: folder / str(number) for number, name in enumerate(sources)}
    for name, place in places.items():
        place.write_bytes(sources[name])
    layout = ArchiveLayout(1_700_000_000, tuple(members))
    volumes = write_archive(layout, lambda member: places[member.path], folder / "a.tar", codec=codec, part_size=part_size)
    names = volume_names(folder / "a.tar", len(volumes) if part_size else None)
    for volume, final in zip(volumes, names, strict=True):
        volume.path.rename(final)
    return names


def _contents(made: Image) -> Iterator[Content]:
    yield from (made.manifest, made.config, *made.layers)
