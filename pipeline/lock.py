"""The lock: what every reference of a bundle named when it was saved, so that it can be repeated bit for bit.

``write`` makes ``<bundle>.lock.yaml`` of a finished save, in a stable order with a readable diff; ``apply`` pins a bundle to
it, or raises ``InputError`` with all that was added, removed or changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from . import files
from .bundle import Bundle, BundleImage
from .errors import ContentError, InputError
from .oci import Digest

VERSION = 1
HEADER = (
    "# What each reference named when this bundle was saved. Written by 'image-tools save -lock';\n"
    "# 'image-tools save -locked' saves exactly this again. Keep it beside the definition, under version control.\n"
)


@dataclass(frozen=True)
class LockedPlatform:
    """``size`` counts the bytes of manifest, config and layers."""

    platform: str
    digest: Digest
    size: int


@dataclass(frozen=True)
class LockedImage:
    """``source`` is what the reference named at the registry, ``digest`` what is in the bundle: they differ for a subset."""

    asked: str
    fetched_from: str
    source: Digest
    digest: Digest
    platforms: tuple[LockedPlatform, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "from": self.fetched_from,
            "source": str(self.source),
            "digest": str(self.digest),
            "platforms": [{"platform": p.platform, "digest": str(p.digest), "size": p.size} for p in self.platforms],
        }


def write(path: Path, name: str, images: Mapping[str, LockedImage]) -> bool:
    """Write the lock of the bundle ``name``. True when it changed."""
    document = {"version": VERSION, "bundle": name, "images": {key: images[key].to_json() for key in sorted(images)}}
    text = HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=200)
    return files.write_if_changed(path, text.encode())


def apply(bundle: Bundle) -> Bundle:
    """The bundle, pinned to its lock. Raises InputError when there is none, or when they disagree."""
    assert bundle.lock_file is not None
    locked = _read(bundle.lock_file)
    problems = _differences(bundle.images, locked)
    if problems:
        first = f"{bundle.lock_file}: the lock and the bundle '{bundle.name}' disagree"
        raise InputError([first, *problems, "TIP: save with -lock to write a new lock, or undo the change"])
    pinned = (replace(image, locked=Digest.parse(locked[str(image.reference)]["source"])) for image in bundle.images)
    return replace(bundle, images=tuple(pinned))


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = yaml.safe_load(path.read_bytes())
        if document["version"] != VERSION:
            raise InputError([f"{path}: the lock has version {document['version']}, this program reads {VERSION}"])
        for entry in document["images"].values():
            Digest.parse(entry["source"])
            Digest.parse(entry["digest"])
        return dict(document["images"])
    except OSError as error:
        raise InputError([f"cannot read the lock {path}: {error.strerror}\nTIP: save with -lock to write it"]) from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ContentError) as error:
        raise InputError([f"{path}: this is no lock file of ours\nTIP: save with -lock to write it again"]) from error


def _differences(images: Sequence[BundleImage], locked: Mapping[str, Mapping[str, Any]]) -> list[str]:
    defined = {str(image.reference): image for image in images}
    problems = [f"  added:   {name} is not in the lock" for name in defined if name not in locked]
    problems += [f"  removed: {name} is in the lock only" for name in locked if name not in defined]
    for name, image in defined.items():
        asked = locked.get(name, {}).get("asked", str(image.platforms))
        if asked != str(image.platforms):
            problems.append(f"  changed: {name} is locked for {asked}, but {image.platforms} is asked for")
    return problems
