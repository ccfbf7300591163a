"""Bring one image into a registry, bit for bit, from wherever it lies.

skopeo does the pushing: it knows registries, logins and certificates. It pulls from a registry of our own on this machine
(``serve``), which reads the archive in place; so nothing is unpacked, and every byte that goes out is hashed twice: by us while
it is read, by skopeo against the manifest. Promises: manifests and indexes arrive with their bytes unchanged; a blob that
the target has is not read; damage is told by the place where it lies, and never pushed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import ArchiveError, Cause, ContentError, RegistryError
from pipeline.core.oci import Descriptor, Digest, Index, walk
from pipeline.core.reference import Reference
from pipeline.reader.contents import BundledImage, Contents
from pipeline.registry.skopeo.client import Skopeo


class CountingSource:
    """``Contents`` as a source to serve, that remembers what was read of it and what was damaged. Thread-safe."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self._read: Counter[Digest] = Counter()
        self._damage: dict[Digest, str] = {}
        self._lock = threading.Lock()

    @property
    def images(self) -> Sequence[tuple[str, Descriptor]]:
        return self.contents.images

    def size(self, digest: Digest) -> int | None:
        return self.contents.size(digest)

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        # What fails at once fails in the server's hands; what fails later, on the way.
        with self._noting_damage(digest):
            pieces = self.contents.open_blob(digest, offset, length)
        return self._counted(digest, pieces)

    def sent(self, digests: Iterable[Digest] | None = None) -> int:
        """Bytes of these blobs, or of all, that went out so far."""
        wanted = None if digests is None else list(digests)  # before the lock is taken: to find them may take it, too
        with self._lock:
            return sum(self._read.values() if wanted is None else (self._read[digest] for digest in wanted))

    def has_sent(self, descriptor: Descriptor) -> bool:
        return self.sent([descriptor.digest]) >= descriptor.size

    def damage(self, digests: Iterable[Digest]) -> ContentError | None:
        """What turned out to be damaged of these blobs."""
        with self._lock:
            return next((ContentError(self._damage[digest]) for digest in digests if digest in self._damage), None)

    def _counted(self, digest: Digest, pieces: Iterator[bytes]) -> Iterator[bytes]:
        with self._noting_damage(digest):
            for piece in pieces:
                with self._lock:
                    self._read[digest] += len(piece)
                yield piece

    @contextmanager
    def _noting_damage(self, digest: Digest) -> Iterator[None]:
        try:
            yield
        except (ArchiveError, OSError) as error:
            with self._lock:
                self._damage[digest] = str(error)
            raise


@dataclass(frozen=True)
class LocalRegistry:
    """Where our own registry listens, and the file with the login to it."""

    host: str
    login: Path


def ask(skopeo: Skopeo, target: Reference, expected: Digest) -> bool:
    """Whether ``target`` names ``expected`` already. Raises RegistryError where the registry cannot be asked."""
    try:
        data = skopeo.manifest(target)
    except RegistryError as error:
        # Many registries deny what they do not have. Whether we may push, the push itself tells.
        if error.cause in (Cause.NOT_FOUND, Cause.UNAUTHORIZED):
            return False
        raise
    return Digest.of(data, expected.algorithm) == expected


def push(
    skopeo: Skopeo, blob_source: CountingSource, local_registry: LocalRegistry, image: BundledImage, target: Reference
) -> None:
    """Push ``image`` with everything it leads to. Raises RegistryError, and ContentError where what we have is damaged."""
    closure = blob_source.contents.closure(image.descriptor)
    if missing := [digest for digest in closure if blob_source.size(digest) is None]:
        raise ContentError(f"{', '.join(map(str, missing))} is not in {blob_source.contents.store.place}")

    def pushed(descriptor: Descriptor, where: Reference, index_only: bool) -> None:
        source = Reference(local_registry.host, image.reference.repository, "", descriptor.digest)
        skopeo.push(
            source,
            local_registry.login,
            where,
            index_only=index_only,
            sent=lambda: blob_source.sent(closure),
            refused=lambda: blob_source.damage(closure),
        )

    for descriptor in _apart(blob_source.contents, image.descriptor):
        pushed(descriptor, target.by_digest(descriptor.digest), _has_indexes(blob_source.contents, descriptor))
    pushed(image.descriptor, target, _has_indexes(blob_source.contents, image.descriptor))


def after(blob_source: CountingSource, waiting: Mapping[Reference, BundledImage]) -> dict[Reference, frozenset[Reference]]:
    """Which pushes should wait for which, so that a layer that images share is sent once and mounted for the others.

    The smallest image that has a layer goes first, as the others can go on the soonest then.
    """
    sized: list[tuple[int, Reference, set[Digest]]] = []
    for target, image in waiting.items():
        try:
            closure = blob_source.contents.closure(image.descriptor)
        except ContentError:
            continue
        sized.append((sum(blob.size for blob in closure.values()), target, set(closure)))
    first: dict[Digest, Reference] = {}
    order: dict[Reference, frozenset[Reference]] = {}
    for _, target, digests in sorted(sized, key=lambda item: item[0]):
        order[target] = frozenset({first.setdefault(digest, target) for digest in digests} - {target})
    return order


def _has_indexes(contents: Contents, descriptor: Descriptor) -> bool:
    """Whether it is an index that holds others: skopeo copies them, and then cannot copy what is around them."""
    parsed = contents.parse(descriptor.digest)
    return isinstance(parsed, Index) and any(isinstance(contents.parse(child.digest), Index) for child in parsed.manifests)


def _apart(contents: Contents, top: Descriptor) -> list[Descriptor]:
    """What is pushed before ``top``, each on its own, innermost first: all that stands in indexes that hold others."""
    found = list(walk.walk(top, contents.read_document, check=contents.check, innermost_first=True))
    around = [index for each, index in found if isinstance(index, Index) and _has_indexes(contents, each)]
    inside = {child.digest for index in around for child in index.manifests}
    return [descriptor for descriptor, _ in found if descriptor.digest in inside]
