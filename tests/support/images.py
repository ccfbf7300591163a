"""Images of every shape, made of real little tar files, the same bytes for the same seed.

Here they are only built (``layer``, ``image``, ``index``, ``attestation``, ``artifact``, ``helm_chart``, ``schema1``);
``push.py`` brings them into a registry and ``kinds.py`` names one of every kind. Configs are valid: ``rootfs.diff_ids``
are the digests of the uncompressed tars, so that skopeo can copy and convert them.

Sources: OCI image-spec 1.1 ``manifest.md``, ``image-index.md``, ``config.md``; Docker image manifest v2 schema 1 and 2.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import zstandard

from pipeline.core.oci import Platform

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
IN_TOTO = "application/vnd.in-toto+json"

CREATED = "2024-03-01T12:00:00Z"
"""``created`` of every config that is not given another."""

_SUFFIX = {
    False: {"": "", "gzip": "+gzip", "zstd": "+zstd"},
    True: {"": "", "gzip": ".gzip", "zstd": ".zstd"},
}
_TAR = {False: "application/vnd.oci.image.layer.v1.tar", True: "application/vnd.docker.image.rootfs.diff.tar"}
_FOREIGN_TAR = {
    False: "application/vnd.oci.image.layer.nondistributable.v1.tar",
    True: "application/vnd.docker.image.rootfs.foreign.diff.tar",
}


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Content:
    """Bytes of a media type: any object that a descriptor may point at."""

    media_type: str
    data: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        return digest_of(self.data)

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@dataclass(frozen=True)
class Layer:
    """A layer as the registry stores it. One with ``urls`` is foreign: manifests name it, the registry has it not."""

    data: bytes = field(repr=False)
    diff_id: str
    compression: str = "gzip"
    urls: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return digest_of(self.data)

    def content(self, docker: bool) -> Content:
        names = _FOREIGN_TAR if self.urls else _TAR
        return Content(names[docker] + _SUFFIX[docker][self.compression], self.data)

    def descriptor(self, docker: bool) -> dict[str, Any]:
        return self.content(docker).descriptor(**({"urls": list(self.urls)} if self.urls else {}))


@dataclass(frozen=True)
class Image:
    """A manifest with its config and its layers. ``annotations`` stand on its descriptor in an index."""

    platform: Platform
    manifest: Content
    config: Content
    layers: tuple[Content, ...]
    foreign: frozenset[str] = frozenset()
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""

    @property
    def is_attestation(self) -> bool:
        return self.annotations.get("vnd.docker.reference.type") == "attestation-manifest"


@dataclass(frozen=True)
class Index:
    """An index or a manifest list, with everything it points at."""

    content: Content
    entries: tuple[Image | Index, ...]

    def images(self) -> tuple[Image, ...]:
        """The images in it, those of nested indexes included, in order."""
        images: list[Image] = []
        for entry in self.entries:
            images.extend(entry.images() if isinstance(entry, Index) else [entry])
        return tuple(images)


def platform(text: str, os_version: str = "", os_features: Sequence[str] = ()) -> Platform:
    """``linux/arm/v7`` as a value."""
    os, architecture, variant, *_ = [*text.split("/"), "", ""]
    return Platform(os, architecture, variant, os_version, tuple(os_features))


def layer(seed: str, size: int = 3000, compression: str = "gzip", *, text: bool = False) -> Layer:
    """A tar with a folder and a file of ``size`` bytes, random (incompressible) or ``text``.

    ``compression`` is ``gzip``, ``zstd`` or ``""`` for an uncompressed tar.
    """
    tar = _tar({f"app/{seed.replace('/', '-')}": _bytes(seed, size, text)})
    if compression == "gzip":
        data = gzip.compress(tar, mtime=0)
    elif compression == "zstd":
        data = zstandard.ZstdCompressor().compress(tar)
    else:
        data = tar
    return Layer(data, digest_of(tar), compression)


def foreign_layer(seed: str, size: int = 3000) -> Layer:
    """A layer that is fetched from elsewhere, as in Windows images: it never gets into the registry."""
    made = layer(seed, size)
    return replace(made, urls=(f"https://mcr.example.invalid/{made.digest.replace(':', '/')}",))


def image(
    where: str | Platform = "linux/amd64",
    layers: Sequence[Layer] = (),
    *,
    docker: bool = False,
    media_type: bool = True,
    created: str = CREATED,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """An image for one platform, OCI or Docker schema 2. Without ``media_type`` the manifest does not say what it is."""
    target = platform(where) if isinstance(where, str) else where
    config = Content(DOCKER_CONFIG if docker else OCI_CONFIG, _json(_config(target, layers, created, labels or {})))
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [each.descriptor(docker) for each in layers],
        "annotations": dict(annotations or {}),
    }
    return Image(
        target,
        _document(manifest, media_type),
        config,
        tuple(each.content(docker) for each in layers),
        frozenset(each.digest for each in layers if each.urls),
    )


def attestation(about: Image, seed: str = "attestation") -> Image:
    """What BuildKit adds to an index for ``about``: a manifest for ``unknown/unknown`` with in-toto statements as layers."""
    statement = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "subject": [{"name": seed, "digest": {"sha256": about.manifest.digest.partition(":")[2]}}],
    }
    content = Content(IN_TOTO, _json(statement))
    config = {
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [content.digest]},
    }
    config_content = Content(OCI_CONFIG, _json(config))
    predicate = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config_content.descriptor(),
        "layers": [content.descriptor(annotations=predicate)],
    }
    return Image(
        Platform("unknown", "unknown"),
        _document(manifest),
        config_content,
        (content,),
        annotations={
            "vnd.docker.reference.digest": about.manifest.digest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
    )


def artifact(
    files: Sequence[Content],
    *,
    artifact_type: str = "",
    config: Content | None = None,
    subject: Image | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """An OCI artifact: any content, no platform; the empty config unless another is given."""
    config = config or Content(OCI_EMPTY, b"{}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": config.descriptor(),
        "layers": [each.descriptor() for each in files],
        "subject": subject.manifest.descriptor() if subject else None,
        "annotations": dict(annotations or {}),
    }
    return Image(Platform(), _document(manifest), config, tuple(files), artifact_type=artifact_type)


def helm_chart(seed: str, size: int = 2000) -> Image:
    """What ``helm push`` makes: a chart's metadata as the config, its ``.tgz`` as the only layer."""
    metadata = {"name": seed, "version": "1.0.0", "description": "A chart of the tests", "apiVersion": "v2"}
    chart = {f"{seed}/Chart.yaml": _json(metadata), f"{seed}/values.yaml": _bytes(seed, size, True)}
    content = Content(HELM_CHART, gzip.compress(_tar(chart), mtime=0))
    titles = {"org.opencontainers.image.title": seed, "org.opencontainers.image.version": "1.0.0"}
    return artifact([content], config=Content(HELM_CONFIG, _json(metadata)), annotations=titles)


