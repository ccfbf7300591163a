"""Image manifests and indexes, OCI and Docker (manifest.md, image-index.md; Docker image manifest version 2, schema 2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.errors import ContentError
from pipeline.core.oci.descriptor import Descriptor
from pipeline.core.oci.digest import Digest
from pipeline.core.oci.schema1 import Schema1, parse_schema1
from pipeline.core.oci.untrusted import bounded, load_json, text

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
ORAS_MANIFEST = "application/vnd.oci.artifact.manifest.v1+json"
"""A kind that was in drafts of the image specification 1.1, and dropped: it has neither config nor layers."""
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
IMAGE_CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})


@dataclass(frozen=True)
class Manifest:
    """An image manifest, OCI or Docker schema 2 (manifest.md)."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str = ""
    subject: Descriptor | None = None

    @property
    def type(self) -> str:
        """What kind of artifact it is, as registries list it (distribution-spec, "Listing Referrers")."""
        return self.artifact_type or self.config.media_type

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers that must be here for the image to be whole, each once, in order."""
        unique = {d.digest: d for d in (self.config, *self.layers) if not d.is_foreign}
        return tuple(unique.values())


@dataclass(frozen=True)
class Index:
    """A list of manifests: OCI index or Docker manifest list (image-index.md)."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    artifact_type: str = ""
    subject: Descriptor | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def type(self) -> str:
        """As that of a manifest."""
        return self.artifact_type

    def subset(self, chosen: tuple[Descriptor, ...]) -> bytes:
        """A new index of the same media type holding ``chosen`` verbatim; all other fields stay as they are."""
        data = {**self.raw, "manifests": [d.to_json() for d in chosen]}
        return json.dumps(data, indent=2, ensure_ascii=False).encode()


def parse(data: bytes) -> Manifest | Index | Schema1:
    """Read a manifest of any kind from its bytes, going by what it holds, as servers mislabel.

    Raises ContentError for what is not a manifest or is absurdly large.
    """
    document = load_json(data)
    media_type = text(document.get("mediaType"))
    if document.get("schemaVersion") == 1:
        return parse_schema1(data, document)
    artifact_type = text(document.get("artifactType"))
    subject = Descriptor.from_json(document["subject"]) if document.get("subject") else None
    if isinstance(document.get("manifests"), list):
        entries = bounded(document["manifests"])
        manifests = tuple(Descriptor.from_json(e) for e in entries)
        known_type = media_type if media_type in INDEX_TYPES else OCI_INDEX
        return Index(known_type, manifests, artifact_type, subject, document)
    if isinstance(document.get("config"), Mapping):
        layers = document.get("layers")
        config = Descriptor.from_json(document["config"])
        default = DOCKER_MANIFEST if config.media_type == DOCKER_CONFIG else OCI_MANIFEST
        return Manifest(
            media_type if media_type in MANIFEST_TYPES else default,
            config,
            tuple(Descriptor.from_json(e) for e in bounded(layers if isinstance(layers, list) else [])),
            artifact_type,
            subject,
        )
    raise ContentError(f"neither an image manifest nor an index (media type {media_type or 'not given'})")


def referrer_entry(digest: Digest, data: bytes) -> dict[str, Any]:
    """The descriptor under which a manifest with a subject is listed (distribution-spec, "Listing Referrers")."""
    parsed = parse(data)
    assert not isinstance(parsed, Schema1), "it has a subject"
    entry = {"mediaType": parsed.media_type, "digest": str(digest), "size": len(data)}
    more = {"artifactType": parsed.type, "annotations": load_json(data).get("annotations")}
    return {**entry, **{key: value for key, value in more.items() if value}}
