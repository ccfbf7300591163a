"""What a reference names, as the last ``resolve`` found it: ``.state/resolved/<reference>.json``.

The record does not depend on ``-a`` or ``-os``. It is sealed: where the tag has not moved, its media type and size are what the
bundle says of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core import files, oci
from pipeline.core.errors import ContentError
from pipeline.core.oci import Descriptor, Digest, Platform

VERSION = 1


@dataclass(frozen=True)
class Resolved:
    """The top object of a reference: an index or a manifest."""

    descriptor: Descriptor
    platform: Platform = field(default_factory=Platform)
    """Of a schema 1 image, whose manifest says it; it has no other place."""
    absent: tuple[Digest, ...] = ()
    """Attestations that its indexes name, and that the registry does not have."""

    @property
    def is_schema1(self) -> bool:
        return self.descriptor.media_type in oci.SCHEMA1_TYPES

    def to_json(self) -> dict[str, Any]:
        document = {
            "version": VERSION,
            "descriptor": self.descriptor.to_json(),
            "platform": {"os": self.platform.os, "architecture": self.platform.architecture},
        }
        return {**document, "absent": [str(digest) for digest in self.absent]} if self.absent else document


def write(path: Path, resolved: Resolved) -> None:
    files.write_if_changed(path, files.dump_sealed(resolved.to_json()), durable=False)


def read(path: Path) -> Resolved | None:
    """The record, or None where it is missing, damaged or of another version."""
    document = files.read_sealed(path)
    try:
        if document["version"] != VERSION:
            return None
        absent = tuple(Digest.parse(text) for text in document.get("absent", ()))
        return Resolved(Descriptor.from_json(document["descriptor"]), Platform.from_json(document["platform"]), absent)
    except (TypeError, KeyError, AttributeError, ContentError):
        return None
