"""Docker image manifest version 2, schema 1. It cannot be kept as it is: converting it changes its digest."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import ContentError
from pipeline.core.oci.digest import Digest
from pipeline.core.oci.platform import Platform
from pipeline.core.oci.untrusted import text

DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA1_TYPES = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})


@dataclass(frozen=True)
class Schema1:
    """What we must know of such a manifest. ``digest`` is that of the signed bytes."""

    media_type: str
    digest: Digest
    platform: Platform


def parse_schema1(data: bytes, document: Mapping[str, Any]) -> Schema1:
    """``document`` is the JSON object in ``data``. Raises ContentError."""
    signed = bool(document.get("signatures"))
    return Schema1(
        DOCKER_SCHEMA1_SIGNED if signed else DOCKER_SCHEMA1,
        Digest.of(_schema1_payload(data, document) if signed else data),
        Platform.from_json({"os": "linux", "architecture": text(document.get("architecture")) or "amd64"}),
    )


def _schema1_payload(data: bytes, document: Mapping[str, Any]) -> bytes:
    """The signed bytes: all but the signatures, which do not count for the digest (schema 1, "Signed Manifests")."""
    try:
        protected = json.loads(_base64url(document["signatures"][0]["protected"]))
        return data[: int(protected["formatLength"])] + _base64url(protected["formatTail"])
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ContentError("the signature of a schema 1 manifest cannot be read") from error


def _base64url(encoded: str) -> bytes:
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
