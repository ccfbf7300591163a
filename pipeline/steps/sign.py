"""Act 3, at its end: a signed slip beside the archive (``-sign``).

Takes the finished files; leaves ``NAME.slip.json`` with its signature beside them, and a record (``slip.json``) of both.
Guarantees: what is signed was read back from the disk, and is what this save wrote.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pipeline.core import files
from pipeline.core.bundle import Bundle
from pipeline.core.errors import EnvironmentProblem
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import Digest
from pipeline.storage import delta, slip
from pipeline.storage.archive import open_archive
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.records.packed import Packed, PackedFile, read_finished, read_packed


def sign(state: BundleState, bundle: Bundle, epoch: int | None, interruption: Interruption) -> None:
    """Raises EnvironmentProblem (ssh-keygen, disk), Interrupted."""
    finished, key = read_finished(state.output), bundle.output.sign
    assert finished is not None and key is not None, "split wrote it, and a slip was asked for"
    archive = bundle.output.destination
    with open_archive(Path(finished.files[0].name)) as reader:
        measured = slip.measure(reader, interruption)
    if [volume["sha256"] for volume in measured["volumes"]] != [file.sha256 for file in finished.files]:
        tip = "save again with -verify"
        raise EnvironmentProblem(f"{archive} is not what was written: something else has changed it", tip=tip)
    made = slip.write(archive, {**_about(state, bundle, finished.references, epoch), **measured}, key)
    statuses = [(path, path.stat()) for path in made]
    packed = tuple(PackedFile("", str(path), status.st_size, status.st_mtime_ns) for path, status in statuses)
    files.write_atomic(state.slip, files.dump_sealed(Packed(packed, {}).to_json()))
    log.info("signed %s", made[0])


def is_current(state: BundleState) -> bool:
    packed = read_packed(state.slip)
    return packed is not None and bool(packed.files) and all(file.is_in_place for file in packed.files)


def _about(state: BundleState, bundle: Bundle, references: tuple[str, ...], epoch: int | None) -> dict[str, Any]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch if epoch is not None else time.time()))
    return {
        "kind": "image-tools slip",
        "version": 1,
        "archive": bundle.output.destination.name,
        "created": created,
        "note": bundle.output.note,
        "images": len(references),
        "list": _digest(state.kept_list),
        "base": _bases(state),
        "lock": _digest(bundle.lock_file) if bundle.lock_file is not None else None,
    }


def _bases(state: BundleState) -> list[str]:
    """Of a delta: the inventories that it was made against."""
    if not state.delta.exists():
        return []
    return [str(base.digest) for base in delta.parse(state.delta.read_bytes(), str(state.delta)).bases]


def _digest(path: Path) -> str | None:
    return str(Digest.of(path.read_bytes())) if path.is_file() else None
