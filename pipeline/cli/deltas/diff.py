"""``image-tools diff OLD NEW``: of lists, locks, inventories and bundles, in any pairing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.arguments import DEBUG, JSON, print_json, print_lines, source
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.lists import input_files
from pipeline.config.inputs import Options
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED, ImageToolsError, InputError, UsageError
from pipeline.core.reference import Reference
from pipeline.reader.difference import Difference, State, difference, of_inventory, of_list
from pipeline.reader.inventories import read_base
from pipeline.storage import image_lock, inventory
from pipeline.storage.archive import volumes_beside
from pipeline.storage.inventory import Inventory


def _run(given: Given, operands: tuple[str, ...]) -> int:
    if len(operands) != 2:
        raise UsageError("two things are compared: OLD and NEW", tip="see 'image-tools diff -h'")
    read = [_read(source(text)) for text in operands]
    bare = any(isinstance(each, Inventory) and each.names == inventory.TARGET for each in read)
    old, new = (_state(each, bare) for each in read)
    found = difference(old, new)
    if given.switch("json"):
        print_json(found.to_json())
    else:
        print_lines(*_lines(found))
    return EXIT_SOME_FAILED if found else EXIT_OK


def _read(path: Path) -> Inventory | list[Reference]:
    """An inventory, or of what is none, a list. Raises InputError, ArchiveError."""
    if not path.exists() and not volumes_beside(path):
        raise InputError([f"{path}: there is no such file"])
    if path.name.endswith(image_lock.SUFFIX) or not _is_text(path):
        return read_base(path)
    try:
        return inventory.read(path)
    except ImageToolsError:
        return [line.reference for line in input_files.read([str(path)], Options()).lines]


def _is_text(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(1024)
    return b"\0" not in start and not start.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd"))


def _state(found: Inventory | list[Reference], bare: bool) -> State:
    return of_inventory(found, bare=bare) if isinstance(found, Inventory) else of_list(found, bare=bare)


def _lines(found: Difference) -> Iterator[str]:
    yield from (f"added    {name}" for name in found.added)
    yield from (f"removed  {name}" for name in found.removed)
    for name, old, new in found.moved:
        yield f"moved    {name}  {old.short} -> {new.short}"
    counts = f"{len(found.added)} added, {len(found.removed)} removed, {len(found.moved)} moved"
    if found.size is None or found.blobs is None:
        yield counts if found else "no difference"
        return
    carried = f"{found.blobs} blobs, {bytes_text(found.size)}, are new: about what a delta carries"
    yield f"{counts}; {carried}" if found else f"no difference in images; {carried}"


BODY = Body(
    run=_run,
    flags=(DEBUG, JSON),
    about="""
image-tools diff OLD NEW says which images came, went, or moved to another digest, and how many bytes
that is. OLD and NEW are lists, locks, inventories, receipts, or bundles. Exit code 1 where they differ.
""",
    examples=(
        "image-tools diff may.txt.lock.yaml june.txt.lock.yaml",
        "image-tools diff may.tar.gz.receipt.json june.tar.gz -json",
    ),
    takes_files=True,
)
