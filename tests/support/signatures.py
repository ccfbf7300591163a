"""What refers to images: signatures and attestations as cosign makes them, and artifacts with a ``subject``.

Nothing of cosign is run: a signature is a small OCI manifest whose one layer is the signed text and whose annotation is the
signature over it, which skopeo checks for real (``sigstoreSigned`` in a policy).

Sources: cosign ``specs/SIGNATURE_SPEC.md``; OCI image-spec 1.1 ``manifest.md``, "subject"; distribution-spec 1.1, "Referrers
Tag Schema".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.core.oci import Platform
from tests.support.client import RegistryClient
from tests.support.images import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Content, Image

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
COSIGN_SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
SPDX = "application/spdx+json"


class Key:
    """A key to sign with, and ``public``, as PEM, to verify with."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.public = self._private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self._private.sign(data, ec.ECDSA(hashes.SHA256()))).decode()


def cosign_tag(digest: str, kind: str = "sig") -> str:
    """``sha256-<hex>.sig``."""
    return f"{digest.replace(':', '-')}.{kind}"


def signature(digest: str, name: str, key: Key) -> Image:
    """What ``cosign sign`` makes of a manifest or index with this digest in the repository ``name``."""
    signed = {
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    text = Content(SIMPLE_SIGNING, json.dumps(signed).encode())
    return attached([text], [{"dev.cosignproject.cosign/signature": key.sign(text.data)}])


def attached(files: Sequence[Content], annotations: Sequence[Mapping[str, str]] = ()) -> Image:
    """A manifest of the form that cosign puts under its tags: an image config that says next to nothing."""
    document = {"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": [f.digest for f in files]}}
    config = Content(OCI_CONFIG, json.dumps(document).encode())
    notes = [{"annotations": dict(each)} for each in annotations] or [{} for _ in files]
    layers = [each.descriptor(**more) for each, more in zip(files, notes, strict=True)]
    return Image(Platform(), _manifest({"config": config.descriptor(), "layers": layers}), config, tuple(files))


def referrer(
    subject: Mapping[str, Any], artifact_type: str, files: Sequence[Content], annotations: Mapping[str, str] | None = None
) -> Image:
    """An artifact about ``subject`` (a descriptor), as ``oras attach`` makes it."""
    config = Content(OCI_EMPTY, b"{}")
    manifest = _manifest(
        {
            "artifactType": artifact_type,
            "config": config.descriptor(),
            "layers": [each.descriptor() for each in files],
            "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
            **({"annotations": dict(annotations)} if annotations else {}),
        }
    )
    return Image(Platform(), manifest, config, tuple(files), artifact_type=artifact_type)


def push_image(client: RegistryClient, repository: str, image: Image, tag: str = "") -> str:
    """Upload an image, by its digest alone unless it has a tag. Its digest."""
    for blob in (image.config, *image.layers):
        client.put_blob(repository, blob.data)
    return client.put_manifest(repository, tag or image.manifest.digest, image.manifest.data, image.manifest.media_type)


def push_referrer(client: RegistryClient, repository: str, subject: str, image: Image) -> str:
    """Upload an artifact about ``subject`` (a digest) and, as clients must on a registry without the API, list it."""
    digest = push_image(client, repository, image)
    tag = subject.replace(":", "-")
    answer = client.manifest(repository, tag)
    listed = json.loads(answer.body)["manifests"] if answer.status == 200 else []
    entry = {**image.manifest.descriptor(), "artifactType": image.artifact_type}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*listed, entry]}
    client.put_manifest(repository, tag, json.dumps(index).encode(), OCI_INDEX)
    return digest


def _manifest(fields: Mapping[str, Any]) -> Content:
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, **fields}
    return Content(OCI_MANIFEST, json.dumps(document, indent=1).encode())
