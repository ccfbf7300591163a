"""Act 3, first step: what the archive holds, in order.

Takes the images that were saved and their indexes, writes the bundle's root metadata (``index.json``,
``saved-images-list.json``) and the archive layout: every member with path, size, digest and mode. Guarantees: exactly the
closure of the bundle, nothing else that the cache holds; the same images give the same layout, to the byte, whatever the
number of jobs, the order of arrival and the folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from pipeline.core import files, oci
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.errors import ContentError
from pipeline.core.oci import Descriptor, Digest, Manifest
from pipeline.core.reference import Reference
from pipeline.reader import listing
from pipeline.reader.contents import Contents
from pipeline.reader.listing import look_at
from pipeline.steps.images.choose import PlatformImage
from pipeline.steps.images.chosen import ChosenImage
from pipeline.storage import bundle_info, bundle_layout
from pipeline.storage import delta as delta_document
from pipeline.storage.archive import ArchiveLayout
from pipeline.storage.bundle_info import BundleInfo, ListedImage, ShardInfo
from pipeline.storage.bundle_layout import ImageFiles
from pipeline.storage.bundle_state import IMAGES, LISTING, BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.delta import Base, Delta
from pipeline.storage.image_layout import INDEX, layout_index, read_layout_index

IMAGES_LIST_VERSION = "v1.1.0"
EARLIEST = datetime(1980, 1, 1, tzinfo=timezone.utc)
"""What FAT, and so zip and some unpackers, take for the beginning of time."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


def lay_out(
    cache: Cache, state: BundleState, bundle: Bundle, saved: Sequence[ChosenImage], epoch: int | None, base: Base | None
) -> None:
    """Write the bundle's metadata and archive layout. ``epoch`` is SOURCE_DATE_EPOCH. Raises ContentError.

    Of all in ``saved`` everything is here; the list of images names those that are listed, not their referrers. The layers
    that the ``base`` has are left out; manifests, configs and indexes are not.
    """
    listed = [item for item in saved if not item.is_referrer]
    entries = [image_entry(state, item.image) for item in saved]
    manifests = {
        (item.image.reference, platform.slug): platform_entry(cache, item.image, platform)
        for item in listed
        for platform in item.choice.platforms
    }
    time = datetime.fromtimestamp(epoch, timezone.utc) if epoch is not None else _newest(cache, manifests.values())
    blobs = bundle_layout.in_order(cache.closure(entry) for entry in entries)
    images_list = _images_list(listed, manifests, time)
    delta = _delta(cache, base, blobs, images_list) if base is not None else None
    files.write_if_changed(state.index, layout_index([entry.to_json() for entry in entries]))
    files.write_if_changed(state.images_list, files.dump_json(images_list))
    files.write_if_changed(state.info, bundle_info.dump(_info(bundle, saved, epoch)))
    if delta is not None:
        files.write_if_changed(state.delta, delta_document.dump(delta))
    else:
        files.remove(state.delta)
    list_file = state.images_list if delta is None else state.delta
    found = look_at(Contents(_LaidOut(cache, state, blobs, delta), parse=cache.parse))
    files.write_if_changed(state.listing, listing.dump(found))
    root_files = {
        list_file.name: list_file.read_bytes(),
        bundle_info.FILE: state.info.read_bytes(),
        LISTING: state.listing.read_bytes(),
    }
    packed = [blob for digest, blob in blobs.items() if delta is None or digest not in delta.absent]
    images = (_image_files(cache, state, item) for item in saved)
    members = tuple(bundle_layout.members(state.index.read_bytes(), root_files, images, packed))
    layout = ArchiveLayout(int(time.timestamp()), members, delta is not None)
    # In one line: there are thousands of members, and Python's fast encoder does not indent.
    files.write_atomic(state.archive_layout, json.dumps(layout.to_json()).encode())
    files.write_atomic(state.sums, files.dump_json(_sums(state)))


class _LaidOut:
    """The bundle as a ``Store``, before it is packed."""

    kind = "dir"

    def __init__(self, cache: Cache, state: BundleState, blobs: Mapping[Digest, Descriptor], delta: Delta | None) -> None:
        self.place = str(state.folder)
        self._cache = cache
        self._state = state
        self._blobs = blobs
        self._delta = delta

    def size(self, digest: Digest) -> int | None:
        is_absent = digest not in self._blobs or (self._delta is not None and digest in self._delta.absent)
        return None if is_absent else self._blobs[digest].size

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        data = self._cache.read(digest)  # a manifest or a config
        return iter((data[offset : None if length is None else offset + length],))

    def metadata(self, path: str) -> bytes | None:
        if path == delta_document.FILE and self._delta is not None:
            return self._state.delta.read_bytes()
        return self._state.index.read_bytes() if path == INDEX else None

    def blobs(self) -> Iterable[Digest]:
        return ()

    def has_changed(self) -> bool:
        return False


def is_current(state: BundleState) -> bool:
    """Whether what was written is as it was."""
    try:
        return bool(files.read_json(state.sums) == _sums(state))
    except OSError:
        return False


