"""A small bundle to pack: blobs in a cache, and the archive layout that names them. No registry, no skopeo."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.core import files
from pipeline.core.bundle import Bundle, Compression, Output
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.steps import compress, split
from pipeline.storage.archive import ArchiveLayout, Member
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.cache import Cache

ROOT = "saved-image-cache"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
TIME = 1_700_000_000


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(f"{seed}").randbytes(size)


@dataclass
class Packing:
    """``output`` may be changed between two packs; the rest stays."""

    folder: Path
    output: Output
    blobs: dict[str, bytes] = field(default_factory=dict)
    """By hex digest."""

    def __post_init__(self) -> None:
        self.cache.prepare()

    @property
    def cache(self) -> Cache:
        return Cache(self.folder / "cache")

    @property
    def bundle(self) -> Bundle:
        return Bundle(
            name="b", images=(), cache=self.folder / "cache", output=self.output, failed_list=self.folder / "failed.txt"
        )

    @property
    def state(self) -> BundleState:
        return self.cache.bundle_state(self.bundle)

    def add(self, data: bytes) -> Digest:
        """A blob, in the cache."""
        digest = Digest("sha256", hashlib.sha256(data).hexdigest())
        self.blobs[digest.hex] = data
        self.cache.blob(digest).write_bytes(data)
        return digest

    def lay_out(self) -> None:
        """What ``tar`` leaves: all blobs, and one metadata file of the bundle."""
        index = b'{"manifests":[]}'
        files.write_atomic(self.state.index, index)
        members = [Member(ROOT, mode=0o755), Member(f"{ROOT}/share", mode=0o755), Member(f"{ROOT}/share/sha256", mode=0o755)]
        members.append(Member(f"{ROOT}/index.json", len(index), Digest.of(index)))
        members += [
            Member(f"{ROOT}/share/sha256/{name}", size=len(data), digest=Digest("sha256", name), media_type=LAYER, is_blob=True)
            for name, data in self.blobs.items()
        ]
        layout = ArchiveLayout(TIME, tuple(members))
        files.write_atomic(self.state.archive_layout, files.dump_json(layout.to_json()))

    def compress(self, interruption: Interruption | None = None) -> None:
        self.lay_out()
        compress.compress(self.cache, self.state, self.bundle, interruption or Interruption(), lambda size: None)

    def split(self) -> None:
        split.split(self.cache, self.state, self.bundle, ["a.example/app v1"])

    def pack(self) -> None:
        self.compress()
        self.split()

    def cut(self, part_size: int | None) -> None:
        """Volumes of this size from now on, or one file."""
        self.output = replace(self.output, part_size=part_size)


def packing(folder: Path, compression: Compression = Compression.GZIP, part_size: int | None = None) -> Packing:
    """Three blobs that no program can compress, 60 kB in all; the destination is ``folder / "out" / "saved.tar"``."""
    (folder / "out").mkdir(parents=True)
    made = Packing(folder, Output(compression=compression, destination=folder / "out" / "saved.tar", part_size=part_size))
    for number in range(3):
        made.add(noise(20_000, number))
    return made
