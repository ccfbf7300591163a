"""Act 2, one image: the index that it has in this bundle.

Takes the folders of the image's platforms, writes the image's ``index.json`` into the bundle's state and, where a subset of the
platforms makes new indexes, these into ``share/``. What a manifest states wrongly of the sizes is said here, once.
"""

from __future__ import annotations

from typing import Any

from pipeline.core import files
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ContentError
from pipeline.core.log import log
from pipeline.core.oci import REF_NAME, Descriptor
from pipeline.steps.images.choose import Choice
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.image_layout import INDEX, SOURCE_DIGEST, SUBJECT, layout_index, read_layout_index


def write_index(cache: Cache, state: BundleState, image: BundleImage, choice: Choice) -> None:
    """Raises ContentError when a platform's folder is not what the choice says."""
    if choice.index is not None and choice.is_subset:
        for digest, data in (*choice.inner, (choice.digest, choice.index)):
            cache.put(data, digest)
    files.write_atomic(state.image_index(image.reference), _made(cache, image, choice), durable=False)
    found = read_layout_index(state.image_index(image.reference))
    for blob, size in cache.wrong_sizes(found) if found else ():
        what = "%s: its manifest says that %s has %s bytes; it has %s. The digest is right, so it is saved as it is"
        log.warning(what, image.text, blob.digest, f"{blob.size:,}", f"{size:,}")


def is_current(cache: Cache, state: BundleState, image: BundleImage, choice: Choice) -> bool:
    """Whether the image's index in the bundle is as it would be made now, and all that it names is here."""
    path = state.image_index(image.reference)
    found = read_layout_index(path)
    try:
        return found is not None and not cache.missing(found) and path.read_bytes() == _made(cache, image, choice)
    except ContentError:
        return False


def _made(cache: Cache, image: BundleImage, choice: Choice) -> bytes:
    if choice.index is None:
        entry = _single(cache, image, choice)
    else:
        entry = Descriptor(choice.top.media_type, choice.digest, len(choice.index)).to_json()
        entry["annotations"] = {REF_NAME: str(image.reference)}
        if choice.is_subset:
            entry["annotations"][SOURCE_DIGEST] = str(choice.top.digest)
    if image.about is not None:
        if image.about.artifact_type:
            entry["artifactType"] = image.about.artifact_type
        entry["annotations"][SUBJECT] = str(image.about.subject)
    if image.locked_as is not None and entry["digest"] != str(image.locked_as):
        raise ContentError(
            f"it would be {entry['digest']} in the bundle, but it is locked as {image.locked_as}",
            tip="the lock was edited, or made by another version of image-tools or skopeo; save with -lock to write it anew",
        )
    return layout_index([entry])


def _single(cache: Cache, image: BundleImage, choice: Choice) -> dict[str, Any]:
    """A source without an index stays without one: the image is its one platform."""
    (platform,) = choice.platforms
    found = read_layout_index(cache.image_folder(image.reference) / platform.slug / INDEX)
    if found is None:
        raise ContentError(f"the folder of {platform.platform} is gone; run the same command again")
    return found.to_json()
