"""What refers to an image, as the last look at its registry found it: a record in the bundle's state.

``steps.referrers`` writes it; ``steps.chosen`` reads it and turns each referrer into something that is saved as if it were an
image of its own, under its tag or its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.core import files
from pipeline.core.bundle import BundleImage, PlatformFilter, Referrer
from pipeline.core.errors import ContentError
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference, is_tag
from pipeline.storage.bundle_state import BundleState

VERSION = 1


@dataclass(frozen=True)
class Found:
    """What refers to the ``subjects`` of an image. ``lost`` refers to what the bundle does not keep as it was: an index of
    which only some platforms were asked for.
    """

    subjects: tuple[Digest, ...]
    types: str
    referrers: tuple[Referrer, ...] = ()
    lost: tuple[Referrer, ...] = ()


def write(state: BundleState, image: BundleImage, found: Found) -> None:
    document = {
        "version": VERSION,
        "subjects": [str(subject) for subject in found.subjects],
        "types": found.types,
        "referrers": [to_json(each) for each in found.referrers],
        "lost": [to_json(each) for each in found.lost],
    }
    files.write_if_changed(state.referrers(image.reference), files.dump_sealed(document), durable=False)


def read(state: BundleState, name: Reference) -> Found | None:
    """The record, or None where it is missing, damaged or of another version."""
    document = files.read_sealed(state.referrers(name))
    try:
        if document["version"] != VERSION:
            return None
        return Found(
            tuple(Digest.parse(text) for text in document["subjects"]),
            str(document["types"]),
            tuple(from_json(each) for each in document["referrers"]),
            tuple(from_json(each) for each in document["lost"]),
        )
    except (TypeError, KeyError, ValueError, ContentError):
        return None


def to_json(referrer: Referrer) -> dict[str, Any]:
    return {**asdict(referrer), "subject": str(referrer.subject), "digest": str(referrer.digest)}


def from_json(data: Mapping[str, Any]) -> Referrer:
    """Raises KeyError, ValueError, ContentError."""
    texts = [data[key] for key in ("subject", "digest", "media_type", "artifact_type", "tag")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("not a text")
    subject, digest, media_type, artifact_type, tag = texts
    if tag and not is_tag(tag):
        raise ValueError(f"{tag!a} is not a tag")
    return Referrer(
        subject=Digest.parse(subject),
        digest=Digest.parse(digest),
        media_type=media_type,
        size=int(data["size"]),
        artifact_type=artifact_type,
        tag=tag,
    )


def image_of(image: BundleImage, referrer: Referrer) -> BundleImage:
    """A referrer as something to save, in the repository of the image that it came with."""

    def place(of: Reference) -> Reference:
        return of.by_tag(referrer.tag) if referrer.tag else of.by_digest(referrer.digest)

    name = place(image.reference)
    return BundleImage(
        reference=name,
        source=place(image.source),
        platforms=PlatformFilter(),
        text=str(name),
        m_id=image.m_id,
        locked=referrer.digest,
        about=referrer,
    )
