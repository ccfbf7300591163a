"""What ``docker save`` and ``skopeo copy … docker-archive:`` write.

Their ``manifest.json`` lists images with their tags, configs and layers; manifests there are none, so they are made here: OCI
manifests, the same bytes for the same image each time. Docker 25 and later write an image layout as well, in which an index may
name platforms that were never pulled.

Source: moby/moby image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

from pipeline.core import bounded_json, oci
from pipeline.core.errors import ArchiveError, ContentError
from pipeline.core.log import log
from pipeline.core.oci import REF_NAME, Descriptor, Digest, Index
from pipeline.reader.contents.trees import Tree
from pipeline.storage.archive import ForeignArchiveError

_LAYER = "application/vnd.oci.image.layer.v1.tar"
MAX_ENTRIES = 10_000
"""Images, each as often as it has tags."""
_COMPRESSIONS = {b"\x1f\x8b": "+gzip", b"\x28\xb5\x2f\xfd": "+zstd"}


class DockerSave:
    """The images of a ``manifest.json`` as image layouts have them: ``made`` are manifests, ``paths`` the files of other blobs,
    and ``index`` is the ``index.json``.
    """

    def __init__(self, tree: Tree, data: bytes) -> None:
        """Raises ArchiveError for what is damaged, ForeignArchiveError for another ``manifest.json``."""
        self.made: dict[Digest, bytes] = {}
        self.paths: dict[Digest, str] = {}
        self._tree = tree
        self._layers: dict[str, dict[str, Any]] = {}
        try:
            document = bounded_json.loads(data)
            if isinstance(document, dict):
                raise ForeignArchiveError(
                    f"{tree.place} was written by 'skopeo copy … dir:', which keeps no names",
                    tip="copy it with 'skopeo copy dir:… oci:FOLDER:TAG' and name that folder",
                )
            found = (entry for image in document for entry in self._entries(image))
            entries = list(islice(found, MAX_ENTRIES + 1))
            if len(entries) > MAX_ENTRIES:
                raise ContentError(f"it lists more than {MAX_ENTRIES} images")
        except (KeyError, TypeError, ValueError, AttributeError, ContentError) as error:
            raise ArchiveError(f"manifest.json in {tree.place} is damaged: {error}", tip="save the images again") from error
        self.index = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries}).encode()

    def _entries(self, image: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A descriptor for each tag of an image, or one without."""
        config, path = self._config(str(image["Config"]))
        diffs = [Digest.parse(each) for each in oci.load_json(config)["rootfs"]["diff_ids"]]
        files = [str(name) for name in image["Layers"]]
        if len(diffs) != len(files):
            raise ContentError(f"{path} names {len(diffs)} layers, manifest.json {len(files)}")
        manifest = {
            "schemaVersion": 2,
            "mediaType": oci.OCI_MANIFEST,
            "config": {"mediaType": oci.OCI_CONFIG, "digest": str(Digest.of(config)), "size": len(config)},
            "layers": [self._layer(name, diff) for name, diff in zip(files, diffs, strict=True)],
        }
        data = json.dumps(manifest, indent=2).encode()
        digest = Digest.of(data)
        self.made[digest] = data
        entry = {"mediaType": oci.OCI_MANIFEST, "digest": str(digest), "size": len(data)}
        tags = image.get("RepoTags") or [""]
        for tag in tags:
            yield {**entry, "annotations": {REF_NAME: str(tag)}} if tag else entry

    def _config(self, path: str) -> tuple[bytes, str]:
        size = None if self._tree.leads_out(path) else self._tree.size(path)
        if size is None or size > oci.MAX_MANIFEST_SIZE:
            raise ContentError(f"there is no config {path}")
        data = b"".join(self._tree.read(path, 0, size))
        self.paths[Digest.of(data)] = path
        return data, path

    def _layer(self, path: str, diff: Digest) -> dict[str, Any]:
        """The descriptor of a layer. Its file is mostly the plain tar that the config names; if not, it must be hashed."""
        if path in self._layers:
            return self._layers[path]
        size = None if self._tree.leads_out(path) else self._tree.size(path)
        start = b"".join(self._tree.read(path, 0, min(size, 4))) if size else b""
        ending = next((ending for magic, ending in _COMPRESSIONS.items() if start.startswith(magic)), "")
        digest = diff
        if ending and size:
            hasher = hashlib.sha256()
            for piece in self._tree.read(path, 0, size):
                hasher.update(piece)
            digest = Digest("sha256", hasher.hexdigest())
        if size is not None:
            self.paths[digest] = path
        self._layers[path] = {"mediaType": _LAYER + ending, "digest": str(digest), "size": size or 0}
        return self._layers[path]


class Blobs(Protocol):
    """What ``present_children`` needs of a store."""

    @property
    def place(self) -> str: ...
    def size(self, digest: Digest) -> int | None: ...
    def open_blob(self, digest: Digest) -> Iterator[bytes]: ...


def present_children(store: Blobs, data: bytes) -> tuple[bytes | None, dict[Digest, bytes]]:
    """The ``index.json`` in ``data`` without what Docker did not pull, and the indexes that had to be made for that.

    None for what cannot be read, which is told where it is read.
    """
    made: dict[Digest, bytes] = {}
    try:
        document = bounded_json.loads(data)
        entries = [_present(store, entry, made) for entry in document["manifests"]]
        return json.dumps({**document, "manifests": entries}).encode(), made
    except (KeyError, TypeError, ValueError, AttributeError, ContentError, ArchiveError):
        return None, {}


def _present(store: Blobs, entry: dict[str, Any], made: dict[Digest, bytes]) -> dict[str, Any]:
    descriptor = Descriptor.from_json(entry)
    size = store.size(descriptor.digest)
    if descriptor.media_type not in oci.INDEX_TYPES or size is None or size > oci.MAX_MANIFEST_SIZE:
        return entry
    index = oci.parse(b"".join(store.open_blob(descriptor.digest)))
    if not isinstance(index, Index):
        return entry
    present = tuple(child for child in index.manifests if store.size(child.digest) is not None)
    if not present or len(present) == len(index.manifests):
        return entry
    platforms = ", ".join(str(child.platform) for child in present if child.platform.is_known)
    log.warning("%s holds only %s of %s, so the image gets another digest", store.place, platforms, descriptor.digest)
    annotations = {"annotations": entry["annotations"]} if "annotations" in entry else {}
    if len(present) == 1:
        return {**present[0].to_json(), **annotations}
    content = index.subset(present)
    digest = Digest.of(content)
    made[digest] = content
    return {**entry, "digest": str(digest), "size": len(content)}
