"""``image-tools cache``: what is in a cache and which bundle needs it; removing what none needs.

In come the arguments after ``cache``, out goes text or JSON on standard output. Raises UsageError, EnvironmentProblem.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.acts.prune import BundleUse, Inventory, Unused, prune, take_inventory
from pipeline.cli.go_flags import Flag, FlagSet, HelpWanted, Value
from pipeline.config import settings
from pipeline.core.bundle import DEFAULT_CACHE
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.core.file_lock import LockHolder, lock_holder
from pipeline.storage import locks
from pipeline.storage.cache import Cache
from pipeline.ui.terminal import bytes_text, harmless, start_logging

USAGE = """\
Usage:
  image-tools cache info          what belongs to which bundle, and what to none
  image-tools cache prune         remove what belongs to no bundle
  image-tools cache COMMAND -h    all flags of a command

A bundle is what was saved to one destination; it is known until it is forgotten, wherever its archive has gone.
"""
EXAMPLES = """
Examples:
  image-tools cache info
  image-tools cache prune -dry-run
  image-tools cache prune -forget saved-images.tar.gz
"""
_CACHE = Flag("cache", DEFAULT_CACHE, "cache folder")
_INFO = FlagSet("cache info", (_CACHE, Flag("json", False, "print one JSON document")))
_PRUNE = FlagSet(
    "cache prune",
    (
        _CACHE,
        Flag("dry-run", False, "print what would be removed, and remove nothing"),
        Flag("forget", "", "bundles to forget first, by destination or id, separate with ','; their archives stay"),
        Flag("wait", False, "wait while a run uses the cache"),
    ),
)
FLAG_SETS = {flags.command: flags for flags in (_INFO, _PRUNE)}


def run_cache(arguments: Sequence[str]) -> int:
    """Run one of the commands. Its exit code."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("-h", ())
    if name in ("-h", "-help", "--help", "help"):
        print(USAGE + EXAMPLES, end="")
        return EXIT_OK
    commands = {"info": (_INFO, _info), "prune": (_PRUNE, _prune)}
    if name not in commands:
        raise UsageError(f"there is no command 'cache {name}'\n{USAGE.rstrip()}")
    flags, command = commands[name]
    try:
        values, unexpected = flags.parse(rest)
    except HelpWanted:
        print(flags.usage() + EXAMPLES, end="")
        return EXIT_OK
    if unexpected:
        raise UsageError(f"unexpected argument '{unexpected[0]}'\nTIP: see 'image-tools cache {name} -h'")
    start_logging()
    command(settings.absolute(str(values.get("cache", DEFAULT_CACHE)), Path.cwd()), values)
    return EXIT_OK


def _info(root: Path, values: Mapping[str, Value]) -> None:
    inventory = take_inventory(root)
    holder = lock_holder(inventory.cache.lock_file)
    if values.get("json"):
        print(json.dumps(_document(inventory, holder), indent=1))
        return
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


def _prune(root: Path, values: Mapping[str, Value]) -> None:
    dry_run = bool(values.get("dry-run"))
    forgotten = [name for name in str(values.get("forget", "")).split(",") if name]
    cache = Cache(root)
    cache.check()
    if not cache.state.is_dir():
        take_inventory(root)  # raises where there is no cache; otherwise there is one that knows no bundle
    if dry_run:
        _report(take_inventory(root, forgotten), "would remove")
        return
    wait = bool(values.get("wait"))
    with locks.lock_cache(cache, wait=wait), locks.no_readers(cache.root, wait=wait):
        inventory = take_inventory(root, forgotten)
        prune(inventory)
    _print(f"removed {_counted(inventory.unused)}")


def _report(inventory: Inventory, verb: str) -> None:
    unused = inventory.unused
    _print(f"{verb} {_counted(unused)}")
    for path in (*unused.temporary, *unused.folders, *unused.records, *unused.blobs):
        _print(f"  {_relative(path, inventory.cache.root)}")


def _described(inventory: Inventory, use: BundleUse) -> list[str]:
    saved = f"{use.last_saved:%Y-%m-%d %H:%M:%S} UTC" if use.last_saved else "never"
    state = {"there": "there", "gone": "not at its place any more", "never made": "not made yet"}[use.archive]
    alone = bytes_text(inventory.alone(use))
    return [
        str(use.destination or use.id),
        f"  id           {use.id}",
        f"  images       {use.images}" if use.is_known else "  images       not known: something is damaged",
        f"  size         {bytes_text(use.size)} in {len(use.blobs)} blobs, {alone} in no other bundle",
        f"  last saved   {saved}",
        f"  archive      {state}",
    ]


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
                "last_saved": f"{use.last_saved:%Y-%m-%dT%H:%M:%SZ}" if use.last_saved else None,
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
