"""The lock file, ``<bundle>.lock.yaml``: what every reference of a bundle named, down to its layers.

    version: 2
    bundle: web
    blobs:                         every layer once: digest, bytes, media type
    - [sha256:…, 3145728, application/vnd.oci.image.layer.v1.tar+gzip]
    images:
    - image: docker.io/library/nginx:1.27
      position: 1                  in the list, from 1
      asked: amd64,arm64
      from: docker.io/library/nginx:1.27
      source: sha256:…             what it named at the registry
      digest: sha256:…             what it is in the bundle: another one for a subset of its platforms
      platforms:
      - platform: linux/amd64
        digest: sha256:…
        size: 3150000              bytes of manifest, config and layers
        layers: [0123456789ab]     the first digits of their digests, as many as tell them apart

Version 1 has neither positions nor layers: it pins a bundle, and is no base and no ground to divide by. It is still read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import files
from pipeline.core.amounts import bytes_text
from pipeline.core.bounded_json import text
from pipeline.core.bundle import Referrer
from pipeline.core.errors import ContentError, InputError
from pipeline.core.oci import Descriptor, Digest
from pipeline.storage.records import referrers as referrers_record

VERSION = 2
SUFFIX = ".lock.yaml"
MAX_SIZE = 32 << 20
"""Bytes of a lock file: some 30,000 images."""
HEADER = (
    "# What each reference named when this bundle was saved. Written by 'image-tools save -lock' or 'image-tools lock';\n"
    "# 'image-tools save -locked' saves exactly this again. Keep it beside the definition, under version control.\n"
)
_SHORT = 12
"""Digits by which an image names its layers, where these tell all layers apart."""


@dataclass(frozen=True, kw_only=True)
class LockedPlatform:
    """``size`` counts the bytes of manifest, config and layers."""

    platform: str
    digest: Digest
    size: int
    layers: tuple[Descriptor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LockedImage:
    """``source`` is what the reference named at the registry, ``digest`` what is in the bundle: they differ for a subset."""

    asked: str
    fetched_from: str
    source: Digest
    digest: Digest
    platforms: tuple[LockedPlatform, ...]
    position: int = 0
    """Its place in the list, from 1; 0 in a lock of version 1."""
    referrers: tuple[Referrer, ...] | None = None
    """What came along; None where it was not asked for."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """``images`` by reference, in the order of the list where that is known."""

    version: int
    images: Mapping[str, LockedImage]

    def require_layers(self, path: Path) -> None:
        """Raises InputError for a lock that says nothing of layers."""
        if self.version < VERSION:
            raise InputError(
                [f"{path}: the lock has version {self.version}, which says nothing of layers"],
                tip="write it anew with 'image-tools lock', which fetches none",
            )


def dump(name: str, images: Mapping[str, LockedImage]) -> bytes:
    """The lock of the bundle ``name``. It says nothing of the machine or the folder it was made in."""
    import yaml

    layers = {layer.digest: layer for image in images.values() for platform in image.platforms for layer in platform.layers}
    length = _length(layers)
    document = {
        "version": VERSION,
        "bundle": name,
        "blobs": [[str(digest), layers[digest].size, layers[digest].media_type] for digest in sorted(layers)],
        "images": [{"image": key, **_to_json(images[key], length)} for key in sorted(images)],
    }
    # Escaped: YAML takes some characters for ends of lines, and registries may call an artifact whatever they like.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    written = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=False, width=200, default_flow_style=None)
    return (HEADER + written).encode()


def read(path: Path) -> Lock:
    """Raises InputError for what is no lock, or one of a version that is not known."""
    import yaml  # here and above, as most saves need none

    try:
        # The loader that takes everything for a text: nothing in a lock needs more, and no merge keys can grow in it.
        data = files.read_bounded(path, MAX_SIZE)
        if data is None:
            raise InputError([f"{path}: the lock is larger than {bytes_text(MAX_SIZE)}, more than any has"])
        document = yaml.load(data, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        if document["version"] not in ("1", str(VERSION)):
            raise InputError([f"{path}: the lock has version {document['version']}; this program reads {VERSION}"])
        table = _Layers(document.get("blobs", ()))
        found = {text(entry["image"]): _from_json(entry, table) for entry in document["images"]}
        in_order = dict(sorted(found.items(), key=lambda item: item[1].position))
        return Lock(version=int(document["version"]), images=in_order)
    except OSError as error:
        raise InputError([f"cannot read the lock {path}: {error.strerror}"]) from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError([f"{path}{line}: this is no YAML, so no lock; was it merged by hand?"]) from error
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError, RecursionError, ContentError) as error:
        raise InputError([f"{path}: this is no lock of ours"]) from error


def _to_json(image: LockedImage, length: int) -> dict[str, Any]:
    document = {
        "position": image.position,
        "asked": image.asked,
        "from": image.fetched_from,
        "source": str(image.source),
        "digest": str(image.digest),
        "platforms": [
            {
                "platform": each.platform,
                "digest": str(each.digest),
                "size": each.size,
                "layers": [layer.digest.hex[:length] for layer in each.layers],
            }
            for each in image.platforms
        ],
    }
    if image.referrers is None:
        return document
    return {**document, "referrers": [referrers_record.to_json(referrer) for referrer in image.referrers]}


def _length(digests: Iterable[Digest]) -> int:
    """How many digits tell these apart."""
    names = [digest.hex for digest in digests]
    return _SHORT if len({name[:_SHORT] for name in names}) == len(names) else 128


class _Layers:
    """The table of layers, by the first digits of their digests."""

    def __init__(self, rows: Any) -> None:
        self._layers: dict[str, Descriptor] = {}
        for row in rows:
            digest, size, media_type = map(text, row)
            layer = Descriptor(media_type, Digest.parse(digest), _natural(size))
            self._layers[layer.digest.hex] = self._layers[layer.digest.hex[:_SHORT]] = layer

    def named(self, name: Any) -> Descriptor:
        """Raises KeyError, TypeError."""
        return self._layers[text(name)]


def _from_json(entry: Mapping[str, Any], table: _Layers) -> LockedImage:
    referrers = entry.get("referrers")
    return LockedImage(
        asked=text(entry["asked"]),
        fetched_from=text(entry["from"]),
        source=Digest.parse(text(entry["source"])),
        digest=Digest.parse(text(entry["digest"])),
        position=_natural(entry.get("position", "0")),
        platforms=tuple(
            LockedPlatform(
                platform=text(each["platform"]),
                digest=Digest.parse(text(each["digest"])),
                size=_natural(each["size"]),
                layers=tuple(table.named(name) for name in each.get("layers", ())),
            )
            for each in entry["platforms"]
        ),
        referrers=None if referrers is None else tuple(referrers_record.from_json(each) for each in referrers),
    )


def _natural(value: Any) -> int:
    """Raises ValueError, TypeError."""
    digits = text(value)
    if not digits.isdecimal() or len(digits) > 18:
        raise ValueError(f"{digits!a} is no number")
    return int(digits)
