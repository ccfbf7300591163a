"""Which run may do what at the same time: one save on a cache, one save to a destination, readers of a cache but no prune.

All locks are freed however their holder ends. Each raises EnvironmentProblem, naming who is in the way, unless it may wait.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.core import file_lock, files
from pipeline.core.file_lock import Sleep
from pipeline.storage.cache import SHARE, Cache


def lock_cache(cache: Cache, *, wait: bool = False, sleep: Sleep = time.sleep) -> contextlib.AbstractContextManager[None]:
    """For who writes to a cache or removes from it."""
    tip = "wait until it ends (-wait does so), or name another folder with -cache"
    return file_lock.exclusive_lock(cache.lock_file, f"the cache {cache.root}", tip=tip, wait=wait, sleep=sleep)


def lock_destination(
    destination: Path, *, wait: bool = False, sleep: Sleep = time.sleep
) -> contextlib.AbstractContextManager[None]:
    """For who writes a bundle: runs on different caches may have one destination. The lock file lies beside it meanwhile."""
    return file_lock.exclusive_lock(
        files.lock_beside(destination),
        f"the destination {destination}",
        tip="wait until it ends (-wait does so), or name another file with -d",
        wait=wait,
        sleep=sleep,
        is_temporary=True,
    )


def lock_load(lock_file: Path, *, wait: bool = False, sleep: Sleep = time.sleep) -> contextlib.AbstractContextManager[None]:
    """For who loads one source into one registry, and remembers in the folder of ``lock_file`` how far it has come."""
    tip = "wait until it ends (-wait does so), or name another folder with -cache"
    return file_lock.exclusive_lock(lock_file, f"the folder {lock_file.parent}", tip=tip, wait=wait, sleep=sleep)


@contextlib.contextmanager
def reading(source: Path, *, sleep: Sleep = time.sleep) -> Iterator[None]:
    """For who reads a cache or another folder of blobs: nothing is removed from it meanwhile. An archive needs no lock."""
    with contextlib.ExitStack() as stack:
        for folder in _blob_folders(source):
            stack.enter_context(file_lock.shared_lock(folder, str(folder.parent), sleep=sleep))
        yield


@contextlib.contextmanager
def no_readers(folder: Path, *, wait: bool = False, sleep: Sleep = time.sleep) -> Iterator[None]:
    """For who removes blobs from a folder that others may be reading."""
    with contextlib.ExitStack() as stack:
        for blobs in _blob_folders(folder):
            tip = "wait until it ends (-wait does so)"
            stack.enter_context(file_lock.no_readers(blobs, str(folder), tip=tip, wait=wait, sleep=sleep))
        yield


def _blob_folders(source: Path) -> list[Path]:
    """The blobs of a bundle's folder, or of one that was unpacked into ``source``."""
    try:
        folders = [source, *sorted(source.iterdir())] if source.is_dir() else []
    except OSError:
        return []
    found = [folder / SHARE for folder in folders if (folder / SHARE).is_dir()]
    return found[:1]
