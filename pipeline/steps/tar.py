"""Act 3, first step: what the archive holds, in order.

Takes the images that were saved and their indexes, writes the bundle's root metadata (``index.json``,
``saved-images-list.json``) and the archive layout: every member with path, size, digest and mode. Guarantees: exactly the
closure of the bundle, nothing else that the cache holds; the same images give the same layout, to the byte, whatever the
number of jobs, the order of arrival and the folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any

from pipeline.core import files, oci
from pipeline.core.bundle import DEFAULT_CACHE, BundleImage
from pipeline.core.errors import ContentError
from pipeline.core.oci import Descriptor, Digest, Manifest
from pipeline.steps.images.choose import PlatformImage
from pipeline.steps.images.chosen import ChosenImage
from pipeline.storage.archive import ArchiveLayout, Member
from pipeline.storage.bundle_state import IMAGES, IMAGES_LIST, BundleState
from pipeline.storage.cache import SHARE, Cache
from pipeline.storage.image_layout import BLOBS, INDEX, LAYOUT_FILE, OCI_LAYOUT, layout_index, read_layout_index

IMAGES_LIST_VERSION = "v1.1.0"
EARLIEST = datetime(1980, 1, 1, tzinfo=timezone.utc)
"""What FAT, and so zip and some unpackers, take for the beginning of time."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


def lay_out(cache: Cache, state: BundleState, saved: Sequence[ChosenImage], epoch: int | None) -> None:
    """Write the bundle's metadata and archive layout. ``epoch`` is SOURCE_DATE_EPOCH. Raises ContentError.

    Of all in ``saved`` everything is here; the list of images names those that are listed, not their referrers.
    """
    listed = [item for item in saved if not item.is_referrer]
    entries = [image_entry(state, item.image) for item in saved]
    time = datetime.fromtimestamp(epoch, timezone.utc) if epoch is not None else _newest(cache, listed)
    files.write_if_changed(state.index, layout_index([entry.to_json() for entry in entries]))
    files.write_if_changed(state.images_list, files.dump_json(_images_list(cache, listed, time)))
    layout = ArchiveLayout(int(time.timestamp()), tuple(_members(cache, state, saved, entries)))
    files.write_atomic(state.archive_layout, files.dump_json(layout.to_json()))
    files.write_atomic(state.sums, files.dump_json(_sums(state)))


def is_current(state: BundleState) -> bool:
    """Whether what was written is as it was."""
    try:
        return bool(files.read_json(state.sums) == _sums(state))
    except OSError:
        return False


def _sums(state: BundleState) -> dict[str, str]:
    written = (state.index, state.images_list, state.archive_layout)
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


def _images_list(cache: Cache, saved: Sequence[ChosenImage], time: datetime) -> dict[str, Any]:
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
                    _listed(cache, item.image, platform)
                    for platform in item.choice.platforms
                    if not platform.descriptor.is_attestation
                ],
            }
            for item in saved
        ],
        "Version": IMAGES_LIST_VERSION,
        "SavedTime": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _listed(cache: Cache, image: BundleImage, platform: PlatformImage) -> dict[str, str]:
    return {
        "Digest": str(platform_entry(cache, image, platform).digest),
        "Arch": platform.platform.architecture,
        "OS": platform.platform.os,
        "OsVersion": platform.platform.os_version,
        "Variant": platform.platform.variant,
        "Folder": f"{IMAGES}/{image.reference.folder}/{platform.slug}",
    }


def _newest(cache: Cache, saved: Sequence[ChosenImage]) -> datetime:
    """The newest time at which an image says it was made: the same for the same images, whenever they are saved."""
    now = datetime.now(timezone.utc)
    times = [EARLIEST]
    for item in saved:
        for platform in item.choice.platforms:
            manifest = cache.parse(platform_entry(cache, item.image, platform).digest)
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


def _members(cache: Cache, state: BundleState, saved: Sequence[ChosenImage], entries: Sequence[Descriptor]) -> Iterator[Member]:
    """Metadata first, that of the images before that of what came along; then the blobs, in order of first use; each folder
    before what is in it."""
    root = PurePosixPath(DEFAULT_CACHE)
    known: set[PurePosixPath] = set()

    def folders(path: PurePosixPath) -> Iterator[Member]:
        for parent in [*reversed(path.parents), path][1:]:
            if parent not in known:
                known.add(parent)
                yield Member(str(parent), mode=0o755)

    def layout(folder: PurePosixPath, index: bytes) -> Iterator[Member]:
        yield from folders(folder)
        yield _file(folder / LAYOUT_FILE, OCI_LAYOUT)
        yield _file(folder / INDEX, index)
        up = "../" * (len(folder.parts) - len(root.parts))
        yield Member(str(folder / BLOBS), link=f"{up}{SHARE}", mode=0o777)

    yield from layout(root, state.index.read_bytes())
    yield _file(root / IMAGES_LIST, state.images_list.read_bytes())
    for item in saved:
        folder = root / IMAGES / item.image.reference.folder
        yield from layout(folder, state.image_index(item.image.reference).read_bytes())
        for platform in item.choice.platforms:
            path = cache.image_folder(item.image.reference) / platform.slug / INDEX
            yield from layout(folder / platform.slug, path.read_bytes())
    blobs: dict[Digest, Descriptor] = {}
    for entry in entries:
        for blob in cache.closure(entry):
            blobs.setdefault(blob.digest, blob)
    for blob in blobs.values():
        folder = root / SHARE / blob.digest.algorithm
        yield from folders(folder)
        yield Member(str(folder / blob.digest.hex), blob.size, blob.digest, media_type=blob.media_type, is_blob=True)


def _file(path: PurePosixPath, data: bytes) -> Member:
    return Member(str(path), len(data), Digest.of(data))
