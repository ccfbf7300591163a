"""The reading end of an archive: a file or a set of volumes, found by any of its names, read as one stream.

Nothing of it is trusted. What can be known without reading it all is checked on opening: that every number is there, that
all volumes but the last have one size, that the end is where it says it is, and, by samples, that each volume is the one
that belongs in its place. Every message names the volume.
"""

from __future__ import annotations

import itertools
import os
import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.core.errors import ArchiveError
from pipeline.storage.archive.codecs import FRAMINGS
from pipeline.storage.archive.framing import Framing
from pipeline.storage.archive.index import INDEX_VERSION, SAMPLE_LENGTH, START_MARK, Samples, Trailer, trailer_size

_VOLUME = re.compile(r"(.+)\.part([0-9]+)", re.DOTALL)
_START = 512 * 1024
"""The mark comes after the first metadata frame, which is no longer than this."""


class ForeignArchiveError(ArchiveError):
    """Not written by this program, so it cannot be read in place; it may be an ordinary tar all the same."""


@dataclass(frozen=True)
class VolumeSet:
    """Volumes in order; one file is a set of one. Reading opens a file each time: any thread may, and nothing stays open."""

    paths: tuple[Path, ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(path.stat().st_size for path in self.paths)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where in the stream each volume starts."""
        return (0, *itertools.accumulate(self.sizes[:-1]))

    @property
    def size(self) -> int:
        """Bytes of the whole stream."""
        return self.starts[-1] + self.sizes[-1]

    @property
    def part_size(self) -> int:
        """Bytes of each volume but the last: of one that was truncated, the others tell."""
        return max(self.sizes[:-1], default=self.sizes[-1])

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes of the stream. Raises ArchiveError where it has ended."""
        if offset + length > self.size:
            raise ArchiveError(f"{self.paths[-1]} ends too early: it is truncated")
        parts = []
        for number in self._numbers(offset, length):
            start = max(offset - self.starts[number], 0)
            stop = min(offset + length - self.starts[number], self.sizes[number])
            parts.append(_read(self.paths[number], start, stop - start))
        return b"".join(parts)

    def names(self, offset: int, length: int) -> str:
        """The volumes that bytes of the stream lie in, for a message."""
        numbers = self._numbers(offset, length)
        first, last = self.paths[numbers[0]], self.paths[numbers[-1]]
        return str(first) if first == last else f"{first} to {last}"

    def _numbers(self, offset: int, length: int) -> range:
        return range(bisect_right(self.starts, offset) - 1, bisect_right(self.starts, offset + max(length, 1) - 1))


def find(path: Path) -> VolumeSet:
    """The archive called ``path``: that file, or the volumes ``path.part0`` …, or all volumes of the one that it names."""
    match = _VOLUME.fullmatch(path.name)
    if match is not None and (path.exists() or _numbered(path.with_name(match[1]))):
        path = path.with_name(match[1])
    elif path.exists():
        return VolumeSet((path,))
    volumes = _numbered(path)
    if not volumes:
        raise ArchiveError(f"there is no {path}, and no {path}.part0", tip="name the archive or one of its volumes")
    paths: dict[int, Path] = {}
    for number, volume in volumes:
        if number in paths:
            raise ArchiveError(f"{paths[number]} and {volume} have the same number", tip="remove the one that does not belong")
        paths[number] = volume
    if missing := [_sibling(volumes[0][1], number) for number in range(max(paths)) if number not in paths]:
        raise ArchiveError("missing: " + ", ".join(map(str, missing)), tip="put all volumes into one folder")
    return VolumeSet(tuple(paths[number] for number in range(len(paths))))


def read_trailer(volumes: VolumeSet) -> tuple[Trailer, Framing]:
    """The trailer and the format of the archive, once sizes and end are as they must be.

    Raises ForeignArchiveError where nothing is ours, ArchiveError where something of ours is not whole.
    """
    found = _trailer(volumes)
    if found is None:
        raise _missing_end(volumes)
    if found[0].version != INDEX_VERSION:
        raise ArchiveError(
            f"{volumes.paths[-1]} says it is an archive of version {found[0].version}; this program reads {INDEX_VERSION}",
            tip="unpack it with tar and name the folder, or use a newer program",
        )
    _check_sizes(volumes)
    _check_total(volumes, found[0].stream_size)
    return found


def check_places(volumes: VolumeSet, samples: Samples) -> None:
    """Raises ArchiveError naming every volume that holds something else than what belongs in its place."""
    problems = []
    for number, path in enumerate(volumes.paths):
        if _fits(volumes, samples, number, volumes.starts[number]) is False:
            places = [n for n, start in enumerate(volumes.starts) if _fits(volumes, samples, number, start)]
            what = f"holds what belongs into {volumes.paths[places[0]]}" if places else "is of another archive or damaged"
            problems.append(f"{path} {what}")
    if problems:
        raise ArchiveError("; ".join(problems), tip="copy the volumes again, under the names they had")


def _fits(volumes: VolumeSet, samples: Samples, number: int, start: int) -> bool | None:
    """Whether volume ``number`` holds what the stream has from ``start`` on; None where no sample tells."""
    size = volumes.sizes[number]
    position = samples.first_within(start, start + size)
    if position is None:
        return None
    return samples.matches(position, _read(volumes.paths[number], position - start, SAMPLE_LENGTH))


def _trailer(volumes: VolumeSet) -> tuple[Trailer, Framing] | None:
    """The trailer at the end of ``volumes``."""
    for framing in FRAMINGS.values():
        length = trailer_size(framing)
        if volumes.size < length:
            continue
        trailer = Trailer.from_frame(volumes.read(volumes.size - length, length), framing)
        if trailer is not None:
            return trailer, framing
    return None


def _missing_end(volumes: VolumeSet) -> ArchiveError:
    """Why ``volumes`` do not end with a trailer."""
    singles = [VolumeSet((path,)) for path in volumes.paths]
    begins = [single.paths[0] for single in singles if START_MARK in single.read(0, min(_START, single.size))]
    ends = [single.paths[0] for single in singles if _trailer(single) is not None]
    first, last = volumes.paths[0], volumes.paths[-1]
    if not begins and not ends:
        return ForeignArchiveError(
            f"{first} was not written by this program (or its end is missing), so it cannot be read in place",
            tip="unpack it with tar and name the folder",
        )
    if ends or begins[0] != first:
        what = f"{ends[0]} holds the end of the archive" if ends else f"{begins[0]} holds the start of the archive"
        return ArchiveError(f"the volumes are out of order: {what}", tip="copy the volumes again, under the names they had")
    _check_sizes(volumes)
    if _VOLUME.fullmatch(last.name) and volumes.sizes[-1] == volumes.part_size:
        return ArchiveError(
            f"the archive does not end with {last}: {_sibling(last, len(volumes.paths))} is missing, or {last.name} truncated",
            tip="put all volumes into one folder",
        )
    return ArchiveError(f"{last} is truncated: it has {volumes.sizes[-1]} bytes, and the end is missing", tip="copy it again")


def _check_sizes(volumes: VolumeSet) -> None:
    """All volumes but the last must have one size, and the last no more."""
    wrong = [n for n, size in enumerate(volumes.sizes[:-1]) if size != volumes.part_size]
    if volumes.sizes[-1] > volumes.part_size:
        wrong.append(len(volumes.sizes) - 1)
    if wrong:
        sizes = ", ".join(f"{volumes.paths[n]} ({volumes.sizes[n]} bytes)" for n in wrong)
        raise ArchiveError(f"not as long as the other volumes ({volumes.part_size} bytes): {sizes}", tip="copy them again")


def _check_total(volumes: VolumeSet, stream_size: int) -> None:
    if stream_size == volumes.size:
        return
    last = volumes.paths[-1]
    if len(volumes.paths) == 1 and not _VOLUME.fullmatch(last.name):
        raise ArchiveError(f"{last} has {volumes.size} bytes, but was written with {stream_size}", tip="copy it again")
    raise ArchiveError(
        f"{last} ends an archive of {stream_size} bytes, the volumes here have {volumes.size}: "
        "it is of another archive, or volumes are missing",
        tip="copy all volumes again, under the names they had",
    )


def _numbered(path: Path) -> list[tuple[int, Path]]:
    """The volumes of ``path`` that are there, with their numbers, padded with zeros or not."""
    folder = path.absolute().parent
    matches = [_VOLUME.fullmatch(file.name) for file in folder.iterdir()] if folder.is_dir() else []
    return sorted((int(m[2]), path.with_name(m[0])) for m in matches if m is not None and m[1] == path.name)


def _sibling(volume: Path, number: int) -> Path:
    """The name of another volume of the set of ``volume``, padded as it is."""
    match = _VOLUME.fullmatch(volume.name)
    assert match is not None
    return volume.with_name(f"{match[1]}.part{number:0{len(match[2])}}")


def _read(path: Path, offset: int, length: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, length, offset)
            while len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
                data += more
        finally:
            os.close(fd)
    except OSError as error:
        raise ArchiveError(f"cannot read {path}: {error.strerror}") from error
    if len(data) < length:
        raise ArchiveError(f"{path} became shorter while it was read")
    return data
