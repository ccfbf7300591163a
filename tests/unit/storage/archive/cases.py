"""Archives to test with: a layout and its content, kept in memory and in a folder."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core.oci import Digest
from pipeline.storage.archive import ArchiveLayout, Codec, Member, volume_names, write_archive

ROOT = "saved-image-cache"
GZIPPED = "application/vnd.oci.image.layer.v1.tar+gzip"
PLAIN = "application/vnd.oci.image.layer.v1.tar"


@functools.cache
def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no program can compress."""
    return random.Random(f"{size}/{seed}").randbytes(size)


@functools.cache
def text(size: int, seed: int = 0) -> bytes:
    """Bytes that can be compressed, without a short period."""
    generator = random.Random(f"{size}/{seed}")
    words = [b"%x " % generator.getrandbits(12) for _ in range(min(size // 3, 20_000) + 1)]
    line = b"".join(words)
    return (line * (size // len(line) + 1))[:size]


@dataclass
class Case:
    """Files that are to be packed; ``folder`` holds each under its digest."""

    folder: Path
    members: list[Member] = field(default_factory=lambda: [Member(ROOT, mode=0o755), Member(f"{ROOT}/share", mode=0o755)])
    content: dict[Digest, bytes] = field(default_factory=dict)

    def add(self, path: str, data: bytes) -> Digest:
        """A metadata file."""
        return self._add(path, data)

    def add_blob(self, data: bytes, media_type: str = PLAIN, algorithm: str = "sha256") -> Digest:
        digest = Digest.of(data, algorithm)
        return self._add(f"share/{algorithm}/{digest.hex}", data, media_type, algorithm)

    def _add(self, path: str, data: bytes, media_type: str = "", algorithm: str = "sha256") -> Digest:
        digest = Digest.of(data, algorithm)
        member = Member(f"{ROOT}/{path}", len(data), digest, media_type=media_type, is_blob=bool(media_type))
        self.members.append(member)
        self.content[digest] = data
        self.source(member).write_bytes(data)
        return digest

    def source(self, member: Member) -> Path:
        assert member.digest is not None
        return self.folder / member.digest.hex

    @property
    def layout(self) -> ArchiveLayout:
        return ArchiveLayout(1_700_000_000, tuple(self.members))

    @property
    def blobs(self) -> list[Digest]:
        return [member.digest for member in self.members if member.is_blob and member.digest]

    def write(self, destination: Path, codec: Codec = Codec.GZIP, **options: Any) -> list[Path]:
        """Write the archive, quickly unless a ``level`` is given, and give it its final names."""
        options.setdefault("level", 1)
        volumes = write_archive(self.layout, self.source, destination, codec=codec, **options)
        names = volume_names(destination, len(volumes) if options.get("part_size") else None)
        for volume, name in zip(volumes, names, strict=True):
            volume.path.rename(name)
        return names


def typical(folder: Path) -> Case:
    """A little of everything: metadata, a name that is too long for ustar, stored and compressed blobs, small and large."""
    folder.mkdir(parents=True, exist_ok=True)
    case = Case(folder)
    case.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    case.add("index.json", text(3000))
    case.add("saved-images-list.json", text(400_000))
    case.add(f"images/{'long/' * 60}index.json", text(700, 1))
    case.add("images/empty", b"")
    for blob, media_type in (
        (noise(150_000), GZIPPED),
        (text(90_000), PLAIN),
        (text(2500), PLAIN),
        (noise(2500), PLAIN),
        (b"", PLAIN),
        (text(2_300_000), PLAIN),
        (noise(1_200_000, 1), PLAIN),
        (noise(1_300_000), GZIPPED),
    ):
        case.add_blob(blob, media_type)
    return case


def contents(pieces: Iterable[bytes]) -> bytes:
    return b"".join(pieces)