def _sums(state: BundleState) -> dict[str, str]:
    written = (
        state.index,
        state.images_list,
        state.info,
        state.listing,
        state.archive_layout,
        *([state.delta] if state.delta.exists() else []),
    )
    return {path.name: str(Digest.of(path.read_bytes())) for path in written}


def image_entry(state: BundleState, image: BundleImage) -> Descriptor:
    """What an image is in this bundle: an index or a manifest."""
    entry = read_layout_index(state.image_index(image.reference))
    if entry is None:
        raise ContentError(f"{image.reference} has no index in this bundle; run the same command again")
    return entry


def platform_entry(cache: Cache, image: BundleImage, platform: PlatformImage) -> Descriptor:
    """The manifest of an image/arch as it was copied: another than the source's for schema 1 only."""
    entry = read_layout_index(cache.image_folder(image.reference) / platform.slug / INDEX)
    if entry is None:
        raise ContentError(f"the folder of {image.reference} for {platform.platform} is gone; run the same command again")
    return entry


def _images_list(
    saved: Sequence[ChosenImage], manifests: Mapping[tuple[Reference, str], Descriptor], time: datetime
) -> dict[str, Any]:
    """``saved-images-list.json``, in the shape that existing loaders of this format read. They fail on attestations, which are
    in the index all the same.
    """
    return {
        "List": [
            {
                "Source": item.image.reference.name,
                "Tag": item.image.reference.tag_or_digest,
                "ArchList": list(dict.fromkeys(p.platform.architecture for p in item.choice.platforms if p.platform.is_known)),
                "Images": [
                    _listed(item.image, platform, manifests[item.image.reference, platform.slug])
                    for platform in item.choice.platforms
                    if not platform.descriptor.is_attestation
                ],
            }
            for item in saved
        ],
        "Version": IMAGES_LIST_VERSION,
        "SavedTime": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _listed(image: BundleImage, platform: PlatformImage, manifest: Descriptor) -> dict[str, str]:
    return {
        "Digest": str(manifest.digest),
        "Arch": platform.platform.architecture,
        "OS": platform.platform.os,
        "OsVersion": platform.platform.os_version,
        "Variant": platform.platform.variant,
        "Folder": f"{IMAGES}/{image.reference.folder}/{platform.slug}",
    }


def _newest(cache: Cache, manifests: Iterable[Descriptor]) -> datetime:
    """The newest time at which an image says it was made: the same for the same images, whenever they are saved."""
    now = datetime.now(timezone.utc)
    times = [EARLIEST]
    for entry in manifests:
        manifest = cache.parse(entry.digest)
        if isinstance(manifest, Manifest) and manifest.config.media_type in oci.IMAGE_CONFIG_TYPES:
            created = _parse_time(oci.load_json(cache.read(manifest.config.digest)).get("created"))
            if created is not None and EARLIEST < created < now:
                times.append(created)
    return max(times)


def _parse_time(text: Any) -> datetime | None:
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _info(bundle: Bundle, saved: Sequence[ChosenImage], epoch: int | None) -> BundleInfo:
    listed = [item for item in saved if not item.is_referrer]
    shard, there = bundle.shard, {item.image.reference for item in listed}
    failed = tuple(str(image.reference) for image in bundle.images if image.reference not in there)
    return BundleInfo(
        packing=bundle_info.packing(bundle.output),
        epoch=epoch,
        images=tuple(
            ListedImage(
                reference=str(item.image.reference),
                position=item.image.m_id if shard else number,
                asked=item.image.asked,
                referrers=tuple(map(str, item.referrers)),
            )
            for number, item in enumerate(listed, start=1)
        ),
        folders={str(item.image.reference.folder): tuple(each.slug for each in item.choice.platforms) for item in saved},
        shard=ShardInfo(number=shard.number, count=shard.count, lock=shard.lock, failed=failed) if shard else None,
    )


def _delta(cache: Cache, base: Base, blobs: Mapping[Digest, Descriptor], images_list: Mapping[str, Any]) -> Delta:
    layers: dict[Digest, int] = {}
    others: set[Digest] = set()
    for blob in blobs.values():
        if blob.media_type in oci.MANIFEST_TYPES and isinstance(manifest := cache.parse(blob.digest), Manifest):
            others |= {blob.digest, manifest.config.digest}
            layers.update((each.digest, blobs[each.digest].size) for each in manifest.layers if each.digest in blobs)
        elif blob.media_type in oci.INDEX_TYPES:
            others.add(blob.digest)
    bases, absent = base.left_out({digest: size for digest, size in layers.items() if digest not in others})
    return Delta(bases=bases, absent=absent, images=images_list)


def _image_files(cache: Cache, state: BundleState, item: ChosenImage) -> ImageFiles:
    folder = cache.image_folder(item.image.reference)
    return ImageFiles(
        folder=str(item.image.reference.folder),
        index=state.image_index(item.image.reference).read_bytes(),
        platforms={each.slug: (folder / each.slug / INDEX).read_bytes() for each in item.choice.platforms},
    )
