"""``image-tools cache``: what is in a cache and which bundle needs it; removing what none needs.

Prints text or JSON on standard output. Raises UsageError, EnvironmentProblem.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.acts.bundle_use import BundleUse
from pipeline.acts.prune import Inventory, Unused, prune, take_inventory
from pipeline.cli.arguments import JSON
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.config.flag import Flag
from pipeline.config.settings import KEYS, absolute
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import EXIT_OK
from pipeline.core.file_lock import LockHolder, lock_holder
from pipeline.storage import locks
from pipeline.storage.cache import Cache
from pipeline.ui.terminal import harmless


def _info(given: Given, operands: tuple[str, ...]) -> int:
    root = absolute(given.text("cache"), Path.cwd(), "cache")
    inventory = take_inventory(root)
    holder = lock_holder(inventory.cache.lock_file)
    if given.switch("json"):
        print(json.dumps(_document(inventory, holder), indent=1))
        return EXIT_OK
    _print(f"{root}: {len(inventory.blobs)} blobs, {bytes_text(inventory.size)}")
    if holder:
        _print(f"in use by process {holder.pid}, since {holder.since}")
    for use in inventory.bundles:
        _print("", *_described(inventory, use))
    _print("", f"in no bundle: {_counted(inventory.unused)}")
    if not all(use.is_known for use in inventory.bundles):
        _print("(of a bundle something is damaged, so that only temporary files can be told; the next save mends it)")
    elif inventory.unused:
        _print("'image-tools cache prune' removes it")
    return EXIT_OK


def _prune(given: Given, operands: tuple[str, ...]) -> int:
    root = absolute(given.text("cache"), Path.cwd(), "cache")
    forgotten = [name for name in given.text("forget").split(",") if name]
    cache = Cache(root)
    cache.check()
    if not cache.state.is_dir():
        take_inventory(root)  # raises where there is no cache; otherwise there is one that knows no bundle
    if given.switch("dry-run"):
        _report(take_inventory(root, forgotten), "would remove", is_verbose=given.switch("v"))
        return EXIT_OK
    wait = given.switch("wait")
    with locks.lock_cache(cache, wait=wait), locks.no_readers(cache.root, wait=wait):
        inventory = take_inventory(root, forgotten)
        prune(inventory)
    _print(f"removed {_counted(inventory.unused)}")
    return EXIT_OK


_CACHE = replace(KEYS["cache"], help="cache folder")
INFO = Body(run=_info, flags=(_CACHE, JSON), examples=("image-tools cache info",))
PRUNE = Body(
    run=_prune,
    flags=(
        _CACHE,
        Flag("dry-run", False, "print what would be removed, and remove nothing"),
        Flag("forget", "", "bundles to forget first, by destination or id, separate with ','; their archives stay"),
        Flag("v", False, "with -dry-run: name all that would be removed", long="verbose"),
        Flag("wait", False, "wait while a run uses the cache"),
    ),
    examples=("image-tools cache prune -dry-run", "image-tools cache prune -forget saved-images.tar.gz"),
)


def _report(inventory: Inventory, verb: str, *, is_verbose: bool) -> None:
    """A sum by kind; ``is_verbose``, every name, too."""
    unused = inventory.unused
    _print(f"{verb} {_counted(unused)}")
    if not is_verbose:
        if unused:
            _print("-v names all of it")
        return
    for path in (*unused.temporary, *unused.folders, *unused.records, *unused.blobs):
        _print(f"  {_relative(path, inventory.cache.root)}")


def _described(inventory: Inventory, use: BundleUse) -> list[str]:
    state = {"there": "there", "gone": "not at its place any more", "never made": "not made yet"}[use.archive]
    alone = bytes_text(inventory.alone(use))
    return [
        str(use.destination or use.id),
        f"  id           {use.id}",
        f"  images       {use.images}" if use.is_known else "  images       not known: something is damaged",
        f"  size         {bytes_text(use.size)} in {len(use.blobs)} blobs, {alone} in no other bundle",
        f"  last run     {_last_run(use)}",
        f"  last saved   {_time(use.last_saved) if use.last_saved else 'never'}",
        f"  archive      {state}",
    ]


def _last_run(use: BundleUse) -> str:
    run = use.last_run
    if run is None:
        return "was cut short; the same save goes on with it"
    if not run.failed:
        return f"{_time(run.ended)}: {run.saved} images saved"
    return f"{_time(run.ended)}: {run.saved} images saved, {run.failed} failed"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _document(inventory: Inventory, holder: LockHolder | None) -> dict[str, Any]:
    unused = inventory.unused
    return {
        "cache": str(inventory.cache.root),
        "blobs": len(inventory.blobs),
        "size": inventory.size,
        "in_use": {"pid": holder.pid, "since": holder.since} if holder else None,
        "bundles": [
            {
                "id": use.id,
                "destination": str(use.destination) if use.destination else None,
                "images": use.images,
                "blobs": len(use.blobs),
                "size": use.size,
                "size_alone": inventory.alone(use),
                "last_run": {"ended": _rfc3339(run.ended), "saved": run.saved, "failed": run.failed}
                if (run := use.last_run)
                else None,
                "last_saved": _rfc3339(use.last_saved) if use.last_saved else None,
                "archive": use.archive,
                "damaged": not use.is_known,
            }
            for use in inventory.bundles
        ],
        "unused": {
            "blobs": len(unused.blobs),
            "folders": len(unused.folders),
            "records": len(unused.records),
            "temporary": len(unused.temporary),
            "size": unused.size,
        },
    }


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _counted(unused: Unused) -> str:
    if not unused:
        return "nothing"
    counts = {
        "blobs": len(unused.blobs),
        "image folders": len(unused.folders),
        "records": len(unused.records),
        "temporary files": len(unused.temporary),
    }
    return f"{', '.join(f'{number} {what}' for what, number in counts.items() if number)}; {bytes_text(unused.size)}"


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _print(*lines: str) -> None:
    print(*map(harmless, lines), sep="\n")
