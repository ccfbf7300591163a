"""Typed values of the OCI image specification: digests, platforms, descriptors, manifests, indexes.

What comes in is bytes from a registry or a cache, so nothing is trusted: sizes and depths are bounded, a digest has its
one valid form (it becomes a file name), and what does not parse raises ``ContentError``. What goes out is frozen.
Descriptors keep their original JSON object, so that an index made from a subset repeats them verbatim.

Sources: OCI image-spec 1.1 ``descriptor.md``, ``manifest.md``, ``image-index.md``; Docker image manifest v2 schema 1 and 2.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.errors import ContentError

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
ORAS_MANIFEST = "application/vnd.oci.artifact.manifest.v1+json"
"""A kind that was in drafts of the image specification 1.1, and dropped: it has neither config nor layers."""
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
SCHEMA1_TYPES = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
IMAGE_CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})

REF_NAME = "org.opencontainers.image.ref.name"
ATTESTATION_TYPE = "vnd.docker.reference.type"
ATTESTATION_SUBJECT = "vnd.docker.reference.digest"

MAX_MANIFEST_SIZE = 4 * 1024 * 1024
"""Bytes. The distribution spec asks registries to accept manifests up to 4 MiB; none in use comes near."""
MAX_SIZE = 2**63 - 1
"""Bytes: sizes are int64 (descriptor.md). Larger ones would only break the arithmetic of plans and displays."""
MAX_NESTING = 64
"""Of the JSON, which we write again where a subset makes a new index: Python's encoder ends where its stack ends."""
MAX_DESCRIPTORS = 10_000
"""Layers of one manifest, or entries of one index."""

MAX_SHOWN = 200
"""Characters of a platform that people see."""

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_DIGEST = re.compile(r"(sha256|sha512):([0-9a-f]+)")


@dataclass(frozen=True, order=True)
class Digest:
    """``algorithm:hex``, valid by construction, so that it can serve as a file name (descriptor.md, "Digests")."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises ContentError for anything but a registered algorithm and lower-case hex of its length."""
        match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
        if match is None or len(match[2]) != _HEX_LENGTH[match[1]]:
            raise ContentError(f"not a valid digest: {_shorten(text)}")
        return cls(match[1], match[2])

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        return self.hex[:12]


@dataclass(frozen=True, order=True)
class Platform:
    """What a manifest is made for (image-index.md, "platform"). Empty strings where the source says nothing."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Any) -> Platform:
        if not isinstance(data, Mapping):
            return cls()
        features = data.get("os.features")
        return cls(
            _text(data.get("os")),
            _text(data.get("architecture")),
            _text(data.get("variant")),
            _text(data.get("os.version")),
            tuple(_text(f) for f in features) if isinstance(features, list) else (),
        )

    @property
    def is_known(self) -> bool:
        """False for artifacts and attestations, which name no platform or ``unknown/unknown``."""
        return self.architecture not in ("", "unknown") and self.os not in ("unknown",)

    def __str__(self) -> str:
        parts = [self.os or "unknown", self.architecture or "unknown"]
        if self.variant:
            parts.append(self.variant)
        text = "/".join(parts)
        text = f"{text} {self.os_version}" if self.os_version else text
        return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


@dataclass(frozen=True)
class Descriptor:
    """Points at content by digest, size and media type (descriptor.md). ``raw`` is the original JSON object."""

    media_type: str
    digest: Digest
    size: int
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
            raise ContentError(f"descriptor {_shorten(data.get('digest'))} has no valid size")
        annotations = data.get("annotations")
        urls = data.get("urls")
        return cls(
            _text(data.get("mediaType")),
            Digest.parse(data.get("digest", "")),
            size,
            Platform.from_json(data.get("platform")),
            {str(k): _text(v) for k, v in annotations.items()} if isinstance(annotations, Mapping) else {},
            tuple(_text(u) for u in urls) if isinstance(urls, list) else (),
            data,
        )

    def to_json(self) -> dict[str, Any]:
        return dict(self.raw) or {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}

    @property
    def is_attestation(self) -> bool:
        """BuildKit's attestation manifests ride in the index of the image they are about."""
        return self.annotations.get(ATTESTATION_TYPE) == "attestation-manifest"

    @property
    def is_foreign(self) -> bool:
        """A layer that may not be distributed: its URLs are kept, its bytes are not (manifest.md, "non-distributable")."""
        return bool(self.urls) and ("foreign" in self.media_type or "nondistributable" in self.media_type)


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


