"""Images of a bundle as the archives that container runtimes import, straight from it: every blob is read once, and checked.

Takes the contents of a bundle and what the archives are for; returns what was written, with what its reader cannot keep.
Guarantees: an archive is complete or absent; nothing is unpacked or compressed; memory does not depend on sizes; the same bytes
for the same images.

Source: OCI image-spec 1.1, "Image Layout"; containerd, ``io.containerd.image.name``; Docker, "docker image save".
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.core import disk, files
from pipeline.core.bundle import PlatformFilter
from pipeline.core.errors import ContentError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import IMAGE_CONFIG_TYPES, REF_NAME, Descriptor, Digest, Index, Manifest, walk
from pipeline.reader.contents import BundledImage, Contents
from pipeline.reader.contents.contents import FULL_NAME
from pipeline.storage.archive.members import Member
from pipeline.storage.archive.tar_header import end_of_archive, header, padding

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Target(enum.Enum):
    """What archives are for."""

    CONTAINERD = "containerd"
    K3S = "k3s"
    RKE2 = "rke2"
    DOCKER = "docker"
    PODMAN = "podman"

    @property
    def takes_many(self) -> bool:
        """Whether one archive holds several images: podman invents digests for them."""
        return self is not Target.PODMAN


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An archive that was written, the images in it, and its size in bytes."""

    path: Path
    images: tuple[str, ...]
    size: int


