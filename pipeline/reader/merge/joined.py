"""The one list of images that a merge results in, and the metadata of its archive: as a save of the whole writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from pipeline.core import files
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import ArchiveError, ContentError, InputError
from pipeline.core.oci import REF_NAME, Descriptor, Digest
from pipeline.core.reference import parse
from pipeline.reader import listing
from pipeline.reader.contents import Contents
from pipeline.reader.contents.overlay import OverlayStore
from pipeline.reader.listing import look_at
from pipeline.reader.merge.sources import Merging, Source
from pipeline.storage import bundle_info, bundle_layout
from pipeline.storage.archive import ArchiveLayout
from pipeline.storage.bundle_info import BundleInfo, ListedImage, Packing
from pipeline.storage.bundle_layout import ImageFiles
from pipeline.storage.bundle_state import IMAGES, IMAGES_LIST, LISTING
from pipeline.storage.image_layout import INDEX, LAYOUT_FILE, OCI_LAYOUT, layout_index

SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Joined:
    """``layout`` is that of the archive; ``metadata`` has the content of its files, by path in the archive."""

    layout: ArchiveLayout
    metadata: Mapping[str, bytes]
    images: int


@dataclass(frozen=True, kw_only=True)
class _Image:
    """``listed`` and ``entry`` are what the source's lists say of it; ``listed`` is None of what came along."""

    source: Source
    name: str
    entry: Mapping[str, Any]
    info: ListedImage | None = None
    listed: Any = None


def join(merging: Merging, packing: Packing) -> Joined:
    """Raises InputError for images that contradict each other, and layers that no source has; ArchiveError for damage."""
    images = _one_list(merging)
    index = layout_index([dict(image.entry) for image in images])
    contents = Contents(_Merged(merging, index))
    entries = [Descriptor.from_json(dict(image.entry)) for image in images]
    try:
        blobs = bundle_layout.in_order(contents.closure(entry).values() for entry in entries)
    except ContentError as error:
        raise ArchiveError(error.message) from error
    _require(contents, blobs.values())
    time = max(str(source.images.get("SavedTime", "")) for source in merging.tellers)
    listed = {
        **merging.tellers[0].images,
        "List": [image.listed for image in images if image.listed is not None],
        "SavedTime": time,
    }
    folders = {parse(image.name).folder: _platforms(image) for image in images}
    info = BundleInfo(
        packing=packing,
        epoch=_epoch(merging.tellers),
        images=tuple(replace(info, position=number) for number, info in enumerate(_infos(images), start=1)),
        folders=folders,
    )
    root_files = {
        IMAGES_LIST: files.dump_json(listed),
        bundle_info.FILE: bundle_info.dump(info),
        LISTING: listing.dump(look_at(contents)),
    }
    image_files = [_files(image, folder, platforms) for image, (folder, platforms) in zip(images, folders.items(), strict=True)]
    members = tuple(bundle_layout.members(index, root_files, image_files, blobs.values()))
    mtime = int(datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone(timezone.utc).timestamp())
    layout = ArchiveLayout(mtime, members)
    return Joined(layout=layout, metadata=_metadata(layout.root, index, root_files, image_files), images=len(info.images))


class _Merged(OverlayStore):
    """All sources, with the ``index.json`` of the result."""

    def __init__(self, merging: Merging, index: bytes) -> None:
        super().__init__(merging.sources[0].store, [source.store for source in merging.sources[1:]])
        self._index = index

    def metadata(self, path: str) -> bytes | None:
        return self._index if path == INDEX else None