def index(
    *entries: Image | Index,
    docker: bool = False,
    media_type: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> Index:
    """An OCI index or a Docker manifest list of ``entries``, verbatim: the same platform may come twice."""
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST if docker else OCI_INDEX,
        "manifests": [_entry(entry) for entry in entries],
        "annotations": dict(annotations or {}),
    }
    return Index(_document(document, media_type), entries)


def _entry(entry: Image | Index) -> dict[str, Any]:
    if isinstance(entry, Index):
        return entry.content.descriptor()
    more: dict[str, Any] = {}
    if entry.annotations:
        more["annotations"] = dict(entry.annotations)
    if entry.platform != Platform():
        more["platform"] = _platform_json(entry.platform)
    if entry.artifact_type:
        more["artifactType"] = entry.artifact_type
    return entry.manifest.descriptor(**more)


def _platform_json(target: Platform) -> dict[str, Any]:
    fields = {
        "architecture": target.architecture,
        "os": target.os,
        "os.version": target.os_version,
        "os.features": list(target.os_features),
        "variant": target.variant,
    }
    return {name: value for name, value in fields.items() if value}


def _config(target: Platform, layers: Sequence[Layer], created: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "created": created,
        **_platform_json(target),
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["/bin/sh"],
            "Labels": dict(labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "history": [
            *({"created": created, "created_by": f"COPY {number} /app"} for number, _ in enumerate(layers)),
            {"created": created, "created_by": 'CMD ["/bin/sh"]', "empty_layer": True},
        ],
    }


def _document(document: Mapping[str, Any], media_type: bool = True) -> Content:
    """A manifest or an index without its empty fields, and, where asked, without the field that says what it is."""
    kept = {k: v for k, v in document.items() if (v or k in ("layers", "manifests")) and (media_type or k != "mediaType")}
    return Content(str(document["mediaType"]), json.dumps(kept, indent=3).encode())


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _bytes(seed: str, size: int, text: bool) -> bytes:
    source = random.Random(seed)
    if not text:
        return source.randbytes(size)
    words = ("layer", "blob", "digest", "manifest", "index", "platform", "registry", "tag")
    line = " ".join(source.choice(words) for _ in range(200)) + "\n"
    return (line * (size // len(line) + 1)).encode()[:size]


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in sorted({name.rpartition("/")[0] for name in files}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, 1_700_000_000
            tar.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o644, 1_700_000_000
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
