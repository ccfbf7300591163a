"""Descriptors (descriptor.md), and the annotations on them that we know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from pipeline.core.errors import ContentError
from pipeline.core.oci.digest import Digest
from pipeline.core.oci.platform import Platform
from pipeline.core.oci.untrusted import shorten, text

REF_NAME = "org.opencontainers.image.ref.name"
ATTESTATION_TYPE = "vnd.docker.reference.type"
ATTESTATION_SUBJECT = "vnd.docker.reference.digest"

MAX_SIZE = 2**63 - 1
"""Bytes: sizes are int64 (descriptor.md). Larger ones would only break the arithmetic of plans and displays."""


@dataclass(frozen=True)
class Descriptor:
    """Points at content by digest, size and media type (descriptor.md). ``raw`` is the original JSON object."""

    media_type: str
    digest: Digest
    size: int
    _: KW_ONLY
    platform: Platform = field(default_factory=Platform)
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_json(cls, data: Any) -> Descriptor:
        if not isinstance(data, Mapping):
            raise ContentError("a descriptor is not a JSON object")
        size = data.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_SIZE:
            raise ContentError(f"descriptor {shorten(data.get('digest'))} has no valid size")
        annotations = data.get("annotations")
        urls = data.get("urls")
        return cls(
            text(data.get("mediaType")),
            Digest.parse(data.get("digest", "")),
            size,
            platform=Platform.from_json(data.get("platform")),
            annotations={str(k): text(v) for k, v in annotations.items()} if isinstance(annotations, Mapping) else {},
            urls=tuple(text(u) for u in urls) if isinstance(urls, list) else (),
            raw=data,
        )

    def to_json(self) -> dict[str, Any]:
        return dict(self.raw) or {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}

    def renewed(self, data: bytes) -> Descriptor:
        """The same entry for other bytes; the old ones' copy in it (``data``) and their addresses (``urls``) go."""
        digest = Digest.of(data, self.digest.algorithm)
        if digest == self.digest:
            return self
        kept = {key: value for key, value in self.to_json().items() if key not in ("data", "urls")}
        return Descriptor.from_json({**kept, "digest": str(digest), "size": len(data)})

    @property
    def is_attestation(self) -> bool:
        """BuildKit's attestation manifests ride in the index of the image they are about."""
        return self.annotations.get(ATTESTATION_TYPE) == "attestation-manifest"

    @property
    def is_foreign(self) -> bool:
        """A layer that may not be distributed: its URLs are kept, its bytes are not (manifest.md, "non-distributable")."""
        return bool(self.urls) and ("foreign" in self.media_type or "nondistributable" in self.media_type)
