"""The edge to the cache: an OCI image layout on disk (image-layout.md), and one inside it for every image.

``share/<algorithm>/<hex>`` holds every blob once; ``images/<reference>/<platform>/`` is where an image/arch was copied to;
``.state/`` is never archived. Promises: what is put here is complete or absent; what is read as metadata is checked
against its digest; a blob counts as present with the size that a manifest states or, where that is wrong, with its digest.
(Layers are hashed again when they are packed, as skopeo reuses a blob by its name alone; a folder of links takes those that
this very run has hashed as they arrived.)
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.core import disk, files, oci, reference
from pipeline.core.bundle import Bundle
from pipeline.core.errors import ContentError, EnvironmentProblem, UsageError
from pipeline.core.files import TEMPORARY
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, walk
from pipeline.core.reference import Reference
from pipeline.storage.bundle_state import BUNDLE_INFO, IMAGES, IMAGES_LIST, BundleState
from pipeline.storage.image_layout import BLOBS, INDEX, LAYOUT_FILE, OCI_LAYOUT, layout_index, link
from pipeline.storage.true_sizes import TrueSizes

SHARE = "share"
STATE = ".state"


class Cache:
    """The folder that all bundles of one machine or repository share. Safe to use from many threads."""

    def __init__(self, root: Path, check: Callable[[], None] = walk.no_check) -> None:
        """``check`` is called all along what may take long, and ends it by raising."""
        self.root = root
        self.share = root / SHARE
        self._share = str(self.share)
        self.state = root / STATE
        self._images = root / IMAGES
        self._resolved = self.state / "resolved"
        self.database = self.state / "doit.sqlite3"
        self.lock_file = self.state / "lock"
        self.known_registries = self.state / "registries.json"
        self.partials = self.state / "partial"
        self._check = check
        self._parsed: dict[Digest, Manifest | Index] = {}
        self._true_sizes = TrueSizes(self.state / "sizes.json", check)
        self._arrived: dict[Digest, os.stat_result] = {}
        """What this run has hashed as it wrote it: in its place, unless somebody else takes it away, as act 3 would find."""

    def check(self) -> None:
        """Refuse a folder that holds something else. Raises UsageError; writes nothing."""
        if not self.root.exists():
            return
        if not self.root.is_dir():
            raise UsageError(f"the cache {self.root} is not a folder", tip="name another one with -cache")
        if not (self.root / LAYOUT_FILE).exists() and not self.state.exists() and any(self.root.iterdir()):
            raise UsageError(
                f"the folder {self.root} holds other files and is not a cache", tip="name a new folder with -cache"
            )

    def prepare(self) -> None:
        """Make the folder a valid, empty image layout if it is not one yet. Raises EnvironmentProblem."""
        try:
            if not (self.share / "sha256").is_dir():
                (self.share / "sha256").mkdir(parents=True)
                files.sync_folder(self.share)  # or a power loss could take the folder with all that is durable in it
            (self.root / IMAGES).mkdir(exist_ok=True)
            files.write_if_changed(self.root / LAYOUT_FILE, OCI_LAYOUT)
            link(self.root / BLOBS, SHARE)
            if not (self.root / INDEX).exists():
                files.write_atomic(self.root / INDEX, layout_index(()))
            for folder in (self.root, self.share / "sha256", self.root / IMAGES, self.state):
                disk.check_writable(folder)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk.problem(error) from error
            raise EnvironmentProblem(
                f"cannot write to the cache {self.root}: {error.strerror}", tip="name another folder with -cache"
            ) from error

    def blob(self, digest: Digest) -> Path:
        return Path(f"{self._share}/{digest.algorithm}/{digest.hex}")

    def partial(self, digest: Digest) -> Path:
        """What has arrived so far of a blob that is being fetched. Kept over failures and kills; see ``steps.fetch``."""
        return self.partials / f"{digest.algorithm}-{digest.hex}"

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here. Where it has another size than ``descriptor`` states, its digest decides: it is hashed,
        once.
        """
        return self._size(descriptor) is not None

    def _size(self, descriptor: Descriptor) -> int | None:
        """How many bytes the blob has, None where it is not here."""
        digest = descriptor.digest
        arrived = self._arrived.get(digest)
        if arrived is not None:
            return arrived.st_size
        try:  # not through Path: this is asked for every blob of every image, several times a run
            status = os.stat(f"{self._share}/{digest.algorithm}/{digest.hex}")  # noqa: PTH116
        except OSError:
            return None
        is_right = status.st_size == descriptor.size or self._true_sizes.is_right(digest, self.blob(digest), status)
        return status.st_size if is_right else None

    def note_arrival(self, digest: Digest) -> None:
        """Remember, for this run, that the blob was hashed while it was written."""
        self._arrived[digest] = self.blob(digest).stat()

    def arrived_size(self, digest: Digest) -> int | None:
        """Bytes of a blob that this run hashed while it wrote it, and that nobody has written to since; None of any other."""
        arrived = self._arrived.get(digest)
        if arrived is None:
            return None
        try:
            status = self.blob(digest).stat()
        except OSError:
            return None
        return status.st_size if _identity(status) == _identity(arrived) else None

    def sized(self, descriptor: Descriptor) -> Descriptor:
        """``descriptor`` with the size that the blob has, where it is here and has another one."""
        size = self._size(descriptor)
        return descriptor if size is None or size == descriptor.size else replace(descriptor, size=size)

    def remove_if_damaged(self, digest: Digest) -> None:
        """Remove a blob that does not match its digest; one that does stays, whatever anybody says of it."""
        self._arrived.pop(digest, None)
        path = self.blob(digest)
        with contextlib.suppress(OSError), path.open("rb") as file:  # one that cannot be read is as good as damaged
            if files.hash_file(file, digest.algorithm, self._check)[0] == digest.hex:
                return
        path.unlink(missing_ok=True)

    def read(self, digest: Digest) -> bytes:
        """A small object, checked against its digest. Raises ContentError, also where it is missing."""
        try:
            return files.read_verified(self.blob(digest), digest, oci.MAX_MANIFEST_SIZE)
        except OSError as error:
            raise ContentError(f"{digest} is not in the cache: {error.strerror}") from error

    def put(self, data: bytes, digest: Digest, document: Manifest | Index | None = None) -> None:
        """As ``write``, but what is here undamaged stays, with its time."""
        try:
            self.read(digest)
        except ContentError:
            self.write(data, digest, document)

    def write(self, data: bytes, digest: Digest, document: Manifest | Index | None = None) -> None:
        """Keep ``data``, which the caller has checked against ``digest`` and may have parsed; a damaged copy is replaced."""
        files.write_atomic(self.blob(digest), data)
        if document is not None:
            self._parsed[digest] = document

    def parse(self, digest: Digest) -> Manifest | Index:
        """The manifest or index in the blob ``digest``, verified once a run. Raises ContentError."""
        parsed = self._parsed.get(digest)
        if parsed is None:
            document = oci.parse(self.read(digest))
            if not isinstance(document, Manifest | Index):
                raise ContentError(f"{digest} is a schema 1 manifest, which cannot be kept as it is")
            parsed = self._parsed[digest] = document
        return parsed

    def closure(self, descriptor: Descriptor) -> tuple[Descriptor, ...]:
        """A manifest or index and all it needs, each object once, in order of first use. Raises ContentError.

        Sizes are those of the blobs that are here, whatever a manifest says.
        """
        return tuple(self.sized(blob) for blob in self._closure(descriptor))

    def wrong_sizes(self, descriptor: Descriptor) -> list[tuple[Descriptor, int]]:
        """What of the closure a manifest is wrong about: as it is described, and the size that it has."""
        pairs = ((blob, self.sized(blob)) for blob in self._closure(descriptor))
        return [(blob, sized.size) for blob, sized in pairs if sized is not blob]

    def _closure(self, descriptor: Descriptor) -> Iterable[Descriptor]:
        return walk.closure(descriptor, lambda each: self.parse(each.digest), check=self._check).values()

    def missing(self, descriptor: Descriptor) -> tuple[Descriptor, ...]:
        """What of the closure is not here. Where a manifest is missing, only it is named: what it needs is unknown."""
        try:
            return tuple(item for item in self._closure(descriptor) if not self.has(item))
        except ContentError:
            return (descriptor,)

    def require(self, descriptor: Descriptor) -> int:
        """How many bytes the closure has. Raises ContentError where one of its blobs is not here."""
        total = 0
        for blob in self._closure(descriptor):
            size = self._size(blob)
            if size is None:
                raise ContentError(f"{blob.digest} is not in the cache", tip="run the same command again")
            total += size
        return total

    def image_folder(self, name: Reference) -> Path:
        return self._images / name.folder

    def resolved_record(self, name: Reference) -> Path:
        return self._resolved / f"{name.folder}.json"

    def bundle_state(self, bundle: Bundle) -> BundleState:
        return BundleState(self.state / "bundles" / bundle.id)

    def clean_up(self) -> int:
        """Remove what a killed run left behind: our temporary files and folders, and skopeo's. Call under the lock.

        Bytes that this set free.
        """
        found = list(self.leftovers())
        size = sum(files.size_below(path) for path in found)
        for path in found:
            files.remove(path)
        return size

    def leftovers(self) -> Iterator[Path]:
        """Temporary files and folders, at any depth. Nothing of ours that is complete has such a name."""
        yield from (path for path in sorted(self.root.glob(f"{TEMPORARY}*")))
        for part in (self.root / IMAGES, self.share, self.state):
            for folder, names, filenames in os.walk(part):
                for name in [name for name in names if name.startswith(TEMPORARY)]:
                    names.remove(name)
                    yield Path(folder, name)
                yield from (Path(folder, name) for name in filenames if name.startswith((TEMPORARY, "oci-put-blob")))


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def publish(cache: Cache, state: BundleState) -> None:
    """Show a bundle's metadata in the cache itself, so that the folder reads as that bundle."""
    for source, target in _published(cache, state):
        files.write_if_changed(target, source.read_bytes(), durable=False)
        files.write_if_changed(target.with_name(LAYOUT_FILE), OCI_LAYOUT, durable=False)
        link(target.with_name(BLOBS), os.path.relpath(cache.share, target.parent))


def is_published(cache: Cache, state: BundleState) -> bool:
    try:
        return all(source.read_bytes() == target.read_bytes() for source, target in _published(cache, state))
    except OSError:
        return False


def _published(cache: Cache, state: BundleState) -> Iterator[tuple[Path, Path]]:
    document = json.loads(state.index.read_bytes())
    for entry in document["manifests"]:
        name = reference.parse(entry["annotations"][oci.REF_NAME])
        yield state.image_index(name), cache.image_folder(name) / INDEX
    yield state.images_list, cache.root / IMAGES_LIST
    yield state.info, cache.root / BUNDLE_INFO
    yield state.index, cache.root / INDEX
