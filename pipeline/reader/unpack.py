"""Unpack an archive that was not written here: once, and safely.

In comes a tar (plain or compressed, in one file or volumes), out goes a folder. Nothing of it is trusted: only files and
folders are made, inside the folder, with permissions of our own; links, devices and names that lead out are left out; what
does not fit on the disk is refused before it is full. Promises: the folder is complete or absent.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

import zstandard

from pipeline.core import disk, files
from pipeline.core.errors import ArchiveError, EnvironmentProblem
from pipeline.core.files import CHUNK
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.storage.archive.volume_reader import VolumeSet, find

MAX_MEMBERS = 1_000_000
RESERVE = 64 * 1024 * 1024
"""Bytes of the disk that are left to others."""
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
_BROKEN = (tarfile.TarError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError, lzma.LZMAError, EOFError)


def kind_of(path: Path) -> str:
    """``dir``, ``zstd``, ``gzip``, or ``tar`` for all else. Raises ArchiveError where nothing is there."""
    if path.is_dir():
        return "dir"
    volumes = find(path)
    start = volumes.read(0, min(4, volumes.size))
    return "zstd" if start == _ZSTD else "gzip" if start.startswith(_GZIP) else "tar"


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
        _unpack(volumes, temporary, interruption)
        os.sync()  # a later run takes the folder for complete
        temporary.rename(folder)
    except _BROKEN as error:
        raise ArchiveError(f"{path} is no tar, or damaged: {error}", tip="copy it again") from error
    finally:
        files.remove(temporary)


def _unpack(volumes: VolumeSet, folder: Path, interruption: Interruption) -> None:
    room = disk.free_space(folder) - RESERVE
    left_out = 0
    stream = _decompressed(volumes)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for number, member in enumerate(tar):
            interruption.check()
            if number >= MAX_MEMBERS:
                raise ArchiveError(f"{volumes.paths[0]} has more than {MAX_MEMBERS} members")
            target = _inside(folder, member.name)
            if target is None or not (member.isreg() or member.isdir()):
                left_out += 1
                continue
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            room -= member.size
            if room < 0:
                raise EnvironmentProblem(
                    f"{volumes.paths[0]} does not fit on the disk of {folder.parent}",
                    tip="free some space, or name a folder on another disk with -cache",
                )
            _write(cast("IO[bytes]", tar.extractfile(member)), target, interruption)
    # tar's end comes before that of what it is compressed with, which has a checksum there.
    while stream.read(CHUNK):
        interruption.check()
    if left_out:
        log.info("%d links and other things that are no files were left out", left_out)


def _write(content: IO[bytes], target: Path, interruption: Interruption) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name that comes twice: the last one counts, as with tar, and nothing is written through what is there.
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    with target.open("xb") as file:
        while piece := content.read(CHUNK):
            interruption.check()
            file.write(piece)


def _inside(folder: Path, name: str) -> Path | None:
    """Where a member goes; None for a name that leads out."""
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    if not parts or ".." in parts or parts[0] == "/" or "\0" in name:
        return None
    return folder.joinpath(*parts)


def _decompressed(volumes: VolumeSet) -> IO[bytes]:
    """The tar in ``volumes``, read as it comes."""
    stream = cast("IO[bytes]", io.BufferedReader(_Joined(volumes), CHUNK))
    start = volumes.read(0, min(6, volumes.size))
    if start.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
    if start.startswith(_ZSTD):
        return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))
    if start.startswith(b"\xfd7zXZ"):
        return cast("IO[bytes]", lzma.open(stream))
    return stream


class _Joined(io.RawIOBase):
    """Volumes as one file."""

    def __init__(self, volumes: VolumeSet) -> None:
        self._volumes = volumes
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        length = min(len(view), self._volumes.size - self._position)
        view[:length] = self._volumes.read(self._position, length)
        self._position += length
        return length
