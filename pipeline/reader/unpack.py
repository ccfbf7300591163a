"""Unpack an archive that was not written here: once, and safely.

A tar (plain or compressed, in one file or volumes) becomes a folder. Nothing of it is trusted: only files and folders are
made, inside the folder, with permissions of our own. A link to a file of the same tar becomes that file; other links, devices
and names that lead out are left out. What does not fit on the disk is refused before it is full. The folder is complete or
absent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.core import disk, files
from pipeline.core.errors import ArchiveError, EnvironmentProblem
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.storage.archive.decoding import DecodingError, PieceStream, compression, decompressed
from pipeline.storage.archive.tar_reader import TarError, TarMember, TarReader
from pipeline.storage.archive.volume_reader import VolumeSet, find

MAX_MEMBERS = 1_000_000
MAX_LINKS = 100_000
RESERVE = 64 * 1024 * 1024
"""Bytes of the disk that are left to others."""
_BLOCK = 4096
"""Bytes that the smallest file takes on most disks."""
_MAX_PART = 255
"""Bytes between two slashes of a path: NAME_MAX."""
_MAX_REST = 16 * 1024 * 1024
"""Bytes after the end of a tar: its last record is filled with zeros."""


def kind_of(path: Path) -> str:
    """``dir``, ``zstd``, ``gzip``, or ``tar`` for all else. Raises ArchiveError where nothing is there."""
    if path.is_dir():
        return "dir"
    kind = compression(find(path))
    return "tar" if kind == "xz" else kind


def folder_for(path: Path, below: Path) -> Path:
    """Where ``path`` is unpacked to: another folder once its files have changed."""
    hasher = hashlib.sha256()
    for volume in find(path).paths:
        status = volume.stat()
        hasher.update(os.fsencode(volume.absolute()) + f"\0{status.st_size} {status.st_mtime_ns}\0".encode())
    return below / hasher.hexdigest()[:16]


def unpack(path: Path, folder: Path, interruption: Interruption) -> None:
    """Unpack the archive ``path`` to ``folder``, unless it is there; nothing else stays beside that.

    Raises ArchiveError, EnvironmentProblem, Interrupted.
    """
    if folder.is_dir():
        return
    volumes = find(path)
    log.info("%s was not written by this program: unpacking it to %s first", path, folder)
    temporary = files.temporary_beside(folder)
    # What a run that was killed left, or an archive that has changed since.
    files.remove(folder.parent)
    temporary.mkdir(parents=True)
    try:
        _Unpacking(path, temporary, interruption).run(volumes)
        os.sync()  # a later run takes the folder for complete
        temporary.rename(folder)
    except (TarError, DecodingError) as error:
        raise ArchiveError(f"{path} is not a tar, or damaged: {error}", tip="copy it again") from error
    finally:
        volumes.close()
        files.remove(temporary)


class _Unpacking:
    """One archive, to one folder."""

    def __init__(self, path: Path, folder: Path, interruption: Interruption) -> None:
        self._path = path
        self._folder = folder
        self._interruption = interruption
        self._room = disk.free_space(folder) - RESERVE
        self._unread = self._room
        self._links: dict[Path, Path] = {}
        self._left_out = 0

    def run(self, volumes: VolumeSet) -> None:
        """Raises TarError and DecodingError beside what ``unpack`` raises."""
        stream = PieceStream(decompressed(volumes), self._passed)
        reader = TarReader(stream)
        number = 0
        while (member := reader.next_member()) is not None:
            self._interruption.check()
            number += 1
            if number > MAX_MEMBERS:
                raise ArchiveError(f"{self._path} has more than {MAX_MEMBERS} members")
            try:
                self._unpack(member, stream.pass_on(member.size))
            except (FileExistsError, NotADirectoryError) as error:
                raise TarError(f"it holds {member.name!a} both as a file and as a folder") from error
        # tar's end comes before that of what it is compressed with, which has a checksum there.
        if sum(map(len, stream.pass_on(_MAX_REST))) == _MAX_REST:
            raise TarError("it goes on after its end")
        self._make_links()
        if self._left_out:
            log.info("%d links and other things that are not files were left out", self._left_out)

    def _passed(self, size: int) -> None:
        """What is left out must end, too: as much as the disk has room for."""
        self._interruption.check()
        self._unread -= size
        if self._unread < 0:
            raise self._too_large()

    def _unpack(self, member: TarMember, content: Iterator[bytes]) -> None:
        self._room -= -(-max(member.size, 1) // _BLOCK) * _BLOCK
        if self._room < 0:
            raise self._too_large()
        target = _inside(self._folder, member.name)
        if target is None:
            self._left_out += 1
        elif member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
        elif member.is_file:
            _write(content, target)
        elif (linked := _inside(self._folder, member.target)) and len(self._links) < MAX_LINKS:
            self._links[target] = linked
        else:
            self._left_out += 1

    def _make_links(self) -> None:
        """Once all files are here: as hard links, for which no name leads anywhere else."""
        for target, linked in self._links.items():
            self._interruption.check()
            linked = self._links.get(linked, linked)
            if linked.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(linked, target)
            else:
                self._left_out += 1

    def _too_large(self) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"{self._path} does not fit on the disk of {self._folder.parent}",
            tip="free some space, or name a folder on another disk with -cache",
        )


def _write(content: Iterator[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name that comes twice: the last one counts, as with tar, and nothing is written through what is there.
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    with target.open("xb") as file:
        for piece in content:
            file.write(piece)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # FAT and exFAT have none
        shutil.copyfile(source, target)


def _inside(folder: Path, name: str) -> Path | None:
    """Where a member goes; None for a name that leads out, or that no file can have."""
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    if not parts or ".." in parts or parts[0] == "/" or "\0" in name or max(map(len, map(os.fsencode, parts))) > _MAX_PART:
        return None
    return folder.joinpath(*parts)
