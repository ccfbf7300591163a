"""What lies at the destination of an archive: the earlier bundle, which a save replaces as one, and what is not of it.

A reader takes every ``NAME.partN`` for a volume of ``NAME``, whoever wrote it. So a save must know all of them before it
begins. The earlier bundle is what our record of it names, what its checksum file names, and volumes that can be read as one
set; its cache may have been removed, or be another one. All else is left alone, and refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.bundle import Output
from pipeline.core.errors import ArchiveError, EnvironmentProblem
from pipeline.storage import checksums
from pipeline.storage.archive import volumes_beside
from pipeline.storage.archive.volume_reader import VolumeSet, find, read_trailer
from pipeline.storage.records.packed import Finished

SHOWN = 5
"""Files that are named in a message; the others are counted."""


@dataclass(frozen=True)
class FilesAt:
    """``earlier`` are the files of the earlier bundle that are there; ``foreign`` those that a new bundle cannot lie beside."""

    earlier: tuple[Path, ...]
    foreign: tuple[Path, ...]

    def refuse_foreign(self) -> None:
        """Raises EnvironmentProblem that names them."""
        if self.foreign:
            more = len(self.foreign) - SHOWN
            names = ", ".join(map(str, self.foreign[:SHOWN])) + (f" and {more} more" if more > 0 else "")
            raise EnvironmentProblem(
                f"these files would be read as parts of the new bundle, and are of no bundle that is known: {names}",
                tip="remove them or move them away, or name another file with -d",
            )


def files_at(output: Output, recorded: Finished | None) -> FilesAt:
    """Look at the destination. ``recorded`` is what our last save left there. Nothing is read whole, nothing is written."""
    archive = output.destination
    present = _present(archive)
    volumes = [path for path in present if path != archive]
    known = {Path(file.name) for file in recorded.files if file.is_in_place} if recorded else set()
    known |= _with_checksums(output)
    if volumes and not known.issuperset(volumes) and _is_whole(lambda: find(volumes[0])):
        known.update(volumes)
    if archive not in known and archive in present and _is_whole(lambda: VolumeSet((archive,))):
        known.add(archive)
    foreign = [path for path in present if path not in known]
    if not output.is_archive:
        foreign = []
    elif output.part_size is None:
        # One file replaces whatever has its name: that is what -d says.
        foreign = [path for path in foreign if path != archive]
    return FilesAt(tuple(path for path in present if path in known), tuple(foreign))


def check_readable(destination: Path, recorded: Finished) -> None:
    """Whether a reader finds exactly the files of the bundle, and nothing missing. Raises EnvironmentProblem."""
    names = {file.name for file in recorded.files}
    if strangers := [str(path) for path in _present(destination) if str(path) not in names]:
        tip = "see to it that nothing else writes there, and run the same command again"
        raise EnvironmentProblem(f"{destination} cannot be read back: {', '.join(strangers)} came in between", tip=tip)
    try:
        read_trailer(find(destination))
    except ArchiveError as error:
        raise EnvironmentProblem(f"{destination} cannot be read back: {error.message}", tip=error.tip) from error


def _present(destination: Path) -> list[Path]:
    """What a reader may take for the archive or a volume of it."""
    return [*volumes_beside(destination), *([destination] if destination.is_file() else [])]


def _with_checksums(output: Output) -> set[Path]:
    """What the checksum file beside the destination names."""
    return {output.destination.with_name(name) for name in checksums.read(output.checksum_file)}


def _is_whole(opened: Callable[[], VolumeSet]) -> bool:
    """Whether what ``opened`` gives is an archive of ours with nothing missing, by its end and its sizes."""
    try:
        read_trailer(opened())
    except (ArchiveError, OSError):
        return False
    return True
