"""Bring one image into a registry, bit for bit, from wherever it lies.

skopeo pushes the manifests with their blobs. It pulls from a registry of our own on this machine (``serve``), which reads the
archive in place; so nothing is unpacked, and every byte that goes out is hashed twice: by us while it is read, by skopeo
against the manifest. Guarantees: manifests and indexes arrive with their bytes unchanged; a blob that the target has is not
sent, and counts as there only when a byte of it was read; damage is reported by the place where it lies, and never pushed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pipeline.core import oci
from pipeline.core.errors import ArchiveError, Cause, ContentError, RegistryError
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, walk
from pipeline.core.reference import Reference
from pipeline.reader.contents import BundledImage, Contents
from pipeline.registry.distribution import Distribution
from pipeline.registry.presence import Presence, is_denied
from pipeline.registry.skopeo.client import Skopeo

_UNCLEAR = (Cause.UNSUPPORTED, Cause.UNKNOWN)


class CountingSource:
    """``Contents`` as a source to serve, that remembers what was read of it and what was damaged. Thread-safe."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self._read: Counter[Digest] = Counter()
        self._damage: dict[Digest, str] = {}
        self._present: set[Digest] = set()
        self._lock = threading.Lock()

    @property
    def images(self) -> Sequence[tuple[str, Descriptor]]:
        return self.contents.images

    def size(self, digest: Digest) -> int | None:
        return self.contents.size(digest)

    def why_not(self, digest: Digest) -> str:
        return ""

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
        """Whether the blob need not be sent any more."""
        return descriptor.digest in self._present or self.sent([descriptor.digest]) >= descriptor.size

    def mark_present(self, digest: Digest) -> None:
        """The target has this blob: it counts as dealt with."""
        self._present.add(digest)

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


@dataclass(frozen=True, kw_only=True)
class Pusher:
    """What a push needs, for all images of one load. Thread-safe."""

    skopeo: Skopeo
    distribution: Distribution
    presence: Presence
    source: CountingSource
    registry: LocalRegistry
    denials: dict[str, RegistryError] = field(default_factory=dict)
    """What registries said that did not let us read."""

    def push(self, image: BundledImage, target: Reference) -> None:
        """Push ``image`` with everything it leads to. Raises RegistryError; ContentError where what we have is damaged.

        skopeo pushes manifests with their blobs. Indexes are put as they are: skopeo writes them anew, without what it does
        not know, and hides a registry's refusal behind its own attempt to convert them.
        """
        contents = self.source.contents
        found = list(walk.walk(image.descriptor, contents.read_document, check=contents.check, innermost_first=True))
        needed = {blob.digest for _, document in found if isinstance(document, Manifest) for blob in document.blobs}
        missing = [each for each in needed if self.source.size(each) is None and contents.left_out(each) is None]
        if missing:
            raise ContentError(f"{', '.join(map(str, missing))} is not in {contents.store.place}")
        for descriptor, document in found:
            where = target if descriptor is image.descriptor else target.by_digest(descriptor.digest)
            try:
                if isinstance(document, Index):
                    self.distribution.put_manifest(where, contents.read(descriptor.digest), document.media_type)
                    self.source.mark_present(descriptor.digest)
                else:
                    self._push_manifest(image, descriptor, document, where)
            except RegistryError as error:
                if error.tip or error.cause not in _UNCLEAR or not (hint := _hint(document)):
                    raise
                raise RegistryError(error.message, error.cause, tip=hint) from error
            self._prove(where, descriptor.digest, partial(self._gives, where, descriptor.digest))

    def _push_manifest(self, image: BundledImage, descriptor: Descriptor, manifest: Manifest, where: Reference) -> None:
        blobs = [blob.digest for blob in manifest.blobs]
        lacking = [digest for digest in blobs if not self._is_present(where, digest)]
        self.skopeo.push(
            Reference(self.registry.host, image.reference.repository, "", descriptor.digest),
            self.registry.login,
            where,
            sent=lambda: self.source.sent(blobs),
            refused=lambda error: self.source.damage([descriptor.digest, *blobs]) or self._denial(where, error),
        )
        for digest in lacking:
            self._prove(where, digest, partial(self.presence.has, where, digest, self._size(digest)))

    def _denial(self, where: Reference, error: RegistryError) -> RegistryError | None:
        """A registry that does not know us may answer skopeo with anything: what it said when we asked is the reason then."""
        denial = self.denials.get(where.registry) if error.cause in _UNCLEAR else None
        return None if denial is None else RegistryError(denial.message, denial.cause, tip=denial.tip)

    def _bring(self, where: Reference, digest: Digest, size: int) -> bool:
        """A layer that a delta leaves out, from where it was proved to be."""
        if not self.presence.has(where, digest, size):
            self.presence.bring(where, digest, size)
        self.source.mark_present(digest)
        return True

    def _is_present(self, where: Reference, digest: Digest) -> bool:
        """Whether the target has the blob, or takes it over from another repository of its registry."""
        if (absent := self.source.contents.left_out(digest)) is not None:
            return self._bring(where, digest, absent.size)
        size = self._size(digest)
        try:
            is_present = self.presence.has(where, digest, size) or self.presence.mount(where, digest, size)
        except RegistryError as error:
            # Who may push need not be allowed to read: skopeo finds that out.
            if not is_denied(error):
                raise
            if error.cause is Cause.UNAUTHORIZED:
                self.denials[where.registry] = error
            return False
        if is_present:
            self.source.mark_present(digest)
        return is_present

    def _prove(self, where: Reference, digest: Digest, is_there: Callable[[], bool]) -> None:
        """See to it that what was pushed can be read: a registry does not take what it claims to have, and skopeo sends none.

        Bytes that are uploaded as a blob are written, whatever it claims; manifests are blobs there, too.
        """
        try:
            if is_there():
                return
            log.info("%s: the registry claims to have %s, and cannot give it; it is sent again", where, digest)
            self.distribution.push_blob(where, digest, self._size(digest), lambda: self.source.open_blob(digest))
            if is_there():
                return
        except RegistryError as error:
            if is_denied(error):  # who may push need not be allowed to read
                return
            raise
        raise RegistryError(
            f"{where}: the registry took {digest} and cannot give it",
            Cause.SERVER,
            tip="it may answer from memory for what a garbage collection removed: restart it, and load again",
        )

    def _gives(self, where: Reference, digest: Digest) -> bool:
        try:
            return self.distribution.manifest(where.by_digest(digest)) is not None
        except RegistryError as error:
            if error.cause is Cause.SERVER:
                return False
            raise

    def _size(self, digest: Digest) -> int:
        size = self.source.size(digest)
        assert size is not None, "it was looked for"
        return size


def _hint(document: Manifest | Index) -> str:
    """Why a registry may refuse this kind of manifest; empty where nothing is known."""
    if isinstance(document, Manifest) and any(layer.is_foreign for layer in document.layers):
        return "some registries refuse layers that stay where they are: allow their URLs there"
    if document.media_type in (oci.DOCKER_MANIFEST, oci.DOCKER_LIST):
        return 'registries that take OCI types only refuse Docker\'s: allow them there (in zot, "compat": ["docker2s2"])'
    return ""


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
