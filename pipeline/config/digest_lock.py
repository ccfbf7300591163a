"""A bundle pinned to its lock: it is what every reference named when the lock was written, or there is an ``InputError`` with
all that was added, removed or changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.core import files, reference
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.errors import InputError
from pipeline.core.oci import Digest
from pipeline.storage import image_lock
from pipeline.storage.image_lock import LockedImage


def write(path: Path, images: Mapping[str, LockedImage]) -> bool:
    """Write the lock, in a stable order with a readable diff. True when it changed."""
    return files.write_if_changed(path, image_lock.dump(path.name.removesuffix(image_lock.SUFFIX), images))


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
    locked = image_lock.read(bundle.lock_file).images
    bundle = _settled(bundle, locked)
    problems = list(_differences(bundle, locked))
    if problems:
        raise InputError([f"{bundle.lock_file}: the lock and the bundle '{bundle.name}' disagree", *problems])
    pins = ((image, locked[str(image.reference)]) for image in bundle.images)
    images = (replace(image, locked=pin.source, locked_as=pin.digest, locked_referrers=pin.referrers) for image, pin in pins)
    return replace(bundle, images=tuple(images))


def digests(path: Path) -> dict[str, Digest]:
    """What each reference named at its registry when the lock was made. Raises InputError."""
    return {name: pin.source for name, pin in image_lock.read(path).images.items()}


def _settled(bundle: Bundle, locked: Mapping[str, LockedImage]) -> Bundle:
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


def _differences(bundle: Bundle, locked: Mapping[str, LockedImage]) -> Iterable[str]:
    defined: dict[str, BundleImage] = {str(image.reference): image for image in bundle.images}
    for name in defined:
        if name not in locked:
            yield f"  added:   {name} is not in the lock"
    for name in locked:
        if name not in defined:
            yield f"  removed: {name} is in the lock only"
    for name, image in defined.items():
        if name in locked and locked[name].asked != image.asked:
            yield f"  changed: {name} is locked for {locked[name].asked}, but {image.asked} is asked for"