@dataclass(frozen=True, kw_only=True)
class Export:
    """``notes`` say what a reader of the archives does not keep or cannot take."""

    archives: tuple[Exported, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    """One file of an archive: bytes, or a blob."""

    path: str
    size: int
    data: bytes = b""
    blob: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class _Image:
    """``top`` is what the archive names; ``manifests`` are its platforms that are exported."""

    bundled: BundledImage
    top: Descriptor
    manifests: tuple[tuple[Descriptor, Manifest], ...]

    @property
    def name(self) -> str:
        named = self.bundled.reference
        return str(named.by_tag(named.tag) if named.tag else named.by_digest(self.bundled.descriptor.digest))


class Exporter:
    """Of one bundle."""

    def __init__(
        self, contents: Contents, target: Target, platforms: PlatformFilter | None, interruption: Interruption
    ) -> None:
        """``platforms`` chooses; None is all that the bundle has."""
        self._contents = contents
        self._target = target
        self._platforms = platforms
        self._interruption = interruption
        self._notes: list[str] = []

    def run(self, images: Sequence[BundledImage], place: Path) -> Export:
        """Write to ``place``: a folder where each image has an archive, else a file.

        Raises UsageError, ContentError, ArchiveError, EnvironmentProblem (disk), Interrupted.
        """
        chosen = [found for image in images if (found := self._image(image)) is not None]
        if not chosen:
            raise UsageError("there is no image to export", tip="; ".join(self._notes))
        if self._target.takes_many:
            archives = [self._write(chosen, place)]
        else:
            place.mkdir(parents=True, exist_ok=True)
            archives = [self._write([image], place / _file_name(image.name)) for image in chosen]
        return Export(archives=tuple(archives), notes=tuple(dict.fromkeys(self._notes)))

    def _image(self, bundled: BundledImage) -> _Image | None:
        """None, and a note, for what a runtime cannot run, and for an image without a platform that is asked for."""
        leaves = [
            (leaf, document)
            for leaf, document in walk.walk(bundled.descriptor, self._contents.read_document, check=self._contents.check)
            if isinstance(document, Manifest)
        ]
        manifests = [(leaf, each) for leaf, each in leaves if each.config.media_type in IMAGE_CONFIG_TYPES]
        if not manifests:
            self._notes.append(f"{bundled.reference} is no container image, and left out")
            return None
        whole = len(manifests)
        if self._platforms is not None:
            known = {entry.descriptor.digest: entry.platform for entry in self._contents.platforms(bundled.descriptor)}
            wanted = self._platforms
            manifests = [each for each in manifests if wanted.matches(known[each[0].digest])]
            if not manifests:
                self._notes.append(f"{bundled.reference} has no platform {wanted}, and is left out")
                return None
        if self._target is Target.DOCKER and len(manifests) > 1:
            raise UsageError(
                f"{bundled.reference} has {len(manifests)} platforms, and an archive for Docker holds one",
                tip="choose it, e.g. -a amd64",
                setting="a",
            )
        top = bundled.descriptor
        is_lost = top.digest != manifests[0][0].digest and len(manifests) == 1
        if self._target is Target.DOCKER:
            self._notes.append("'docker load' keeps no digests: references by digest do not find these images")
        elif self._target is Target.PODMAN and is_lost and len(manifests) < whole:
            # It would look for what is missing.
            top = manifests[0][0]
            self._notes.append(
                f"{bundled.reference}: one platform is exported, and its index {bundled.descriptor.digest} is not"
            )
        elif self._target is Target.PODMAN and 1 < len(manifests) < whole:
            raise UsageError(
                f"{bundled.reference}: podman takes one platform, or all of them",
                tip="choose one with -a, or none",
                setting="a",
            )
        return _Image(bundled=bundled, top=top, manifests=tuple(manifests))

    def _write(self, images: Sequence[_Image], path: Path) -> Exported:
        members = list(self._docker(images) if self._target is Target.DOCKER else self._layout(images))
        size = sum(_in_tar(each.size) for each in members)
        disk.check_writable(path.absolute().parent)
        disk.check_room(size, path)
        temporary = files.temporary_beside(path)
        try:
            with temporary.open("wb") as file:
                self._tar(members, file)
                file.flush()
                os.fsync(file.fileno())
                written = file.tell()
            temporary.replace(path)
        finally:
            files.remove(temporary)
        files.sync_folder(path.absolute().parent)
        return Exported(path=path, images=tuple(image.name for image in images), size=written)

    def _tar(self, members: Iterable[_File], file: BinaryIO) -> None:
        position = 0
        for member in members:
            head = header(Member(member.path, member.size, member.blob or Digest.of(member.data)), 0)
            file.write(head)
            written = 0
            for piece in [member.data] if member.blob is None else self._contents.open_blob(member.blob):
                self._interruption.check()
                written += file.write(piece)
            if written != member.size:
                raise ContentError(f"{member.path} has {written} bytes, and {member.size} were expected")
            file.write(padding(member.size))
            position += len(head) + member.size + len(padding(member.size))
        file.write(end_of_archive(position))

    # What is in it

    def _layout(self, images: Sequence[_Image]) -> Iterator[_File]:
        """An OCI image layout."""
        entries = []
        blobs: dict[Digest, None] = {}
        for image in images:
            named = replace(image.top, annotations={REF_NAME: image.name, FULL_NAME: image.name})
            entries.append(named.to_json())
            blobs.update(dict.fromkeys(self._belongings(image)))
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
        yield _plain("oci-layout", _LAYOUT)
        yield _plain("index.json", _dump(index))
        for digest in blobs:
            yield self._blob(f"blobs/{digest.algorithm}/{digest.hex}", digest)

    def _belongings(self, image: _Image) -> Iterator[Digest]:
        """Indexes on the way, then the platforms' manifests with all that they need and that is here."""
        chosen = {leaf.digest for leaf, _ in image.manifests}
        for descriptor, document in walk.walk(image.top, self._contents.read_document, check=self._contents.check):
            if isinstance(document, Index) or self._platforms is None or descriptor.digest in chosen:
                yield descriptor.digest
            if isinstance(document, Manifest) and (self._platforms is None or descriptor.digest in chosen):
                yield from (blob.digest for blob in document.blobs if self._contents.size(blob.digest) is not None)

    def _docker(self, images: Sequence[_Image]) -> Iterator[_File]:
        """What ``docker load`` reads: layers stay as they are, as it unpacks them itself."""
        entries: list[dict[str, Any]] = []
        blobs: dict[Digest, str] = {}
        for image in images:
            ((_, manifest),) = image.manifests
            config = f"{manifest.config.digest.hex}.json"
            layers = [f"{layer.digest.hex}.tar" for layer in manifest.layers]
            blobs[manifest.config.digest] = config
            blobs.update({layer.digest: name for layer, name in zip(manifest.layers, layers, strict=True)})
            tags = [image.name] if image.bundled.reference.tag else []
            if not tags:
                self._notes.append(f"{image.name} has no tag: Docker knows it by its ID only")
            if any("zstd" in layer.media_type for layer in manifest.layers):
                self._notes.append(f"{image.name} has zstd layers, which Docker reads from version 23 on")
            entries.append({"Config": config, "RepoTags": tags, "Layers": layers})
        yield _plain("manifest.json", _dump(entries))
        for digest, name in blobs.items():
            yield self._blob(name, digest)

    def _blob(self, path: str, digest: Digest) -> _File:
        size = self._contents.size(digest)
        if size is None:
            raise ContentError(f"{digest} is not in the bundle")
        return _File(path, size, blob=digest)


def _plain(path: str, data: bytes) -> _File:
    return _File(path, len(data), data)


def _dump(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _in_tar(size: int) -> int:
    return 512 + size + len(padding(size))


def _file_name(name: str) -> str:
    """``docker.io/library/nginx:1.27`` is ``docker.io_library_nginx_1.27.tar``; long ones are shortened."""
    plain = name.replace("/", "_").replace(":", "_").replace("@", "_")
    short = plain if len(plain) <= 200 else f"{plain[:180]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"{short}.tar"
