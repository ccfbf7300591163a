"""Act 3, second step: make the archive, the volumes or the folder, under temporary names beside the destination.

Takes the archive layout; writes a record (``packed.json``) of the files that were made, with size, time and SHA-256.
Guarantees: every blob is hashed on the way, so that what is damaged in the cache reaches no archive (a folder of links takes a
blob as it is when this very run hashed it as it arrived); what is damaged is removed from the cache, all of it reported at
once, so that the next copy fetches it; the destination is not touched.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.core import files
from pipeline.core.bundle import Bundle, Compression, Output
from pipeline.core.errors import DamagedBlobsError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import Digest
from pipeline.storage import bundle_info
from pipeline.storage.archive import ArchiveLayout, Codec, Member, temporary_files, volume_names, write_archive
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.image_layout import LAYOUT_FILE
from pipeline.storage.records.packed import Packed, PackedFile, read_packed

SMALL = 64 * 1024
"""Bytes of a file that is hashed at once, without another thread."""
_CODECS = {Compression.GZIP: Codec.GZIP, Compression.ZSTD: Codec.ZSTD}
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES})


def compress(
    cache: Cache, state: BundleState, bundle: Bundle, interruption: Interruption, progress: Callable[[int], None]
) -> None:
    """Raises DamagedBlobsError, EnvironmentProblem (disk), Interrupted."""
    layout = ArchiveLayout.from_json(files.read_json(state.archive_layout))
    source = _source(cache, state)
    output = bundle.output
    output.destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        if output.is_archive:
            packed = _archive(layout, source, output, interruption, progress)
        else:
            target = None if bundle.is_cache else files.temporary_beside(output.destination)
            with _removed_unless_complete(target):
                packed = _folder(cache, layout, source, output, target, interruption, progress)
    except DamagedBlobsError as error:
        for digest in error.digests:
            log.warning("%s in the cache is damaged; it is removed, to be fetched again", digest)
        for member in layout.members:
            if member.is_blob and member.digest is not None and str(member.digest) in error.digests:
                cache.remove_if_damaged(member.digest)
            elif str(member.digest) in error.digests:
                source(member).unlink(missing_ok=True)
        raise
    files.write_atomic(state.packed, files.dump_sealed(packed.to_json()))


def is_waiting(state: BundleState, path: Path) -> bool:
    """Whether ``path`` is complete and waits for ``split`` to give it its name, as a killed run may leave it."""
    packed = read_packed(state.packed)
    return packed is not None and any(file.temporary == str(path) and file.is_waiting for file in packed.files)


def remove_leftovers(state: BundleState, bundle: Bundle) -> None:
    """What a killed run left of an archive beside the destination, whatever is going to be made there now."""
    for leftover in temporary_files(bundle.output.destination):
        if not is_waiting(state, leftover):
            files.remove(leftover)


@contextlib.contextmanager
def _removed_unless_complete(target: Path | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if target is not None:
            files.remove(target)
        raise


def is_current(state: BundleState, bundle: Bundle) -> bool:
    """Whether what was made is still there, in its place or waiting for it."""
    packed = read_packed(state.packed)
    if packed is None:
        return False
    if bundle.output.is_archive:
        return bool(packed.files) and all(file.is_in_place or file.is_waiting for file in packed.files)
    places = [Path(path) for file in packed.files for path in (file.name, file.temporary)] or [bundle.cache]
    return any(_holds(place, packed.contents) for place in places)


def _archive(
    layout: ArchiveLayout,
    source: Callable[[Member], Path],
    output: Output,
    interruption: Interruption,
    progress: Callable[[int], None],
) -> Packed:
    volumes = write_archive(
        layout,
        source,
        output.destination,
        codec=_CODECS[output.compression],
        level=output.level,
        part_size=output.part_size,
        progress=progress,
        check=interruption.check,
    )
    names = volume_names(output.destination, len(volumes) if output.part_size else None)
    packed = [
        PackedFile(str(volume.path), str(name), volume.size, volume.path.stat().st_mtime_ns, volume.sha256)
        for volume, name in zip(volumes, names, strict=True)
    ]
    return Packed(tuple(packed), {})


def _folder(
    cache: Cache,
    layout: ArchiveLayout,
    source: Callable[[Member], Path],
    output: Output,
    target: Path | None,
    interruption: Interruption,
    progress: Callable[[int], None],
) -> Packed:
    """Exactly the bundle as a folder of hard links; without ``target`` the cache is the result, and is only checked."""
    if target is not None:
        files.remove(target)
        target.mkdir()
    for member in layout.members:
        path = _place(target, layout, member)
        if path is not None and member.is_folder:
            path.mkdir(exist_ok=True)
        elif path is not None and member.link:
            _link(path, member.link)

    members = [member for member in layout.members if member.digest is not None]
    damaged: set[Digest | None] = set()

    def take(member: Member, is_linked: bool) -> None:
        place = None if is_linked else _place(target, layout, member)
        if not _is_right(source(member), place, member, interruption.check):
            damaged.add(member.digest)
        progress(member.size)

    def take_all(waiting: Iterator[tuple[Member, bool]]) -> None:
        try:
            for member, is_linked in waiting:
                interruption.check()
                take(member, is_linked)
        finally:
            deque(waiting, maxlen=0)  # where this one raises, the other does not go on either

    long = []
    # Not by two threads, which would wait for each other at each link: five times as long.
    for member in members:
        interruption.check()
        place = _place(target, layout, member)
        is_linked = place is None or _hard_link(source(member), place)
        if is_linked and _has_arrived(cache, member):
            progress(member.size)
        elif is_linked and member.size <= SMALL:
            take(member, is_linked)
        else:
            long.append((member, is_linked))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(take_all, (iter(long),) * 2))  # both take from one
    if damaged:
        raise DamagedBlobsError(list(dict.fromkeys(str(each.digest) for each in members if each.digest in damaged)))
    contents = _contents(layout, members, target, source)
    if target is None:
        return Packed((), contents)
    files.sync_file_system(target)
    status = target.stat()
    return Packed((PackedFile(str(target), str(output.destination), status.st_size, status.st_mtime_ns),), contents)


def _has_arrived(cache: Cache, member: Member) -> bool:
    """Whether this very run has hashed it."""
    return member.is_blob and member.digest is not None and cache.arrived_size(member.digest) == member.size


def _is_right(source: Path, target: Path | None, member: Member, check: Callable[[], None]) -> bool:
    """Whether a file is what its digest says; it is copied to ``target`` while it is hashed."""
    assert member.digest is not None, "those without are no files"
    try:
        if target is not None:
            found, size = _copy(source, target, member.digest.algorithm, check)
        else:
            with source.open("rb") as file:
                found, size = files.hash_file(file, member.digest.algorithm, check)
    except FileNotFoundError:
        return False
    return (found, size) == (member.digest.hex, member.size)


def _copy(source: Path, target: Path, algorithm: str, check: Callable[[], None]) -> tuple[str, int]:
    hasher, size = hashlib.new(algorithm), 0
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(files.CHUNK):
            check()
            hasher.update(chunk)
            size += writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return hasher.hexdigest(), size


def _hard_link(source: Path, target: Path) -> bool:
    """Whether it could be made; not of a file that there is not, either, which is found out when it is read."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno in _NO_LINK or isinstance(error, FileNotFoundError):
            return False
        raise
    return True


