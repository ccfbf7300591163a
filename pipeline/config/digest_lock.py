"""The lock: what every reference of a bundle named when it was saved, so that it can be repeated bit for bit.

``write`` makes ``<bundle>.lock.yaml`` of a finished save, in a stable order with a readable diff; ``apply`` pins a bundle to
it, or raises ``InputError`` with all that was added, removed or changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core import files, reference
from pipeline.core.bundle import Bundle, BundleImage, Referrer
from pipeline.core.errors import ContentError, InputError
from pipeline.core.oci import Digest
from pipeline.storage.records import referrers as referrers_record

VERSION = 1
SUFFIX = ".lock.yaml"
MAX_SIZE = 32 << 20
"""Bytes of a lock file: some 50,000 images."""
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


@dataclass(frozen=True, kw_only=True)
class LockedImage:
    """``source`` is what the reference named at the registry, ``digest`` what is in the bundle: they differ for a subset."""

    asked: str
    fetched_from: str
    source: Digest
    digest: Digest
    platforms: tuple[LockedPlatform, ...]
    referrers: tuple[Referrer, ...] | None = None
    """What came along; None where it was not asked for."""

    def to_json(self) -> dict[str, Any]:
        document = {
            "asked": self.asked,
            "from": self.fetched_from,
            "source": str(self.source),
            "digest": str(self.digest),
            "platforms": [{"platform": p.platform, "digest": str(p.digest), "size": p.size} for p in self.platforms],
        }
        if self.referrers is None:
            return document
        return {**document, "referrers": [referrers_record.to_json(referrer) for referrer in self.referrers]}


def asked(image: BundleImage) -> str:
    """What is asked for of an image, in words that the lock and the bundle must have in common."""
    return str(image.platforms) if image.referrers is None else f"{image.platforms}, with referrers: {image.referrers}"


@dataclass(frozen=True)
class _Pin:
    """What is read back of a locked image."""

    asked: str
    source: Digest
    digest: Digest
    referrers: tuple[Referrer, ...] | None


def write(path: Path, images: Mapping[str, LockedImage]) -> bool:
    """Write the lock. True when it changed. It says nothing of the machine or the folder it was made in."""
    import yaml

    entries = [{"image": key, **images[key].to_json()} for key in sorted(images)]
    document = {"version": VERSION, "bundle": path.name.removesuffix(SUFFIX), "images": entries}
    # Escaped: YAML takes some characters for ends of lines, and registries may call an artifact whatever they like.
    text = HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=200)
    return files.write_if_changed(path, text.encode())


def apply(bundles: Iterable[Bundle]) -> tuple[Bundle, ...]:
    """The bundles, pinned to their locks. Raises InputError, with every lock that is missing or disagrees."""
    problems: list[str] = []
    pinned = []
    for bundle in bundles:
        try:
            pinned.append(_pinned(bundle))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems, tip="save with -lock to write the lock anew, or undo what was changed")
    return tuple(pinned)


def _pinned(bundle: Bundle) -> Bundle:
    assert bundle.lock_file is not None, "the order was checked"
    locked = _read(bundle.lock_file)
    bundle = _settled(bundle, locked)
    problems = list(_differences(bundle, locked))
    if problems:
        raise InputError([f"{bundle.lock_file}: the lock and the bundle '{bundle.name}' disagree", *problems])
    pins = ((image, locked[str(image.reference)]) for image in bundle.images)
    images = (replace(image, locked=pin.source, locked_as=pin.digest, locked_referrers=pin.referrers) for image, pin in pins)
    return replace(bundle, images=tuple(images))


def digests(path: Path) -> dict[str, Digest]:
    """What each reference named at its registry when the lock was made. Raises InputError."""
    return {name: pin.source for name, pin in _read(path).items()}


def _settled(bundle: Bundle, locked: Mapping[str, _Pin]) -> Bundle:
    """With what became of its candidates when the lock was made: no registry is asked."""
    images = list(bundle.images)
    known = {str(image.reference) for image in images}
    for name in locked:
        if name not in known:
            found = reference.parse(name)
            candidate = next((each for each in bundle.candidates if each.covers(found)), None)
            if candidate is not None:
                images.append(candidate.becomes(found, len(images) + 1))
    return replace(bundle, images=tuple(images), candidates=())


def _read(path: Path) -> dict[str, _Pin]:
    import yaml  # here and above, as most saves need none

    try:
        # The loader that takes everything for a text: nothing in a lock needs more, and no merge keys can grow in it.
        text = files.read_bounded(path, MAX_SIZE)
        if text is None:
            raise InputError([f"{path}: the lock is larger than {MAX_SIZE:,} bytes, more than any has"])
        document = yaml.load(text, Loader=yaml.BaseLoader)
        if document["version"] != str(VERSION):
            raise InputError([f"{path}: the lock has version {document['version']}; this program reads {VERSION}"])
        return {_text(entry["image"]): _pin(entry) for entry in document["images"]}
    except OSError as error:
        raise InputError([f"cannot read the lock {path}: {error.strerror}"]) from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError([f"{path}{line}: this is no YAML, so no lock; was it merged by hand?"]) from error
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError, RecursionError, ContentError) as error:
        raise InputError([f"{path}: this is no lock of ours"]) from error


def _pin(entry: Mapping[str, Any]) -> _Pin:
    referrers = entry.get("referrers")
    found = None if referrers is None else tuple(referrers_record.from_json(each) for each in referrers)
    return _Pin(_text(entry["asked"]), Digest.parse(_text(entry["source"])), Digest.parse(_text(entry["digest"])), found)


def _text(value: object) -> str:
    """Raises TypeError for anything else: with aliases, a few lines are a list whose text has no end."""
    if isinstance(value, str):
        return value
    raise TypeError("not a text")


def _differences(bundle: Bundle, locked: Mapping[str, _Pin]) -> Iterable[str]:
    defined: dict[str, BundleImage] = {str(image.reference): image for image in bundle.images}
    for name in defined:
        if name not in locked:
            yield f"  added:   {name} is not in the lock"
    for name in locked:
        if name not in defined:
            yield f"  removed: {name} is in the lock only"
    for name, image in defined.items():
        if name in locked and locked[name].asked != asked(image):
            yield f"  changed: {name} is locked for {locked[name].asked}, but {asked(image)} is asked for"