@dataclass(frozen=True)
class Schema1:
    """A Docker schema 1 manifest. It cannot be kept as it is: converting it changes its digest."""

    media_type: str
    digest: Digest
    platform: Platform


def parse(data: bytes) -> Manifest | Index | Schema1:
    """Read a manifest of any kind from its bytes, going by what it holds, as servers mislabel.

    Raises ContentError for what is no manifest or is absurdly large.
    """
    document = load_json(data)
    media_type = _text(document.get("mediaType"))
    if document.get("schemaVersion") == 1:
        return _parse_schema1(data, document)
    artifact_type = _text(document.get("artifactType"))
    subject = Descriptor.from_json(document["subject"]) if document.get("subject") else None
    if isinstance(document.get("manifests"), list):
        entries = _bounded(document["manifests"])
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
            tuple(Descriptor.from_json(e) for e in _bounded(layers if isinstance(layers, list) else [])),
            artifact_type,
            subject,
        )
    raise ContentError(f"neither an image manifest nor an index (media type {media_type or 'not given'})")


def referrer_entry(digest: Digest, data: bytes) -> dict[str, Any]:
    """The descriptor under which a manifest with a subject is listed (distribution-spec, "Listing Referrers")."""
    parsed = parse(data)
    assert not isinstance(parsed, Schema1), "it has a subject"
    entry = {"mediaType": parsed.media_type, "digest": str(digest), "size": len(data), "artifactType": parsed.type}
    annotations = load_json(data).get("annotations")
    return {**entry, "annotations": annotations} if annotations else entry


def load_json(data: bytes) -> dict[str, Any]:
    """A JSON object from untrusted bytes. Raises ContentError."""
    if len(data) > MAX_MANIFEST_SIZE:
        raise ContentError(f"a manifest of {len(data)} bytes is larger than any that is in use ({MAX_MANIFEST_SIZE})")
    try:
        # Decoded here, as json.loads lets lone surrogates pass, which no file, log or terminal of ours could take.
        document = json.loads(data.decode())
        if b"\\u" in data:
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ContentError("not valid JSON") from error
    if not isinstance(document, dict):
        raise ContentError("not a JSON object")
    if _is_nested_deeper(document, MAX_NESTING):
        raise ContentError(f"JSON nested more than {MAX_NESTING} deep is no manifest")
    return document


def _is_nested_deeper(document: dict[str, Any], limit: int) -> bool:
    level: list[Any] = [document]
    for _ in range(limit):
        if not level:
            return False
        children = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in children if isinstance(child, dict | list)]
    return bool(level)


def _parse_schema1(data: bytes, document: Mapping[str, Any]) -> Schema1:
    signed = bool(document.get("signatures"))
    return Schema1(
        DOCKER_SCHEMA1_SIGNED if signed else DOCKER_SCHEMA1,
        Digest.of(_schema1_payload(data, document) if signed else data),
        Platform("linux", _text(document.get("architecture")) or "amd64"),
    )


def _schema1_payload(data: bytes, document: Mapping[str, Any]) -> bytes:
    """The signed bytes: all but the signatures, which do not count for the digest (schema 1, "Signed Manifests")."""
    try:
        protected = json.loads(_base64url(document["signatures"][0]["protected"]))
        return data[: int(protected["formatLength"])] + _base64url(protected["formatTail"])
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ContentError("the signature of a schema 1 manifest cannot be read") from error


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _bounded(entries: list[Any]) -> list[Any]:
    if len(entries) > MAX_DESCRIPTORS:
        raise ContentError(f"{len(entries)} entries in one manifest are more than any image has ({MAX_DESCRIPTORS})")
    return entries


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
