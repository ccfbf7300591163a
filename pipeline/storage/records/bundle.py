"""What a bundle needs of the cache, kept in its state (``bundle.json``): written by each save, read by ``cache prune``.

Where it goes, and which platforms of which references it asks for. With the records of act 1, that names every blob, also of
a save that was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import bundle, files, reference
from pipeline.core.bundle import Bundle, BundleImage, PlatformFilter
from pipeline.core.errors import ImageToolsError
from pipeline.core.oci import Digest

VERSION = 1


@dataclass(frozen=True)
class Description:
    """``images`` are as the last run had them, but for where they are fetched."""

    destination: Path
    images: tuple[BundleImage, ...]


def write(path: Path, bundle: Bundle, images: Sequence[BundleImage]) -> None:
    document = {
        "version": VERSION,
        "destination": str(bundle.output.destination),
        "images": [_to_json(image) for image in images],
    }
    files.write_if_changed(path, files.dump_sealed(document))


def read(path: Path) -> Description | None:
    """What ``write`` wrote, or None where it is missing, damaged or of another version."""
    document = files.read_sealed(path)
    try:
        if document["version"] != VERSION:
            return None
        images = tuple(_from_json(entry, number) for number, entry in enumerate(document["images"], start=1))
        return Description(Path(document["destination"]), images)
    except (TypeError, KeyError, ValueError, ImageToolsError):
        return None


def _to_json(image: BundleImage) -> dict[str, str | None]:
    return {
        "reference": str(image.reference),
        "arch": ",".join(map(str, image.platforms.architectures)) or "all",
        "os": ",".join(image.platforms.systems) or "all",
        "locked": str(image.locked or ""),
        "referrers": None if image.referrers is None else ",".join(image.referrers.patterns),
    }


def _from_json(entry: dict[str, Any], number: int) -> BundleImage:
    name = reference.parse(entry["reference"])
    platforms: PlatformFilter = bundle.parse_platforms(entry["arch"], entry["os"])
    locked = Digest.parse(entry["locked"]) if entry["locked"] else None
    types = entry.get("referrers")
    referrers = None if types is None else bundle.parse_artifact_types(types)
    return BundleImage(
        reference=name,
        source=name,
        platforms=platforms,
        text=str(name),
        m_id=number,
        locked=locked,
        referrers=referrers,
    )
