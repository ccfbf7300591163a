"""What is merged: which of the sources say what the result is, and which only give layers.

Without a delta all say it. With one, the last delta does (and its fellow shards): it lists all images of its release, and the
bundles before it have the layers. Parts of one lock belong together, and all of them must be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import bounded_json
from pipeline.core.errors import ArchiveError, InputError
from pipeline.reader.contents import Store, open_store
from pipeline.storage import bundle_info, delta
from pipeline.storage.bundle_info import BundleInfo, ShardInfo
from pipeline.storage.bundle_state import IMAGES_LIST
from pipeline.storage.image_layout import INDEX


@dataclass(frozen=True, kw_only=True)
class Source:
    """A bundle, open. ``images`` is its list of images, ``entries`` are those of its ``index.json``, referrers too."""

    place: str
    store: Store
    info: BundleInfo
    images: dict[str, Any]
    entries: tuple[dict[str, Any], ...]
    is_delta: bool


@dataclass(frozen=True, kw_only=True)
class Merging:
    """``tellers`` say what the result is; all ``sources`` give blobs."""

    sources: tuple[Source, ...]
    tellers: tuple[Source, ...]


def open_sources(paths: Sequence[Path], *, force: bool = False) -> Merging:
    """Raises ArchiveError for what cannot be read, InputError for parts that are missing or failed (unless ``force``)."""
    sources = tuple(_open(path) for path in paths)
    deltas = [source for source in sources if source.is_delta]
    tellers = tuple(source for source in sources if not deltas or _is_with(source, deltas[-1]))
    problems = _missing_parts(tellers)
    if problems and not force:
        raise InputError(
            problems,
            tip="merge with all parts; what failed in one is saved by the same command there; -force merges what there is",
        )
    return Merging(sources=sources, tellers=tellers)


def _open(path: Path) -> Source:
    store = open_store(path)
    data = store.metadata(bundle_info.FILE)
    if data is None:
        raise ArchiveError(
            f"{path} does not say what it was made of: it was made by another program, or by an earlier version of this one",
            tip="save it again with this version; with its cache, nothing is fetched",
        )
    changes = store.metadata(delta.FILE)
    images = dict(delta.parse(changes, store.place).images) if changes is not None else _document(store, IMAGES_LIST)
    entries = _document(store, INDEX).get("manifests")
    info = bundle_info.parse(data, store.place)
    listed = images.get("List")
    if not isinstance(entries, list) or not isinstance(listed, list) or len(listed) != len(info.images):
        raise ArchiveError(f"{path} is damaged: its lists of images do not agree", tip="copy it again")
    return Source(place=str(path), store=store, info=info, images=images, entries=tuple(entries), is_delta=changes is not None)


def _document(store: Store, name: str) -> dict[str, Any]:
    try:
        document = bounded_json.loads(store.metadata(name) or b"")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ArchiveError(f"{name} in {store.place} is damaged: it holds no JSON object", tip="copy it again")
    return document


def _is_with(source: Source, last: Source) -> bool:
    """Whether it is the ``last`` delta, or a part of the same."""
    mine, other = source.info.shard, last.info.shard
    if source is last or mine is None or other is None:
        return source is last
    return source.is_delta and (mine.lock, mine.count) == (other.lock, other.count)


def _missing_parts(sources: Sequence[Source]) -> list[str]:
    found: dict[tuple[str, int], dict[int, tuple[Source, ShardInfo]]] = {}
    for source in sources:
        shard = source.info.shard
        if shard is not None:
            found.setdefault((str(shard.lock), shard.count), {})[shard.number] = source, shard
    problems = []
    for (lock, count), parts in found.items():
        missing = [str(number) for number in range(1, count + 1) if number not in parts]
        if missing:
            problems.append(
                f"of {count} parts of the lock {lock}, {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            )
        for source, shard in parts.values():
            problems += [
                f"{source.place}: part {shard.number} of {count} lacks {name}, which failed there" for name in shard.failed
            ]
    return problems
