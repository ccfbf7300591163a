"""The one walk through indexes, for everything that follows them: closures, choices, checks, pushes, clean-ups.

An index names manifests and other indexes, and may name one of them thousands of times: three files of 80 entries each would
unfold to half a million. Guarantees: each object is read once; depth and number are bounded, else ``ContentError``;
``check`` is called for every entry, so that whoever walks can be interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.core.errors import ContentError
from pipeline.core.oci.descriptor import Descriptor
from pipeline.core.oci.digest import Digest
from pipeline.core.oci.manifest import INDEX_TYPES, Index, Manifest

MAX_DEPTH = 4
"""Indexes inside indexes; none in use goes beyond two."""
MAX_OBJECTS = 100_000
"""All that an image consists of, every platform included."""

Read = Callable[[Descriptor], Manifest | Index | None]
"""Returns what a descriptor names, or None where the walk is to pass over it."""


def no_check() -> None:
    """For walks that end soon enough."""


def walk(
    top: Descriptor,
    read: Read,
    *,
    check: Callable[[], None] = no_check,
    limit: int = MAX_OBJECTS,
    innermost_first: bool = False,
) -> Iterator[tuple[Descriptor, Manifest | Index]]:
    """``top`` and every manifest and index below it, each once, with the descriptor that names it first.

    An index comes before what it names or, ``innermost_first``, after it. What ``read`` or ``check`` raises ends the walk; so
    does a ContentError for more than MAX_DEPTH indexes in each other, or more than ``limit`` objects read.
    """
    seen: set[Digest] = set()
    count = 0

    def visit(descriptor: Descriptor, depth: int) -> Iterator[tuple[Descriptor, Manifest | Index]]:
        nonlocal count
        check()
        if descriptor.digest in seen:
            return
        seen.add(descriptor.digest)
        if depth > MAX_DEPTH:
            raise ContentError(f"{descriptor.digest}: indexes are nested more than {MAX_DEPTH} deep")
        document = read(descriptor)
        if document is None:
            return
        count += 1
        if count > limit:
            raise ContentError(f"{top.digest}: it leads to more than {limit} objects, more than any image has")
        if not innermost_first:
            yield descriptor, document
        for child in document.manifests if isinstance(document, Index) else ():
            yield from visit(child, depth + 1)
        if innermost_first:
            yield descriptor, document

    return visit(top, 0)


def indexes(
    top: Descriptor,
    read: Read,
    *,
    check: Callable[[], None] = no_check,
    limit: int = MAX_OBJECTS,
    innermost_first: bool = False,
) -> Iterator[tuple[Descriptor, Manifest | Index]]:
    """As ``walk``, but of what is below ``top`` only what is called an index is read."""

    def read_index(descriptor: Descriptor) -> Manifest | Index | None:
        return read(descriptor) if descriptor is top or descriptor.media_type in INDEX_TYPES else None

    return walk(top, read_index, check=check, limit=limit, innermost_first=innermost_first)


def leaves(top: Descriptor, read: Read, *, check: Callable[[], None] = no_check) -> Iterator[Descriptor]:
    """Every entry below ``top`` that is not an index, verbatim; ``top`` itself where it is a manifest.

    Leaves are not read. One that an index names twice, for two platforms, comes twice.
    """
    for descriptor, document in indexes(top, read, check=check):
        if isinstance(document, Manifest):
            yield descriptor
        else:
            yield from (child for child in document.manifests if child.media_type not in INDEX_TYPES)


def closure(top: Descriptor, read: Read, *, check: Callable[[], None] = no_check) -> dict[Digest, Descriptor]:
    """``top`` and all it needs, foreign layers excepted: each object once, in order of first use."""
    found: dict[Digest, Descriptor] = {}
    for descriptor, document in walk(top, read, check=check):
        found.setdefault(descriptor.digest, descriptor)
        if isinstance(document, Manifest):
            for blob in document.blobs:
                found.setdefault(blob.digest, blob)
        if len(found) > MAX_OBJECTS:
            raise ContentError(f"{top.digest}: more than {MAX_OBJECTS} objects belong to no image")
    return found
