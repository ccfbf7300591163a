"""The receipt of a load: an inventory of what arrived, which a delta can be made against.

What was loaded was read back in this load: manifests whole, and a byte of each layer. What a registry lets nobody read is there
by its manifest alone, and said to be; so is what an earlier receipt names and a load of a part was not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.acts.load.tasks import LoadContext
from pipeline.core.errors import InputError
from pipeline.core.oci import INDEX_TYPES, MANIFEST_TYPES
from pipeline.core.reference import Reference
from pipeline.reader.contents import BundledImage
from pipeline.storage import inventory
from pipeline.storage.inventory import Inventory, InventoryMaker


def named_before(path: Path, registry: str, targets: Mapping[Reference, BundledImage]) -> dict[Reference, BundledImage]:
    """Those ``targets`` that the earlier receipt at ``path`` names, where it is one of this registry."""
    try:
        earlier = inventory.read(path)
    except InputError:
        return {}
    named = set(earlier.images) if earlier.of == registry else set()
    return {target: image for target, image in targets.items() if (str(target), image.descriptor.digest) in named}


def receipt(
    context: LoadContext,
    targets: Mapping[Reference, BundledImage],
    kept: Mapping[Reference, BundledImage],
    registry: str,
) -> Inventory:
    """Of those ``targets`` that are there, and of those that are ``kept`` from an earlier receipt."""
    maker = InventoryMaker(registry, inventory.TARGET)
    contents = context.blob_source.contents
    there = {target: image for target, image in targets.items() if target in context.there}
    for target, image in {**there, **kept}.items():
        maker.add_image(str(target), image.descriptor.digest)
        for blob in contents.closure(image.descriptor).values():
            is_manifest = blob.media_type in MANIFEST_TYPES | INDEX_TYPES
            is_read = target not in kept and (is_manifest or context.presence.is_proved(target, blob.digest))
            maker.add_blob(blob.digest, blob.size, target.name, inventory.READ if is_read else inventory.MANIFEST)
    return maker.made()
