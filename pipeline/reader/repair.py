"""An archive made whole again with its recovery files, in another folder.

Takes the archive by any of its names, or one of its recovery files. Guarantees: nothing is written beside the source, which may
be a disc; what is written has its checksums, or is not there; nothing in the folder is replaced; nothing else is left in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.core import disk, files
from pipeline.core.bundle import CHECKSUM_SUFFIX
from pipeline.core.errors import ArchiveError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.storage import checksums, locks, parity, slip
from pipeline.storage.archive import Volume
from pipeline.storage.parity import ParitySet


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """The files that were written, and which of them had been damaged or missing."""

    files: tuple[Volume, ...]
    mended: tuple[str, ...]
    checked: bool
    """Whether there were checksums beside the source, and all agree."""


def repair(source: Path, folder: Path, interruption: Interruption, wait: bool = False) -> Repaired:
    """Write the archive of ``source`` into ``folder``, repaired.

    Raises ArchiveError where too much is lost, UsageError, EnvironmentProblem (par2, disk), Interrupted.
    """
    archive = parity.base_of(source)
    recovery = parity.files_beside(archive)
    if not recovery:
        raise ArchiveError(f"{archive} has no recovery files beside it ({archive.name}.par2)", tip="copy them there, too")
    known = parity.read(recovery)
    if known is None:
        raise ArchiveError(f"the recovery files of {archive} are damaged: nothing of them can be read")
    destination = folder / archive.name
    parity.require()
    with locks.lock_destination(destination, wait=wait, sleep=interruption.sleep):
        _check_place(folder, archive, known)
        work = files.temporary_beside(folder / archive.name)
        files.remove(work)
        work.mkdir(parents=True)
        try:
            return _repair(archive, recovery[0], known, work, folder, interruption)
        finally:
            files.remove(work)


def _check_place(folder: Path, archive: Path, known: ParitySet) -> None:
    for name in known.files:
        if (folder / name).exists():
            raise UsageError(f"{folder / name} is there already", tip="name another folder with -d")
    if folder.exists() and files.same_file(folder, archive.absolute().parent):
        raise UsageError(f"{folder} is where the damaged files are", tip="name another folder with -d")
    folder.mkdir(parents=True, exist_ok=True)
    disk.check_writable(folder)
    disk.check_room(sum(known.files.values()), folder / archive.name)


def _repair(archive: Path, main: Path, known: ParitySet, work: Path, folder: Path, interruption: Interruption) -> Repaired:
    origin = archive.absolute().parent
    parity.link_files(known, origin, work)
    parity.repair(main.absolute(), work, interruption)
    mended = tuple(name for name in known.files if not (work / name).is_symlink())
    expected = checksums.read(origin / f"{archive.name}{CHECKSUM_SUFFIX}")
    made = []
    for name, size in sorted(known.files.items(), key=lambda file: (len(file[0]), file)):  # volumes by number
        sha256 = _take(work / name, work / f"{name}.whole", interruption)
        if expected.get(name, sha256) != sha256:
            raise ArchiveError(f"{name} was repaired, and does not have its checksum: its checksum file is of another archive")
        made.append(Volume(folder / name, size, sha256))
    files.sync_file_system(work)
    for volume in reversed(made):  # the first one last: until it is there, nobody takes the others for a whole
        (work / f"{volume.path.name}.whole").rename(volume.path)
    files.sync_folder(folder)
    sums = checksums.dump((volume.path.name, volume.sha256) for volume in made)
    files.write_atomic(folder / f"{archive.name}{CHECKSUM_SUFFIX}", sums)
    slip.copy(origin / archive.name, folder / archive.name)
    return Repaired(files=tuple(made), mended=mended, checked=all(name in expected for name in known.files))


def _take(source: Path, target: Path, interruption: Interruption) -> str:
    """Copy what a link names, or rename what was repaired. Its SHA-256."""
    hasher = hashlib.sha256()
    is_link = source.is_symlink()
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(files.CHUNK):
            interruption.check()
            hasher.update(chunk)
            if is_link:
                writing.write(chunk)
    if not is_link:
        source.replace(target)
    return hasher.hexdigest()
