"""Inventories of bundles, locks and registries, and what a delta takes for its base: any of these, or an inventory itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.core import reference
from pipeline.core.errors import ContentError, InputError
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, parse, walk
from pipeline.core.parallel import in_parallel
from pipeline.core.reference import Reference
from pipeline.reader.contents import Contents, open_contents
from pipeline.registry.distribution import Distribution
from pipeline.storage import image_lock, inventory, ssh_signature
from pipeline.storage.inventory import Inventory, InventoryMaker

_START = 4096


def read_base(path: Path, check: Callable[[], None] = walk.no_check, signers: Path | None = None) -> Inventory:
    """The inventory in ``path``, or that of the lock or the bundle which it is. Raises InputError, ArchiveError.

    With ``signers``, an inventory must be signed by one of them; what is ours, a lock or a bundle, need not.
    """
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(_START).lstrip()
        if start.startswith(b"{"):
            return inventory.read(path) if signers is None else _signed(path, signers)
    return of_source(path, check)


def _signed(path: Path, signers: Path) -> Inventory:
    """Of the very bytes whose signature was checked. Raises ArchiveError, InputError."""
    data = ssh_signature.read(path)
    signature = ssh_signature.read(path.with_name(path.name + ssh_signature.SUFFIX))
    who = ssh_signature.signer(path, data, signature, signers, ssh_signature.RECEIPT)
    log.info("%s is signed by %s", path.name, who)
    return inventory.parse(data, str(path))


def of_source(path: Path, check: Callable[[], None] = walk.no_check) -> Inventory:
    """What a lock names, or a bundle holds. Raises InputError, ArchiveError."""
    if path.name.endswith((image_lock.SUFFIX, ".yaml", ".yml")):
        return _of_lock(path)
    return of_contents(open_contents(path, check), path.name)


def of_contents(contents: Contents, of: str) -> Inventory:
    """What a bundle holds; of a delta, what is in it. Raises InputError where it cannot be told."""
    maker = InventoryMaker(of, inventory.SOURCE)
    for image in contents.bundled:
        maker.add_image(str(image.reference), image.descriptor.digest)
        try:
            closure = contents.closure(image.descriptor)
        except ContentError as error:
            raise InputError([f"{contents.store.place}: {image.reference}: {error.message}"]) from error
        for blob in closure.values():
            if contents.size(blob.digest) is not None:
                maker.add_blob(blob.digest, blob.size, image.reference.name, inventory.RECORDED)
    return maker.made()


def _of_lock(path: Path) -> Inventory:
    lock = image_lock.read(path)
    lock.require_layers(path)
    maker = InventoryMaker(path.name.removesuffix(image_lock.SUFFIX), inventory.SOURCE)
    for name, image in lock.images.items():
        maker.add_image(name, image.digest)
        repository = reference.parse(name).name
        for layer in (each for platform in image.platforms for each in platform.layers):
            maker.add_blob(layer.digest, layer.size, repository, inventory.RECORDED)
    return maker.made()


def of_registry(
    distribution: Distribution, registry: str, names: Iterable[Reference], jobs: int, problems: list[str]
) -> Inventory:
    """What a registry has of ``names``: one manifest for each, and one for each platform. What it lacks goes to ``problems``.

    Raises RegistryError where it cannot be asked.
    """
    maker = InventoryMaker(registry, inventory.TARGET)

    def look(name: Reference) -> list[tuple[Descriptor, Manifest | Index | None]] | str:
        data = distribution.manifest(name)
        if data is None:
            return f"{name} is not there"

        def read(descriptor: Descriptor) -> Manifest | Index | None:
            found = data if descriptor is top else distribution.manifest(name.by_digest(descriptor.digest))
            document = parse(found) if found is not None else None
            return document if isinstance(document, Manifest | Index) else None

        document = parse(data)
        media_type = document.media_type if isinstance(document, Manifest | Index) else ""
        top = Descriptor(media_type, Digest.of(data), len(data))
        try:
            return list(walk.walk(top, read))
        except ContentError as error:
            return f"{name}: {error.message}"

    wanted = list(names)
    for name, found in zip(wanted, in_parallel(look, wanted, jobs), strict=True):
        if isinstance(found, str):
            problems.append(found)
            continue
        maker.add_image(str(name), found[0][0].digest)
        for descriptor, document in found:
            maker.add_blob(descriptor.digest, descriptor.size, name.name, inventory.READ)
            for blob in document.blobs if isinstance(document, Manifest) else ():
                maker.add_blob(blob.digest, blob.size, name.name, inventory.MANIFEST)
    return maker.made()
