"""Docker image manifests of schema 1, signed, as old registries hold them.

The registry verifies the signature, so it is a real one: ES256 over the manifest, in the "pretty JWS" form of libtrust,
in which the signed JSON stays readable and the signatures are put in front of its closing brace. The digest is that of
the signed payload; a registry may hand out the same payload with another signature.

Source: Docker image manifest v2 schema 1, "Signed Manifests"; RFC 7515 (JWS); libtrust's ``jsonsign.go`` and ``util.go``.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.images import CREATED, Layer, digest_of

MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_TAIL = b"\n}"
_KEY = ec.derive_private_key(0x1AB1E, ec.SECP256R1())


@dataclass(frozen=True)
class Schema1:
    """A signed manifest; ``payload`` is what its digest is made of."""

    signed: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    layers: tuple[Layer, ...]
    architecture: str

    @property
    def digest(self) -> str:
        return digest_of(self.payload)


def schema1(repository: str, tag: str, layers: Sequence[Layer], architecture: str = "amd64") -> Schema1:
    """A signed manifest; unlike newer ones it names its repository and tag. Layers from the lowest to the topmost."""
    history = []
    parent = ""
    for number, each in enumerate(layers):
        identity = hashlib.sha256(f"{parent}{each.digest}".encode()).hexdigest()
        entry: dict[str, Any] = {
            "id": identity,
            "created": CREATED,
            "container_config": {"Cmd": [f"COPY {number} /app"]},
            **({"parent": parent} if parent else {}),
        }
        if number == len(layers) - 1:
            entry |= {"architecture": architecture, "os": "linux", "config": {"Cmd": ["/bin/sh"]}}
        history.append({"v1Compatibility": json.dumps(entry, separators=(",", ":"))})
        parent = identity
    document = {
        "schemaVersion": 1,
        "name": repository,
        "tag": tag,
        "architecture": architecture,
        "fsLayers": [{"blobSum": each.digest} for each in reversed(layers)],
        "history": history[::-1],
    }
    payload = json.dumps(document, indent=3).encode()
    return Schema1(_sign(payload), payload, tuple(layers), architecture)


def _sign(payload: bytes) -> bytes:
    head = payload[: -len(_TAIL)]
    protected = {"formatLength": len(head), "formatTail": _base64url(_TAIL), "time": CREATED}
    protected_text = _base64url(json.dumps(protected, separators=(",", ":")).encode())
    message = f"{protected_text}.{_base64url(payload)}".encode()
    r, s = decode_dss_signature(_KEY.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    signature = {
        "header": {"jwk": _jwk(), "alg": "ES256"},
        "signature": _base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big")),
        "protected": protected_text,
    }
    return head + b',\n   "signatures": ' + json.dumps([signature]).encode() + _TAIL


def _jwk() -> dict[str, str]:
    public = _KEY.public_key()
    numbers = public.public_numbers()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    name = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return {
        "crv": "P-256",
        "kid": ":".join(name[at : at + 4] for at in range(0, len(name), 4)),
        "kty": "EC",
        "x": _base64url(numbers.x.to_bytes(32, "big")),
        "y": _base64url(numbers.y.to_bytes(32, "big")),
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