def _one_list(merging: Merging) -> list[_Image]:
    """The images in the order of the list, then what came along with them, each once."""
    listed: dict[str, tuple[tuple[int, int], _Image]] = {}
    along: dict[str, _Image] = {}
    problems: list[str] = []
    releases: dict[str, int] = {}
    for source in merging.tellers:
        entries = {str(entry.get("annotations", {}).get(REF_NAME, "")): entry for entry in source.entries}
        release = releases.setdefault(str(source.info.shard.lock) if source.info.shard else source.place, len(releases))
        for info, item in zip(source.info.images, source.images["List"], strict=True):
            entry = entries.pop(info.reference, None)
            if entry is None:
                raise ArchiveError(f"{source.place} is damaged: it has no {info.reference}", tip="copy it again")
            image = _Image(source=source, name=info.reference, entry=entry, info=info, listed=item)
            _, first = listed.setdefault(info.reference, ((release, info.position), image))
            problems += _contradictions(first, image)
        for name, entry in entries.items():
            along.setdefault(name, _Image(source=source, name=name, entry=entry))
    if problems:
        raise InputError(
            ["the bundles contradict each other", *problems], tip="leave one of the bundles out, or save both lists as one"
        )
    ordered = [image for _, image in sorted(listed.values(), key=lambda item: item[0])]
    names = dict.fromkeys(name for image in ordered for name in (image.info.referrers if image.info else ()))
    lacking = [name for name in names if name not in along and name not in listed]
    if lacking:
        raise ArchiveError(f"{lacking[0]}, which belongs to an image, is in none of the bundles", tip="copy them again")
    return [*ordered, *(along[name] for name in names if name not in listed)]


def _contradictions(first: _Image, other: _Image) -> Iterator[str]:
    if first is other or first.info is None or other.info is None:
        return
    places = f"{first.source.place} and {other.source.place}"
    if first.entry.get("digest") != other.entry.get("digest"):
        yield f"  {first.name} is {first.entry.get('digest')} and {other.entry.get('digest')} in {places}"
    elif first.info.asked != other.info.asked:
        yield f"  {first.name} was asked for as {first.info.asked} and as {other.info.asked} in {places}"


def _require(contents: Contents, blobs: Iterable[Descriptor]) -> None:
    missing: dict[Digest, int] = {blob.digest: blob.size for blob in blobs if contents.size(blob.digest) is None}
    if missing:
        shown = [f"  {digest} ({bytes_text(size)})" for digest, size in list(missing.items())[:SHOWN]]
        more = len(missing) - SHOWN
        raise InputError(
            [f"none of the bundles has {len(missing)} of the layers", *shown, *([f"  and {more} more"] if more > 0 else [])],
            tip="a delta is merged with the bundles that it was made against: name them, too",
        )


def _infos(images: Sequence[_Image]) -> Iterator[ListedImage]:
    return (image.info for image in images if image.info is not None)


def _epoch(sources: Sequence[Source]) -> int | None:
    """That of all, where they have one."""
    epochs = {source.info.epoch for source in sources}
    return epochs.pop() if len(epochs) == 1 else None


def _platforms(image: _Image) -> tuple[str, ...]:
    folder = parse(image.name).folder
    found = image.source.info.folders.get(folder)
    if found is None:
        raise ArchiveError(f"{image.source.place} is damaged: it has no folder of {image.name}", tip="copy it again")
    return found


def _files(image: _Image, folder: str, platforms: Sequence[str]) -> ImageFiles:
    def read(path: str) -> bytes:
        data = image.source.store.metadata(path)
        if data is None:
            raise ArchiveError(f"{image.source.place} is damaged: it has no {path}", tip="copy it again")
        return data

    place = f"{IMAGES}/{folder}"
    return ImageFiles(
        folder=folder, index=read(f"{place}/{INDEX}"), platforms={each: read(f"{place}/{each}/{INDEX}") for each in platforms}
    )


def _metadata(root: str, index: bytes, root_files: Mapping[str, bytes], images: Iterable[ImageFiles]) -> dict[str, bytes]:
    found = {f"{root}/{INDEX}": index, f"{root}/{LAYOUT_FILE}": OCI_LAYOUT}
    found |= {f"{root}/{name}": data for name, data in root_files.items()}
    for image in images:
        layouts = {image.folder: image.index, **{f"{image.folder}/{name}": data for name, data in image.platforms.items()}}
        for folder, data in layouts.items():
            found[f"{root}/{IMAGES}/{folder}/{INDEX}"] = data
            found[f"{root}/{IMAGES}/{folder}/{LAYOUT_FILE}"] = OCI_LAYOUT
    return found
