"""What ``ls`` shows of a source: images, platforms, digests, sizes, and what they share.

Takes ``Contents``, returns a ``Listing``. A bundle of ours brings its own along (``listing.json``), made as it was packed; of
others only manifests are read (and a config, where no index names the platform). So an archive of 100 GB is listed as fast as
a small one. ``verify`` compares what a bundle brings along with what is in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pipeline.core import bounded_json, oci
from pipeline.core.errors import ArchiveError, ContentError, InputError
from pipeline.core.oci import Digest, Manifest
from pipeline.core.reference import matches
from pipeline.reader.contents import BundledImage, Contents, PlatformEntry
from pipeline.reader.contents.overlay import OverlayStore
from pipeline.storage.bundle_state import LISTING

PREDICATE = "dev.sigstore.bundle.predicateType"


@dataclass(frozen=True)
class ListedPlatform:
    """``size`` is that of all the platform needs, in bytes."""

    platform: str
    digest: Digest
    media_type: str
    size: int
    is_attestation: bool


@dataclass(frozen=True, kw_only=True)
class ListedReferrer:
    """What came along with an image: ``subject`` is the digest that it refers to; without a ``tag``, by a field of its own."""

    artifact_type: str
    digest: Digest
    subject: Digest
    tag: str
    size: int
    predicate: str = ""
    """Of a sigstore bundle: its predicate type, which says what it is."""


@dataclass(frozen=True, kw_only=True)
class ListedImage:
    """``size`` counts each blob of the image once; ``shared`` is how much of that other images have too. What came along with
    it does not count.
    """

    reference: str
    digest: Digest
    media_type: str
    platforms: tuple[ListedPlatform, ...] = ()
    size: int = 0
    shared: int = 0
    referrers: tuple[ListedReferrer, ...] = ()
    problem: str = ""
    """Why nothing more can be told; empty where it can."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """``size`` counts each blob once, ``total`` as often as images have it."""

    source: str
    kind: str
    images: tuple[ListedImage, ...]
    blobs: int
    size: int
    total: int
    problems: tuple[str, ...]
    referrers: int = 0
    """What came along with images: each once, also where several have it."""
    left_out: tuple[int, int] | None = None
    """Layers, and their bytes, that a delta lacks and its base has (they count among the others); None of a whole bundle."""
    bases: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return not self.problems and not any(image.problem for image in self.images)

    def to_json(self) -> dict[str, Any]:
        return {"source": self.source, "kind": self.kind, **self.to_document(), "problems": list(self.problems)}

    def to_document(self) -> dict[str, Any]:
        """What a bundle brings along: all but where it lies."""
        return {
            "images": [_image_to_json(image) for image in self.images],
            "blobs": self.blobs,
            "size": self.size,
            "saved": self.total - self.size,
            "referrers": self.referrers,
            **(
                {"delta": {"bases": list(self.bases), "blobs": self.left_out[0], "size": self.left_out[1]}}
                if self.left_out
                else {}
            ),
        }


def make_listing(contents: Contents, patterns: Sequence[str] = ()) -> Listing:
    """Images in the order of the source, those that ``patterns`` name. What cannot be read is told, not raised.

    Raises InputError for patterns that name no image.
    """
    if not patterns and (brought := _brought_along(contents)) is not None:
        return brought
    return look_at(contents, patterns)


def look_at(contents: Contents, patterns: Sequence[str] = ()) -> Listing:
    """As ``make_listing``, by the manifests alone."""
    families = {
        image: family for image, family in contents.families.items() if not patterns or matches(image.reference, patterns)
    }
    if patterns and not families:
        raise InputError([f"{contents.store.place} holds no image that is called {' or '.join(patterns)}"])
    found = [_look_at(contents, image) for image in families]
    users = Counter(digest for _, sizes in found for digest in sizes)
    sizes = {digest: size for _, closure in found for digest, size in closure.items()}
    along = {held for family in families.values() for held in family}
    for held in sorted(along, key=lambda held: held.m_id):
        closure = _sizes(contents, held)
        users.update(closure.keys())
        sizes.update(closure)
    images = tuple(
        replace(image, shared=sum(size for digest, size in closure.items() if users[digest] > 1)) for image, closure in found
    )
    store = contents.store
    total = sum(sizes[digest] * number for digest, number in users.items())
    return Listing(
        source=store.place,
        kind=store.kind,
        images=images,
        blobs=len(sizes),
        size=sum(sizes.values()),
        total=total,
        problems=contents.problems,
        referrers=len(along),
        left_out=_left_out(contents, sizes) if contents.delta else None,
        bases=tuple(base.of for base in contents.delta.bases) if contents.delta else (),
    )


def dump(listing: Listing) -> bytes:
    """As a bundle brings it along: a line for each image."""
    document = listing.to_document()
    lines = ",\n".join(json.dumps(image, ensure_ascii=False, separators=(",", ":")) for image in document.pop("images"))
    rest = json.dumps({"schemaVersion": 1, **document}, ensure_ascii=False)
    return f'{rest[:-1]}, "images": [\n{lines}\n]}}\n'.encode()


def _brought_along(contents: Contents) -> Listing | None:
    """None where there is none that can be read, or a base has come to a delta."""
    try:
        data = contents.store.metadata(LISTING)
        document = bounded_json.loads(data) if data is not None else None
        if document is None or document["schemaVersion"] != 1 or isinstance(contents.store, OverlayStore):
            return None
        delta = document.get("delta")
        images = tuple(_image_from_json(each) for each in document["images"])
        return Listing(
            source=contents.store.place,
            kind=contents.store.kind,
            images=images,
            blobs=int(document["blobs"]),
            size=int(document["size"]),
            total=int(document["size"]) + int(document["saved"]),
            problems=contents.problems,
            referrers=int(document["referrers"]),
            left_out=(int(delta["blobs"]), int(delta["size"])) if delta else None,
            bases=tuple(map(str, delta["bases"])) if delta else (),
        )
    except (ArchiveError, ContentError, LookupError, TypeError, ValueError, AttributeError):
        return None


def _image_from_json(entry: Mapping[str, Any]) -> ListedImage:
    return ListedImage(
        reference=str(entry["reference"]),
        digest=Digest.parse(entry["digest"]),
        media_type=str(entry["mediaType"]),
        platforms=tuple(
            ListedPlatform(
                str(each["platform"] or ""), Digest.parse(each["digest"]), "", int(each["size"]), bool(each["attestation"])
            )
            for each in entry["platforms"]
        ),
        size=int(entry["size"]),
        shared=int(entry["shared"]),
        referrers=tuple(
            ListedReferrer(
                artifact_type=str(each["artifactType"]),
                digest=Digest.parse(each["digest"]),
                subject=Digest.parse(each["subject"]),
                tag=str(each["tag"] or ""),
                size=int(each["size"]),
                predicate=str(each.get("predicateType", "")),
            )
            for each in entry["referrers"]
        ),
        problem=str(entry.get("problem", "")),
    )


def _left_out(contents: Contents, digests: Iterable[Digest]) -> tuple[int, int]:
    found = [absent.size for digest in digests if (absent := contents.left_out(digest)) is not None]
    return len(found), sum(found)


def _look_at(contents: Contents, image: BundledImage) -> tuple[ListedImage, dict[Digest, int]]:
    """What is to be told of an image but for what it shares, and the sizes of all its blobs."""
    name, top = str(image.reference), image.descriptor
    referrers = tuple(_referrer(contents, each) for each in contents.families[image])
    try:
        sizes = {digest: blob.size for digest, blob in contents.closure(top).items()}
        media_type = contents.parse(top.digest).media_type
        platforms = tuple(_platform(contents, entry) for entry in contents.platforms(top))
    except ContentError as error:
        return ListedImage(
            reference=name, digest=top.digest, media_type=top.media_type, referrers=referrers, problem=error.message
        ), {}
    return ListedImage(
        reference=name,
        digest=top.digest,
        media_type=media_type,
        platforms=platforms,
        size=sum(sizes.values()),
        referrers=referrers,
    ), sizes


def _sizes(contents: Contents, held: BundledImage) -> dict[Digest, int]:
    """What cannot be read of it has none."""
    with suppress(ContentError):
        return {digest: blob.size for digest, blob in contents.closure(held.descriptor).items()}
    return {}


def _referrer(contents: Contents, held: BundledImage) -> ListedReferrer:
    assert held.subject is not None, "it is in a family"
    artifact_type = str(held.descriptor.raw.get("artifactType", ""))
    size = sum(_sizes(contents, held).values())
    predicate = _predicate(contents, held.descriptor.digest)
    return ListedReferrer(
        artifact_type=artifact_type,
        digest=held.descriptor.digest,
        subject=held.subject,
        tag=held.reference.tag,
        size=size,
        predicate=predicate,
    )


def _predicate(contents: Contents, digest: Digest) -> str:
    """The annotation that cosign 3 gives a bundle; empty where there is none, or the manifest cannot be read."""
    with suppress(ContentError):
        annotations = oci.load_json(contents.read(digest)).get("annotations")
        return str(annotations.get(PREDICATE, "")) if isinstance(annotations, dict) else ""
    return ""


def _platform(contents: Contents, entry: PlatformEntry) -> ListedPlatform:
    descriptor, is_attestation = entry.descriptor, entry.descriptor.is_attestation
    name = str(entry.platform) if entry.platform.is_known and not is_attestation else ""
    is_manifest = isinstance(contents.parse(descriptor.digest), Manifest)
    size = sum(blob.size for blob in contents.closure(descriptor).values()) if is_manifest else 0
    return ListedPlatform(name, descriptor.digest, descriptor.media_type, size, is_attestation)


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
        "referrers": [
            {
                "artifactType": each.artifact_type,
                "digest": str(each.digest),
                "subject": str(each.subject),
                "tag": each.tag or None,
                "size": each.size,
                **({"predicateType": each.predicate} if each.predicate else {}),
            }
            for each in image.referrers
        ],
    }
    return {**data, "problem": image.problem} if image.problem else data
