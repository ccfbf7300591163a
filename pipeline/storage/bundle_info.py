"""What a bundle was made of and made with: ``bundle.json`` in it. ``merge`` goes by it.

    {"schemaVersion": 1, "tool": "image-tools 0.1.0",
     "codec": "gzip", "level": 6, "library": "zlib 1.2.13", "epoch": null,
     "images": [{"reference": "docker.io/library/nginx:1.27", "position": 1, "asked": "amd64,arm64", "referrers": []}],
     "folders": {"docker.io/library/nginx+1.27": ["linux-amd64", "linux-arm64"]}}

A shard also has ``"shard": "1/3"``, ``"lock"`` (the digest of the lock that was divided) and ``"failed"``. A whole bundle has
none of these: its bytes do not tell in how many parts it was fetched. ``position`` is that in the list: of a shard, in the
list that was divided. ``folders`` are those below ``images/``, with those of their platforms, in the order of the archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import __version__
from pipeline.core import bounded_json, files
from pipeline.core.bounded_json import natural, text
from pipeline.core.bundle import Output
from pipeline.core.errors import ArchiveError, ContentError
from pipeline.core.oci import Digest
from pipeline.storage.archive import Codec
from pipeline.storage.archive.codecs import FRAMINGS
from pipeline.storage.bundle_state import BUNDLE_INFO

FILE = BUNDLE_INFO
TOOL = f"image-tools {__version__}"


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How blobs are packed. Frames of the same blob are the same bytes where all of this is the same."""

    codec: str
    level: int | None
    library: str
    tool: str = TOOL


def packing(output: Output) -> Packing:
    """How the archive of ``output`` is packed: what its bytes depend on beside the images."""
    codec = output.compression.value
    if not output.is_archive:
        return Packing(codec=codec, level=None, library="")
    framing = FRAMINGS[Codec(codec)]
    return Packing(codec=codec, level=framing.default_level if output.level is None else output.level, library=framing.library)


@dataclass(frozen=True, kw_only=True)
class ListedImage:
    """``referrers`` are the names of what came along with it, elsewhere in the bundle."""

    reference: str
    position: int
    asked: str
    referrers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """Which part of which lock, and which images of it failed."""

    number: int
    count: int
    lock: Digest
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BundleInfo:
    """``epoch`` is SOURCE_DATE_EPOCH, or None where the images themselves give the time."""

    packing: Packing
    epoch: int | None
    images: tuple[ListedImage, ...]
    folders: Mapping[str, tuple[str, ...]]
    shard: ShardInfo | None = None


def dump(info: BundleInfo) -> bytes:
    packing, shard = info.packing, info.shard
    document: dict[str, Any] = {
        "schemaVersion": 1,
        "tool": packing.tool,
        "codec": packing.codec,
        "level": packing.level,
        "library": packing.library,
        "epoch": info.epoch,
    }
    if shard is not None:
        document |= {"shard": f"{shard.number}/{shard.count}", "lock": str(shard.lock), "failed": list(shard.failed)}
    document["images"] = [
        {"reference": each.reference, "position": each.position, "asked": each.asked, "referrers": list(each.referrers)}
        for each in info.images
    ]
    document["folders"] = {folder: list(platforms) for folder, platforms in info.folders.items()}
    return files.dump_json(document)


def parse(data: bytes, place: str) -> BundleInfo:
    """Raises ArchiveError for what ``dump`` did not make; ``place`` is what messages call it."""
    try:
        document = bounded_json.loads(data)
        if document["schemaVersion"] != 1:
            raise ValueError(f"version {document['schemaVersion']}")
        level, epoch = document["level"], document["epoch"]
        return BundleInfo(
            packing=Packing(
                tool=text(document["tool"]),
                codec=text(document["codec"]),
                level=None if level is None else natural(level),
                library=text(document["library"]),
            ),
            epoch=None if epoch is None else natural(epoch),
            images=tuple(_image(each) for each in document["images"]),
            folders={_path(folder): tuple(map(_path, platforms)) for folder, platforms in document["folders"].items()},
            shard=_shard(document) if "shard" in document else None,
        )
    except (LookupError, TypeError, ValueError, AttributeError, ContentError) as error:
        raise ArchiveError(f"{FILE} in {place} is damaged: {error}", tip="copy the archive again") from error


def _image(entry: Mapping[str, Any]) -> ListedImage:
    return ListedImage(
        reference=text(entry["reference"]),
        position=natural(entry["position"]),
        asked=text(entry["asked"]),
        referrers=tuple(text(name) for name in entry["referrers"]),
    )


def _shard(document: Mapping[str, Any]) -> ShardInfo:
    number, _, count = text(document["shard"]).partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= 10_000):
        raise ValueError("no shard")
    return ShardInfo(
        number=int(number),
        count=int(count),
        lock=Digest.parse(text(document["lock"])),
        failed=tuple(text(name) for name in document["failed"]),
    )


def _path(value: Any) -> str:
    """Raises ValueError for what leads elsewhere."""
    if any(part in ("", ".", "..") for part in text(value).split("/")):
        raise ValueError(f"{value!a} is no folder")
    return str(value)
