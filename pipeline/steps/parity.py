"""Act 3, after the files have their names: recovery files beside the archive (``-parity``).

Takes the finished files; leaves ``NAME.par2`` and ``NAME.vol….par2`` beside them, and a record (``parity.json``).
Guarantees: recovery files of another archive are gone before the new ones have their names; none is half written.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.core import files
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import Bundle
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.storage import parity
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.records.packed import Packed, PackedFile, read_finished, read_packed


def make(state: BundleState, bundle: Bundle, interruption: Interruption) -> None:
    """Raises EnvironmentProblem (par2, disk), Interrupted."""
    finished = read_finished(state.output)
    assert finished is not None and bundle.output.parity, "split wrote it, and parity was asked for"
    volumes = [Path(file.name) for file in finished.files]
    shape = parity.shape([file.size for file in finished.files], bundle.output.parity, bundle.output.parity_blocks)
    archive = bundle.output.destination
    folder = temporary_folder(archive)
    files.remove(folder)
    folder.mkdir()
    try:
        parity.create(volumes, folder / f"{archive.name}.par2", shape, interruption)
        made = parity.files_beside(folder / archive.name)
        for old in parity.files_beside(archive):
            old.unlink()
        files.sync_file_system(folder)
        places = [archive.with_name(path.name) for path in made]
        for path, place in zip(made, places, strict=True):
            path.rename(place)
    finally:
        files.remove(folder)
    files.sync_folder(archive.parent)
    sizes = [(place, place.stat()) for place in places]
    packed = tuple(PackedFile("", str(place), status.st_size, status.st_mtime_ns) for place, status in sizes)
    files.write_atomic(state.parity, files.dump_sealed(Packed(packed, {}).to_json()))
    log.info(
        "%d recovery files: %s of %s blocks of %s may be lost",
        *(len(places), f"{shape.recovery:,}", f"{shape.blocks:,}", bytes_text(shape.block_size)),
    )


def temporary_folder(archive: Path) -> Path:
    return files.temporary_beside(archive.with_name(f"{archive.name}.par2"))


def is_current(state: BundleState) -> bool:
    """Whether all recovery files are in place."""
    packed = read_packed(state.parity)
    return packed is not None and bool(packed.files) and all(file.is_in_place for file in packed.files)
