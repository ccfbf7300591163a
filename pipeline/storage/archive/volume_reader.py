"""The reading end of an archive: a file or a set of volumes, found by any of its names, read as one stream.

Nothing of it is trusted. What can be known without reading it all is checked on opening: that every number is there, that
all volumes but the last have one size, that the end is where it says it is, and, by samples, that each volume is the one
that belongs in its place. Every message names the volume.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.core.errors import ArchiveError
from pipeline.storage.archive.codecs import FRAMINGS
from pipeline.storage.archive.framing import Framing
from pipeline.storage.archive.index import INDEX_VERSION, SAMPLE_LENGTH, START_MARK, Samples, Trailer, trailer_size
from pipeline.storage.archive.opened_files import OpenedFiles

_VOLUME = re.compile(r"(.+)\.part([0-9]+)", re.DOTALL)
_START = 512 * 1024
"""The mark comes after the first metadata frame, which is no longer than this."""
MAX_NAMED = 20
"""Volumes that a message names."""


class ForeignArchiveError(ArchiveError):
    """Not written by this program, so it cannot be read in place; it may be an ordinary tar all the same."""


class VolumeSet:
    """Volumes in order, opened; one file is a set of one. Any thread may read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises ArchiveError for what cannot be read."""
        self.paths = tuple(paths)
        self._files = OpenedFiles(self.paths)
        self.sizes = self._files.sizes
        self.starts = (0, *itertools.accumulate(self.sizes[:-1]))
        """Where in the stream each volume starts."""

    @property
    def size(self) -> int:
        """Bytes of the whole stream."""
        return self.starts[-1] + self.sizes[-1]

    @property
    def is_numbered(self) -> bool:
        """Whether the files have names of volumes, as a single one may."""
        return _VOLUME.fullmatch(self.paths[0].name) is not None

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
            parts.append(self._files.read(number, start, stop - start))
        return b"".join(parts)

    def read_volume(self, number: int, offset: int, length: int) -> bytes:
        """``length`` bytes of one volume, which has them. Raises ArchiveError."""
        return self._files.read(number, offset, length)

    def names(self, offset: int, length: int) -> str:
        """The volumes that bytes of the stream lie in, for a message."""
        numbers = self._numbers(offset, length)
        first, last = self.paths[numbers[0]], self.paths[numbers[-1]]
        return str(first) if first == last else f"{first} to {last}"

    def has_changed(self) -> bool:
        """Whether the names of the volumes lead to other files now, or to none; what was opened is read on."""
        return self._files.has_changed()

    def close(self) -> None:
        self._files.close()

    def _numbers(self, offset: int, length: int) -> range:
        return range(bisect_right(self.starts, offset) - 1, bisect_right(self.starts, offset + max(length, 1) - 1))


def find(path: Path) -> VolumeSet:
    """The archive called ``path``: that file, or the volumes ``path.part0`` …, or all volumes of the one that it names.

    Raises ArchiveError where it is not there, or not all of it.
    """
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
    if len(paths) <= max(paths):
        absent = (number for number in range(max(paths)) if number not in paths)
        names = _list(_sibling(volumes[0][1], number).name for number in absent)
        raise ArchiveError(f"{path} is not complete; missing: {names}", tip="put all volumes into one folder")
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
    wrong = (number for number, start in enumerate(volumes.starts) if _fits(volumes, samples, number, start) is False)
    problems = []
    for number in itertools.islice(wrong, MAX_NAMED + 1):
        places = (other for other, start in enumerate(volumes.starts) if _fits(volumes, samples, number, start))
        place = next(places, None)
        what = "is of another archive or damaged" if place is None else f"holds what belongs into {volumes.paths[place]}"
        problems.append(f"{volumes.paths[number]} {what}")
    if problems:
        raise ArchiveError(_list(problems, "; "), tip="copy the volumes again, under the names they had")


def _fits(volumes: VolumeSet, samples: Samples, number: int, start: int) -> bool | None:
    """Whether volume ``number`` holds what the stream has from ``start`` on; None where no sample tells."""
    size = volumes.sizes[number]
    position = samples.first_within(start, start + size)
    if position is None:
        return None
    return samples.matches(position, volumes.read_volume(number, position - start, SAMPLE_LENGTH))


def _trailer(volumes: VolumeSet) -> tuple[Trailer, Framing] | None:
    """The trailer at the end of ``volumes``."""
    tail = min(volumes.size, max(map(trailer_size, FRAMINGS.values())))
    return _trailer_in(volumes.read(volumes.size - tail, tail))


def _trailer_in(tail: bytes) -> tuple[Trailer, Framing] | None:
    for framing in FRAMINGS.values():
        if (trailer := Trailer.from_frame(tail, framing)) is not None:
            return trailer, framing
    return None


def _holds_end(volumes: VolumeSet, number: int) -> bool:
    size = volumes.sizes[number]
    tail = min(size, max(map(trailer_size, FRAMINGS.values())))
    return _trailer_in(volumes.read_volume(number, size - tail, tail)) is not None


def _holds_start(volumes: VolumeSet, number: int) -> bool:
    return START_MARK in volumes.read_volume(number, 0, min(_START, volumes.sizes[number]))


def _missing_end(volumes: VolumeSet) -> ArchiveError:
    """Why ``volumes`` do not end with a trailer."""
    begins = [path for number, path in enumerate(volumes.paths) if _holds_start(volumes, number)]
    ends = [path for number, path in enumerate(volumes.paths) if _holds_end(volumes, number)]
    first, last = volumes.paths[0], volumes.paths[-1]
    if not begins and not ends:
        return ForeignArchiveError(
            f"{first} was not written by this program (or its end is missing), so it cannot be read in place",
            tip="unpack it with tar and name the folder; load does that itself",
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
        sizes = _list(f"{volumes.paths[n]} ({volumes.sizes[n]} bytes)" for n in wrong)
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


def _list(items: Iterable[str], separator: str = ", ") -> str:
    """The first ``MAX_NAMED`` of ``items``, and whether there are more."""
    names = list(itertools.islice(items, MAX_NAMED + 1))
    return separator.join([*names[:MAX_NAMED], *(["…"] if len(names) > MAX_NAMED else [])])
