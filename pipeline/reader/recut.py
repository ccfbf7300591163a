"""An archive cut into other volumes, or joined to one file: the same stream of bytes under other names, nothing packed again.

Takes an archive by any of its names, and a folder. Guarantees: what is written is checked as far as the checksum file beside
the archive goes, complete and synced, or not there; nothing in the folder is replaced; memory does not depend on sizes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from pipeline.core import disk, files
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import CHECKSUM_SUFFIX
from pipeline.core.errors import ArchiveError, EnvironmentProblem, UsageError
from pipeline.core.interruption import Interruption
from pipeline.storage import checksums, locks, slip
from pipeline.storage.archive import MAX_VOLUMES, Volume, open_archive, volume_names, volumes_beside
from pipeline.storage.archive.volume_reader import VolumeSet
from pipeline.storage.archive.volume_writer import VolumeWriter

CHUNK = 8 * 1024 * 1024
"""Bytes read at once."""
_NO_SAMPLES = 1 << 62
"""A step so long that there is one sample: the index has those of the stream already."""


@dataclass(frozen=True, kw_only=True)
class Recut:
    """What was written, in order, under its final names. ``checked`` where the source had checksums, and agreed."""

    files: tuple[Volume, ...]
    checksum_file: Path
    checked: bool


def recut(source: Path, folder: Path, part_size: int | None, interruption: Interruption, wait: bool = False) -> Recut:
    """Write the archive ``source`` into ``folder``, in volumes of ``part_size`` bytes or, without one, as one file.

    Raises ArchiveError for what cannot be read or is damaged, UsageError, EnvironmentProblem (disk), Interrupted.
    """
    with open_archive(source) as archive:
        volumes = archive.volumes
        destination = folder / _name(volumes)
        check_size(volumes.size, part_size, destination)
        with locks.lock_destination(destination, wait=wait, sleep=interruption.sleep):
            _refuse_what_is_there(destination, volumes)
            folder.mkdir(parents=True, exist_ok=True)
            disk.check_writable(folder)
            known = checksums.read(volumes.paths[0].with_name(_name(volumes) + CHECKSUM_SUFFIX))
            expected = [known.get(path.name) for path in volumes.paths]
            return _write(volumes, expected, destination, part_size, interruption)


def _name(volumes: VolumeSet) -> str:
    """What the archive is called, without the number of a volume."""
    first = volumes.paths[0].name
    return first.rpartition(".part")[0] if volumes.is_numbered else first


def check_size(size: int, part_size: int | None, destination: Path) -> None:
    if part_size and size > part_size * MAX_VOLUMES:
        raise UsageError(
            f"-part-size {part_size} would cut {bytes_text(size)} into more than {MAX_VOLUMES:,} volumes",
            tip="use a larger one, e.g. -part-size=2G",
        )
    limit, largest = disk.largest_file(destination), min(size, part_size or size)
    if limit is not None and largest > limit:
        raise EnvironmentProblem(
            f"the file system of {destination.parent} cannot hold a file of {largest:,} bytes: "
            f"{limit:,} bytes is its largest file",
            tip=f"use -part-size={limit // 1024**2}M",
        )
    disk.check_room(size, destination)


def _refuse_what_is_there(destination: Path, volumes: VolumeSet) -> None:
    """One file and volumes of one name, side by side, could not be told apart by who reads them."""
    there = [*volumes_beside(destination), *([destination] if destination.exists() else [])]
    if there and files.same_file(there[0].parent, volumes.paths[0].parent):
        raise UsageError(f"{there[0]} is what is to be read", tip="name another folder with -d")
    if there:
        raise UsageError(f"{there[0]} is there already", tip="name another folder with -d")


def _write(
    volumes: VolumeSet, expected: list[str | None], destination: Path, part_size: int | None, interruption: Interruption
) -> Recut:
    writer = VolumeWriter(destination, part_size, _NO_SAMPLES)
    try:
        for chunk in _checked(volumes, expected):
            interruption.check()
            writer.write(chunk)
        written = writer.close(_wait)
    except BaseException:
        writer.discard()
        raise
    recut = publish(written, destination, part_size, checked=all(expected))
    slip.copy(volumes.paths[0].with_name(_name(volumes)), destination)
    return recut


def publish(written: Sequence[Volume], destination: Path, part_size: int | None, *, checked: bool) -> Recut:
    """Give complete volumes their names beside ``destination``, and write their checksums."""
    names = volume_names(destination, len(written) if part_size else None)
    made = [Volume(name, volume.size, volume.sha256) for name, volume in zip(names, written, strict=True)]
    # The first one last: until it is there, nobody takes the others for a whole.
    for volume, final in reversed(list(zip(written, made, strict=True))):
        volume.path.rename(final.path)
    files.sync_folder(destination.parent)
    checksum_file = destination.with_name(destination.name + CHECKSUM_SUFFIX)
    files.write_atomic(checksum_file, checksums.dump((each.path.name, each.sha256) for each in made))
    return Recut(files=tuple(made), checksum_file=checksum_file, checked=checked)


def _wait(future: Future[Volume]) -> None:
    """Until a volume is on the disk. Raises what kept it from there."""
    future.result()


def _checked(volumes: VolumeSet, expected: list[str | None]) -> Iterator[bytes]:
    """The stream. Raises ArchiveError at the end of a volume that does not have its checksum."""
    for number, (path, size) in enumerate(zip(volumes.paths, volumes.sizes, strict=True)):
        hasher = hashlib.sha256()
        for offset in range(0, size, CHUNK):
            chunk = volumes.read_volume(number, offset, min(CHUNK, size - offset))
            if expected[number]:
                hasher.update(chunk)
            yield chunk
        if expected[number] and hasher.hexdigest() != expected[number]:
            raise ArchiveError(
                f"{path} does not have the checksum that {path.parent} has for it: it is damaged", tip="copy it again"
            )
