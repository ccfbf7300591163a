"""Look at everything that a source holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline.core.errors import ArchiveError, ContentError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, walk
from pipeline.reader import listing
from pipeline.reader.contents import ArchiveStore, Contents, Store, open_store, with_bases
from pipeline.reader.verify import recovery
from pipeline.reader.verify.findings import Fault, Report
from pipeline.reader.verify.hashing import Checksums, Meter, hash_everything
from pipeline.storage import parity
from pipeline.storage.archive import ForeignArchiveError
from pipeline.storage.archive.audit import audit
from pipeline.storage.archive.volume_reader import find
from pipeline.storage.bundle_state import LISTING

NOBODY = Meter()


def check(path: Path, jobs: int, interruption: Interruption, bases: Sequence[Path] = (), meter: Meter = NOBODY) -> Report:
    """Re-hash every blob, follow every index to its manifests, configs and layers, compare volumes with the checksum file
    beside them and with the archive index, and look at the tar around it all. What a delta lacks must be in one of ``bases``,
    where these are given, and is hashed there.

    Raises ArchiveError where nothing is there, ForeignArchiveError for what can only be unpacked, Interrupted.
    """
    if path.is_dir():
        return _look_at(path, open_store(path), None, jobs, interruption, bases, meter)
    report = _check_archive(path, jobs, interruption, bases, meter)
    return replace(report, recovery=recovery.look(path, bool(report.faults), interruption))


def _check_archive(path: Path, jobs: int, interruption: Interruption, bases: Sequence[Path], meter: Meter) -> Report:
    try:
        volumes = find(path)
    except ArchiveError as error:
        if not parity.files_beside(parity.base_of(path)):
            raise
        return Report(source=str(path), images=0, blobs=0, size=0, faults=(Fault(path.name, error.message),), is_readable=False)
    sums = Checksums.beside(volumes)
    try:
        store = open_store(path, volumes=volumes)
    except ForeignArchiveError:
        raise
    except ArchiveError as error:
        faults = [*(sums.mismatches() if sums else ()), Fault(path.name, error.message)]
        faults += sums.compare(lambda size: interruption.check()) if sums else ()
        return Report(
            source=str(path),
            images=0,
            blobs=0,
            size=volumes.size,
            faults=tuple(faults),
            checksums=sums.count if sums else None,
            is_readable=False,
        )
    return _look_at(path, store, sums, jobs, interruption, bases, meter)


def _look_at(
    path: Path,
    store: Store,
    sums: Checksums | None,
    jobs: int,
    interruption: Interruption,
    bases: Sequence[Path],
    meter: Meter,
) -> Report:
    faults = list(sums.mismatches()) if sums else []
    whole = with_bases(store, bases)
    contents = _contents(whole, faults, interruption)
    damaged, of_volumes = hash_everything(store, sums, jobs, interruption, meter)
    if contents is not None and bases:
        damaged |= _damaged_in_bases(contents, store, interruption)
    needs, of_images = _follow(contents, damaged)
    faults += of_volumes + of_images
    faults += [Fault(str(digest), problem, tuple(needs.get(digest, ()))) for digest, problem in damaged.items()]
    if contents is not None and not faults:
        faults += _listing_faults(contents, store)
    if isinstance(store, ArchiveStore):
        faults += _metadata_faults(store, interruption)
        faults += (Fault(path.name, problem) for problem in audit(store.reader, interruption.check))
    blobs = list(store.blobs())
    size = sum(store.size(digest) or 0 for digest in blobs)
    unique = tuple(dict.fromkeys(faults))
    held, referrers = (len(contents.bundled), len(contents.along)) if contents else (0, 0)
    return Report(
        source=str(path),
        images=held - referrers,
        blobs=len(blobs),
        size=size,
        faults=unique,
        checksums=sums.count if sums else None,
        referrers=referrers,
        left_out=_left_out(contents, bases),
        is_readable=contents is not None,
    )


def _listing_faults(contents: Contents, store: Store) -> Iterator[Fault]:
    """Whether ``ls`` says what is there."""
    with suppress(ArchiveError):  # damage is told with the other metadata
        data = store.metadata(LISTING)
        own = contents if contents.store is store else Contents(store, contents.check)
        if data is not None and data != listing.dump(listing.look_at(own)):
            yield Fault(LISTING, "it does not say what is in the bundle")


def _left_out(contents: Contents | None, bases: Sequence[Path]) -> tuple[int, int] | None:
    if contents is None or contents.delta is None or bases:
        return None
    return len(contents.absent), sum(blob.size for blob in contents.absent.values())


def _damaged_in_bases(contents: Contents, own: Store, interruption: Interruption) -> dict[Digest, str]:
    """What a delta lacks and the bundles that were named as its base lack, too, or have damaged."""
    damaged: dict[Digest, str] = {}
    for digest in contents.delta.absent if contents.delta else ():
        if own.size(digest) is not None:
            continue
        try:
            for _ in contents.open_blob(digest):
                interruption.check()
        except ArchiveError as error:
            damaged[digest] = error.message
    return damaged


def _contents(store: Store, faults: list[Fault], interruption: Interruption) -> Contents | None:
    try:
        contents = Contents(store, interruption.check)
    except ArchiveError as error:
        faults.append(Fault(Path(store.place).name, error.message))
        return None
    faults += [Fault(Path(store.place).name, problem) for problem in contents.problems]
    return contents


def _follow(contents: Contents | None, damaged: Mapping[Digest, str]) -> tuple[dict[Digest, list[str]], list[Fault]]:
    """Which images need which blob; and what is missing, or is not a manifest though it has its digest."""
    needs: dict[Digest, dict[str, None]] = {}
    problems: dict[tuple[str, str], dict[str, None]] = {}
    for image in contents.bundled if contents else ():
        assert contents is not None
        name = str(image.reference)
        for descriptor, problem in _belongings(contents, image.descriptor):
            needs.setdefault(descriptor.digest, {})[name] = None
            if descriptor.digest in damaged:
                continue
            if problem:
                problems.setdefault((str(descriptor.digest), problem), {})[name] = None
            elif (size := contents.size(descriptor.digest)) not in (None, descriptor.size):
                what = "%s: its manifest says that %s has %s bytes; it has %s. Its digest is right"
                log.warning(what, name, descriptor.digest, f"{descriptor.size:,}", f"{size:,}")
    faults = [Fault(what, problem, tuple(names)) for (what, problem), names in problems.items()]
    return {digest: list(names) for digest, names in needs.items()}, faults


def _belongings(contents: Contents, top: Descriptor) -> list[tuple[Descriptor, str]]:
    """Everything that ``top`` leads to, each with what is wrong with it: nothing, mostly."""
    found: list[tuple[Descriptor, str]] = []

    def is_missing(descriptor: Descriptor) -> str:
        is_here = contents.size(descriptor.digest) is not None or contents.left_out(descriptor.digest) is not None
        return "" if is_here else "is missing"

    def read(descriptor: Descriptor) -> Manifest | Index | None:
        problem, document = is_missing(descriptor), None
        if not problem:
            try:
                document = contents.parse(descriptor.digest)
            except ContentError as error:
                problem = error.message
        found.append((descriptor, problem))
        return document

    try:
        for _, document in walk.walk(top, read, check=contents.check):
            if isinstance(document, Manifest):
                found.extend((blob, is_missing(blob)) for blob in document.blobs)
    except ContentError as error:
        found.append((top, error.message))
    return found


def _metadata_faults(store: ArchiveStore, interruption: Interruption) -> Iterator[Fault]:
    """Every file that is not a blob."""
    for name in store.reader.names:
        interruption.check()
        try:
            store.reader.read_metadata(name)
        except ArchiveError as error:
            yield Fault(name, error.message)