def _link(path: Path, target: str) -> None:
    try:
        path.symlink_to(target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise


def _source(cache: Cache, state: BundleState) -> Callable[[Member], Path]:
    """Where a member's bytes are: the bundle's own metadata first, the shared cache for all else."""

    def source(member: Member) -> Path:
        if member.is_blob and member.digest is not None:
            return cache.blob(member.digest)
        name = member.path.partition("/")[2]
        if name.endswith(LAYOUT_FILE):
            return cache.root / LAYOUT_FILE  # they are all alike
        own = state.info if name == bundle_info.FILE else state.folder / name
        return own if own.is_file() else cache.root / name

    return source


def _place(target: Path | None, layout: ArchiveLayout, member: Member) -> Path | None:
    return None if target is None else target / member.path.removeprefix(layout.root).lstrip("/")


def _contents(
    layout: ArchiveLayout, members: Sequence[Member], target: Path | None, source: Callable[[Member], Path]
) -> dict[str, tuple[int, int, str]]:
    contents = {}
    for member in members:
        if target is None and not member.is_blob:
            continue  # the cache shows the bundle saved last; `split` sees to that
        status = (_place(target, layout, member) or source(member)).stat()
        name = member.path.removeprefix(layout.root).lstrip("/")
        contents[name] = (status.st_size, status.st_mtime_ns, str(member.digest))
    return contents


def _holds(place: Path, contents: Mapping[str, tuple[int, int, str]]) -> bool:
    try:
        statuses = {name: (place / name).stat() for name in contents}
    except OSError:
        return False
    return all((s.st_size, s.st_mtime_ns) == contents[name][:2] for name, s in statuses.items())
