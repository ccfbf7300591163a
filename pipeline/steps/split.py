"""Act 3, last step: the finished files get their names.

Takes what ``compress`` made; leaves the archive, volumes or folder under their final names, the checksum file for
``sha256sum -c``, and a record (``output.json``). Guarantees: a set changes over as a whole, by journal: a run that finds a
change-over unfinished completes it, so that old and new volumes are never taken for one set; the files of the earlier bundle
that the new one does not replace by name are removed, and nothing else; what lies there in the end can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.core import files
from pipeline.core.bundle import Bundle
from pipeline.core.errors import EnvironmentProblem
from pipeline.storage import checksums, locks, parity, slip
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.cache import Cache, is_published, publish
from pipeline.storage.destination import check_readable, files_at
from pipeline.storage.records.packed import Finished, Packed, PackedFile, parse_finished, read_finished, read_packed

NoReaders = Callable[[Path], AbstractContextManager[None]]
"""Keeps readers out of a folder for the block. Raises EnvironmentProblem where it cannot."""


def split(
    cache: Cache,
    state: BundleState,
    bundle: Bundle,
    references: Sequence[str],
    no_readers: NoReaders = locks.no_readers,
) -> None:
    """Put what ``packed.json`` names into place, and see that it can be read there.

    Raises EnvironmentProblem where somebody else is at work at the destination, OSError where it cannot be written.
    """
    packed = read_packed(state.packed)
    assert packed is not None, "compress wrote it just now"
    if bundle.is_cache:
        publish(cache, state)
        files.sync_file_system(cache.root)
    finished = Finished(packed.files, tuple(references))
    journal = {
        "finished": finished.to_json(),
        "stale": _stale(bundle, read_finished(state.output), packed.files),
        "checksums": _checksum_path(bundle),
    }
    files.write_atomic(state.journal, files.dump_sealed(journal))
    if not _change_over(state, no_readers):
        raise EnvironmentProblem(
            f"what was written for {bundle.output.destination} was removed or changed before it had its name",
            tip=f"see to it that nothing else writes to {bundle.output.destination.parent}, and run the same command again",
        )
    if bundle.output.is_archive:
        check_readable(bundle.output.destination, finished)


def roll_forward(state: BundleState, no_readers: NoReaders = locks.no_readers) -> None:
    """Complete the change-over that a killed run left in the journal, if there is one. May be repeated at any point.

    One that cannot be completed, as somebody else has been at work on the files, is dropped: what is there is packed anew.
    """
    if not _change_over(state, no_readers):
        state.journal.unlink(missing_ok=True)


def _change_over(state: BundleState, no_readers: NoReaders) -> bool:
    """Do what the journal says. False, with nothing done, where it is missing, or its files are."""
    journal = files.read_sealed(state.journal)
    finished = parse_finished(journal.get("finished") if isinstance(journal, dict) else None)
    if finished is None or not all(file.is_waiting or file.is_in_place for file in finished.files):
        return False
    checksum_file = Path(journal["checksums"]) if journal["checksums"] else None
    if checksum_file is not None:
        checksum_file.unlink(missing_ok=True)
    for file in finished.files:
        _into_place(file, no_readers)
    folders = {Path(file.name).parent for file in finished.files}
    for folder in folders:
        files.sync_folder(folder)
    # The old ones go when the new ones are there for good.
    for name in journal["stale"]:
        files.remove(Path(name))
    if checksum_file is not None:
        files.write_atomic(checksum_file, _checksum_lines(finished.files))
    files.write_atomic(state.output, files.dump_sealed(finished.to_json()))
    state.journal.unlink()
    return True


def remove(state: BundleState, bundle: Bundle) -> None:
    """``doit clean``: remove the finished files, if they are still as we left them. The cache keeps all that was fetched."""
    finished = read_finished(state.output)
    for file in finished.files if finished else ():
        if file.is_in_place:
            files.remove(Path(file.name))
    if bundle.output.is_archive:
        bundle.output.checksum_file.unlink(missing_ok=True)
        for path in (*parity.files_beside(bundle.output.destination), *slip.files_beside(bundle.output.destination)):
            path.unlink()
    state.output.unlink(missing_ok=True)


def is_current(cache: Cache, state: BundleState, bundle: Bundle) -> bool:
    """Whether all files are in place, with their checksums."""
    packed, finished = read_packed(state.packed), read_finished(state.output)
    if packed is None or finished is None or finished.files != packed.files or state.journal.exists():
        return False
    if bundle.is_cache:
        return is_published(cache, state)
    return all(file.is_in_place for file in packed.files) and _has_checksums(bundle, packed)


def _checksum_lines(packed: Sequence[PackedFile]) -> bytes:
    return checksums.dump((Path(file.name).name, file.sha256) for file in packed)


def _into_place(file: PackedFile, no_readers: NoReaders) -> None:
    """Rename, unless that was done before the journal was found. A folder that is in the way makes room first."""
    temporary, name = Path(file.temporary), Path(file.name)
    if not file.is_waiting:
        return
    if not name.is_dir():
        temporary.rename(name)
        return
    with no_readers(name):
        old = files.temporary_beside(name.with_name(f"old-{name.name}"))
        files.remove(old)
        name.rename(old)
        temporary.rename(name)
        files.remove(old)


def _stale(bundle: Bundle, recorded: Finished | None, packed: Sequence[PackedFile]) -> list[str]:
    """The files of the earlier bundle that the new one does not replace by name. Raises EnvironmentProblem for other files.

    Its recovery files and its slip are among them, unless the archive is the one that they were made for.
    """
    if bundle.is_cache:
        return []
    is_same = recorded is not None and recorded.files == tuple(packed)
    archive = bundle.output.destination
    of_it = [] if is_same else [str(path) for path in (*parity.files_beside(archive), *slip.files_beside(archive))]
    found = files_at(bundle.output, recorded)
    found.refuse_foreign()
    names = {file.name for file in packed}
    stale = [str(path) for path in found.earlier if str(path) not in names] + of_it
    return stale if bundle.output.is_archive or not stale else [*stale, str(bundle.output.checksum_file)]


def _checksum_path(bundle: Bundle) -> str:
    return str(bundle.output.checksum_file) if bundle.output.is_archive else ""


def _has_checksums(bundle: Bundle, packed: Packed) -> bool:
    if not bundle.output.is_archive:
        return True
    try:
        return bundle.output.checksum_file.read_bytes() == _checksum_lines(packed.files)
    except OSError:
        return False
