"""What ``ls`` tells of a source: images, platforms, digests, sizes, and what they share.

In come ``Contents``, out goes a ``Listing``. Only manifests are read (and a config, where no index names the platform): an
archive of 100 GB is listed as fast as a small one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from .contents import Contents, HeldImage
from .errors import ContentError
from .oci import Digest


@dataclass(frozen=True)
class ListedPlatform:
    """``size`` is that of all the platform needs, in bytes."""

    platform: str
    digest: Digest
    media_type: str
    size: int
    is_attestation: bool


@dataclass(frozen=True)
class ListedImage:
    """``size`` counts each blob of the image once; ``shared`` is how much of that other images have too."""

    reference: str
    digest: Digest
    media_type: str
    platforms: tuple[ListedPlatform, ...] = ()
    size: int = 0
    shared: int = 0
    problem: str = ""
    """Why nothing more can be told; empty where it can."""


@dataclass(frozen=True)
class Listing:
    """``size`` counts each blob once, ``total`` as often as images have it."""

    source: str
    kind: str
    images: tuple[ListedImage, ...]
    blobs: int
    size: int
    total: int
    problems: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        return not self.problems and not any(image.problem for image in self.images)

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "kind": self.kind,
            "images": [_image_to_json(image) for image in self.images],
            "blobs": self.blobs,
            "size": self.size,
            "saved": self.total - self.size,
            "problems": list(self.problems),
        }


def make_listing(contents: Contents) -> Listing:
    """Images in the order of the source. What cannot be read is told, not raised."""
    closures: dict[int, dict[Digest, int]] = {}
    found: list[tuple[HeldImage, tuple[ListedPlatform, ...], str]] = []
    for image in contents.held:
        try:
            closures[image.m_id] = _sizes(contents, image)
            found.append((image, _platforms(contents, image), ""))
        except ContentError as error:
            closures.pop(image.m_id, None)
            found.append((image, (), str(error)))
    users = Counter(digest for closure in closures.values() for digest in closure)
    sizes = {digest: size for closure in closures.values() for digest, size in closure.items()}
    images = tuple(
        ListedImage(
            str(image.reference),
            image.descriptor.digest,
            contents.parse(image.descriptor.digest).media_type if not problem else image.descriptor.media_type,
            platforms,
            sum(closures.get(image.m_id, {}).values()),
            sum(size for digest, size in closures.get(image.m_id, {}).items() if users[digest] > 1),
            problem,
        )
        for image, platforms, problem in found
    )
    store = contents.store
    total = sum(sizes[digest] * number for digest, number in users.items())
    return Listing(store.place, store.kind, images, len(sizes), sum(sizes.values()), total, contents.problems)


def _sizes(contents: Contents, image: HeldImage) -> dict[Digest, int]:
    return {digest: blob.size for digest, blob in contents.closure(image.descriptor).items()}


def _platforms(contents: Contents, image: HeldImage) -> tuple[ListedPlatform, ...]:
    return tuple(
        ListedPlatform(
            "" if entry.descriptor.is_attestation or not entry.platform.is_known else str(entry.platform),
            entry.descriptor.digest,
            entry.descriptor.media_type,
            sum(blob.size for blob in contents.closure(entry.descriptor).values()),
            entry.descriptor.is_attestation,
        )
        for entry in contents.platforms(image.descriptor)
    )


def _image_to_json(image: ListedImage) -> dict[str, Any]:
    data: dict[str, Any] = {
        "reference": image.reference,
        "digest": str(image.digest),
        "mediaType": image.media_type,
        "size": image.size,
        "shared": image.shared,
        "platforms": [
            {
                "platform": each.platform or None,
                "digest": str(each.digest),
                "size": each.size,
                "attestation": each.is_attestation,
            }
            for each in image.platforms
        ],
    }
    return {**data, "problem": image.problem} if image.problem else data
