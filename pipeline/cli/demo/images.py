"""The images of the demo: small, of several kinds, sharing layers, the same bytes every time.

They are written as a standard OCI image layout. Layers are real ``tar.gz`` files with real files in them, configs are valid
(``rootfs.diff_ids`` are the digests of the uncompressed tars), so that every tool takes them for what they are.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.oci import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    REF_NAME,
    Digest,
    Platform,
)

CREATED = "2024-05-01T08:00:00Z"
CREATED_SECONDS = 1714550400

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
ARM_V7 = Platform("linux", "arm", "v7")


@dataclass(frozen=True)
class Recipe:
    """One image. Each platform gets the base layer, the layer that all images share, and one of its own."""

    name: str
    platforms: tuple[Platform, ...]
    docker: bool = False

    @property
    def kind(self) -> str:
        """What its tag points at, in a person's words."""
        if len(self.platforms) == 1:
            return "image manifest"
        return "Docker manifest list" if self.docker else "OCI index"


RECIPES = (
    Recipe("demo/base:1.0", (AMD64, ARM64, ARM_V7)),
    Recipe("demo/web:1.0", (AMD64, ARM64, ARM_V7)),
    Recipe("demo/web:1.1", (AMD64, ARM64)),
    Recipe("demo/api:2.3.1", (AMD64, ARM64), docker=True),
    Recipe("demo/worker:2.3.1", (AMD64, ARM64), docker=True),
    Recipe("demo/migrate:2.3.1", (AMD64,)),
)

Json = dict[str, Any]


@dataclass(frozen=True)
class MadeImage:
    """One image for one platform. ``layers`` has the size in bytes of each."""

    name: str
    platform: Platform
    manifest: Digest
    layers: dict[Digest, int]


@dataclass(frozen=True)
class _Layer:
    data: bytes
    diff_id: Digest


def make_layout(folder: Path) -> list[MadeImage]:
    """Write all images of ``RECIPES`` into ``folder``, which must not exist, as one image layout."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    images, made = [], []
    shared = _Shared()
    for recipe in RECIPES:
        manifests = []
        for platform in recipe.platforms:
            manifest, layers = _write_manifest(folder, recipe, platform, shared)
            manifests.append({**manifest, "platform": _platform_json(platform)})
            sizes = {Digest.parse(layer["digest"]): layer["size"] for layer in layers}
            made.append(MadeImage(recipe.name, platform, Digest.parse(manifest["digest"]), sizes))
        descriptor = manifests[0] if len(manifests) == 1 else _write_index(folder, recipe, manifests)
        images.append({**descriptor, "annotations": {REF_NAME: f"docker.io/{recipe.name}"}})
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_bytes(_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images}))
    return made


def _write_index(folder: Path, recipe: Recipe, manifests: list[Json]) -> Json:
    media_type = DOCKER_LIST if recipe.docker else OCI_INDEX
    return _write(folder, media_type, _json({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}))


def _write_manifest(folder: Path, recipe: Recipe, platform: Platform, shared: _Shared) -> tuple[Json, list[Json]]:
    """The descriptors of the manifest and of its layers."""
    made = _layers(recipe, platform, shared)
    config = _write(folder, DOCKER_CONFIG if recipe.docker else OCI_CONFIG, _json(_config(recipe, platform, made)))
    layers = [_write(folder, DOCKER_LAYER if recipe.docker else OCI_LAYER, layer.data) for layer in made]
    media_type = DOCKER_MANIFEST if recipe.docker else OCI_MANIFEST
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers}
    return _write(folder, media_type, _json(manifest)), layers


class _Shared:
    """The lower layers, each made once."""

    def __init__(self) -> None:
        self.base = functools.cache(_base)
        self.zones = functools.cache(_zones)


def _layers(recipe: Recipe, platform: Platform, shared: _Shared) -> list[_Layer]:
    """As with real images: the lower a layer, the more images have it."""
    program = recipe.name.partition("/")[2].partition(":")[0]
    layers = [shared.base(platform), shared.zones()]
    if program != "base":
        own = {
            f"usr/bin/{program}": _machine_code(f"{recipe.name} {platform}", 200_000),
            f"etc/{program}.conf": f"# settings of {recipe.name}\nlisten = 8080\n".encode(),
        }
        layers.append(_layer(own))
    return layers


def _base(platform: Platform) -> _Layer:
    return _layer(
        {
            "etc/os-release": b'NAME="Demo Linux"\nID=demo\n',
            "usr/lib/libdemo.so.1": _machine_code(f"libdemo {platform}", 300_000),
            "usr/bin/sh": _machine_code(f"sh {platform}", 120_000),
        }
    )


def _zones() -> _Layer:
    return _layer({f"usr/share/zoneinfo/Demo/{number:02}": _text(f"zone {number}", 4_000) for number in range(40)})


def _layer(files: Mapping[str, bytes]) -> _Layer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        parents = {str(parent) for name in files for parent in Path(name).parents if parent.name}
        for folder in sorted(parents):
            entry = _entry(folder, 0o755)
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
        for name, data in files.items():
            entry = _entry(name, 0o755 if "/bin/" in name else 0o644)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return _Layer(gzip.compress(buffer.getvalue(), mtime=0), Digest.of(buffer.getvalue()))


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = mode, CREATED_SECONDS
    return entry


def _config(recipe: Recipe, platform: Platform, layers: Sequence[_Layer]) -> Json:
    program = recipe.name.partition("/")[2].partition(":")[0]
    return {
        "created": CREATED,
        **_platform_json(platform),
        "config": {
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": [f"/usr/bin/{program}" if program != "base" else "/usr/bin/sh"],
            "Labels": {"org.opencontainers.image.title": recipe.name},
        },
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
        "history": [{"created": CREATED, "created_by": "image-tools demo"} for _ in layers],
    }


def _platform_json(platform: Platform) -> Json:
    fields = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return {name: value for name, value in fields.items() if value}


def _write(folder: Path, media_type: str, data: bytes) -> Json:
    """Write a blob; its descriptor."""
    digest = Digest.of(data)
    (folder / "blobs" / digest.algorithm / digest.hex).write_bytes(data)
    return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


def _machine_code(seed: str, size: int) -> bytes:
    """What programs are to a compressor: noise."""
    return random.Random(seed).randbytes(size)


def _text(seed: str, size: int) -> bytes:
    source = random.Random(seed)
    words = ("spring", "summer", "autumn", "winter", "noon", "dusk", "dawn")
    return " ".join(source.choice(words) for _ in range(size // 6)).encode()


def _json(document: Json) -> bytes:
    return json.dumps(document, indent=2).encode()
