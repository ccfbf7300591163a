"""Which members an archive has, in order: the same for the same bundle, whoever makes it.

Metadata first, that of the images before that of what came along; then the blobs, in order of first use; each folder before
what is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.core.bundle import DEFAULT_CACHE
from pipeline.core.oci import Descriptor, Digest
from pipeline.storage.archive import Member
from pipeline.storage.bundle_state import IMAGES
from pipeline.storage.cache import SHARE
from pipeline.storage.image_layout import BLOBS, INDEX, LAYOUT_FILE, OCI_LAYOUT


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """The metadata of an image: its ``folder`` below ``images/``, its ``index.json``, and that of each platform, by folder."""

    folder: str
    index: bytes
    platforms: Mapping[str, bytes]


def members(
    index: bytes, files: Mapping[str, bytes], images: Iterable[ImageFiles], blobs: Iterable[Descriptor]
) -> Iterator[Member]:
    """``index`` is the bundle's ``index.json``; ``files`` are further files in its root, by name."""
    root = DEFAULT_CACHE
    known: set[str] = set()

    def folders(path: str) -> Iterator[Member]:
        if path not in known:
            parent, _, _ = path.rpartition("/")
            yield from folders(parent) if parent else ()
            known.add(path)
            yield Member(path, mode=0o755)

    def layout(folder: str, index: bytes) -> Iterator[Member]:
        yield from folders(folder)
        yield _file(f"{folder}/{LAYOUT_FILE}", OCI_LAYOUT)
        yield _file(f"{folder}/{INDEX}", index)
        up = "../" * (folder.count("/") - root.count("/"))
        yield Member(f"{folder}/{BLOBS}", link=f"{up}{SHARE}", mode=0o777)

    yield from layout(root, index)
    for name, data in files.items():
        yield _file(f"{root}/{name}", data)
    for image in images:
        folder = f"{root}/{IMAGES}/{image.folder}"
        yield from layout(folder, image.index)
        for name, data in image.platforms.items():
            yield from layout(f"{folder}/{name}", data)
    for blob in blobs:
        folder = f"{root}/{SHARE}/{blob.digest.algorithm}"
        yield from folders(folder)
        yield Member(f"{folder}/{blob.digest.hex}", blob.size, blob.digest, media_type=blob.media_type, is_blob=True)


def in_order(closures: Iterable[Iterable[Descriptor]]) -> dict[Digest, Descriptor]:
    """All blobs of images, each once, in order of first use."""
    found: dict[Digest, Descriptor] = {}
    for closure in closures:
        for blob in closure:
            found.setdefault(blob.digest, blob)
    return found


def _file(path: str, data: bytes) -> Member:
    return Member(path, len(data), Digest.of(data))
