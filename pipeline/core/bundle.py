"""What is to be saved, and how: flags, lists and definitions become one frozen ``Bundle``.

Everything that can be wrong in the input is found here, before anything is done, and raised as ``UsageError`` or
``InputError``. Paths in a ``Bundle`` are absolute.
"""

from __future__ import annotations

import enum
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.core import reference, versions
from pipeline.core.errors import UsageError
from pipeline.core.image_list import Line
from pipeline.core.oci import Digest, Platform
from pipeline.core.oci.platform import ALIASES
from pipeline.core.reference import Reference

DEFAULT_ARCHITECTURES = "amd64,arm64"
DEFAULT_CACHE = "saved-image-cache"
DEFAULT_FAILED_LIST = "save-failed.txt"
DEFAULT_PART_SIZE = "2G"
DEFAULT_RETRIES = 3
MAX_JOBS = 20
AUTO_JOBS = 10
"""What ``-j auto`` stands for."""
CHECKSUM_SUFFIX = ".sha256"
"""Of the file beside an archive."""

_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7"}
KNOWN_ARCHITECTURES = frozenset(
    "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x sparc64 wasm".split()
)
_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_ARTIFACT_TYPE = re.compile(r"[A-Za-z0-9*!#$&^_.+/-]+")


@dataclass(frozen=True)
class Architecture:
    """One architecture that was asked for; without a variant it stands for all of them."""

    name: str
    variant: str = ""

    def matches(self, platform: Platform) -> bool:
        if self.name != platform.architecture:
            return False
        default = _DEFAULT_VARIANTS.get(self.name, "")
        return not self.variant or self.variant == (platform.variant or default)

    def __str__(self) -> str:
        return f"{self.name}/{self.variant}" if self.variant else self.name


@dataclass(frozen=True)
class PlatformFilter:
    """Which platforms are asked for. An empty tuple means every architecture, or every operating system."""

    architectures: tuple[Architecture, ...] = ()
    systems: tuple[str, ...] = ()

    def matches(self, platform: Platform) -> bool:
        if self.systems and platform.os not in self.systems:
            return False
        return not self.architectures or any(a.matches(platform) for a in self.architectures)

    def __str__(self) -> str:
        text = ",".join(map(str, self.architectures)) or "all"
        return f"{text} on {','.join(self.systems)}" if self.systems else text


class Compression(enum.Enum):
    """The values of ``-compress``."""

    GZIP = "gzip"
    ZSTD = "zstd"
    DIR = "dir"

    @property
    def highest_level(self) -> int:
        """The highest ``-compress-level``; the lowest is 1. Zero where there is none."""
        return {"gzip": 9, "zstd": 19, "dir": 0}[self.value]


DEFAULT_DESTINATIONS = {Compression.GZIP: "saved-images.tar.gz", Compression.ZSTD: "saved-images.tar.zst"}


@dataclass(frozen=True)
class ArtifactTypes:
    """Which artifacts are asked for, by patterns (``application/vnd.dev.cosign.*``); none means all."""

    patterns: tuple[str, ...] = ()
    is_strict: bool = False
    """Whether one that cannot come along fails its image, rather than being left out with a warning."""

    def matches(self, artifact_type: str) -> bool:
        return not self.patterns or any(fnmatchcase(artifact_type, pattern) for pattern in self.patterns)

    def __str__(self) -> str:
        return ",".join(self.patterns) or "all"


@dataclass(frozen=True, kw_only=True)
class Referrer:
    """A manifest that refers to ``subject``: by a field of that name, or, with a ``tag``, by cosign's convention."""

    subject: Digest
    digest: Digest
    media_type: str
    size: int
    artifact_type: str
    tag: str = ""


@dataclass(frozen=True, kw_only=True)
class BundleImage:
    """One image of a bundle: what it is called, where it is fetched, which of its platforms. ``m_id`` counts from 1."""

    reference: Reference
    source: Reference
    platforms: PlatformFilter
    text: str
    m_id: int
    locked: Digest | None = None
    """What a lock file says the reference names, whatever its tag says today."""
    locked_as: Digest | None = None
    """What a lock file says it is in the bundle: another digest for a subset of its platforms."""
    locked_referrers: tuple[Referrer, ...] | None = None
    referrers: ArtifactTypes | None = None
    """What is to come along of all that refers to it; None for nothing."""
    destination: str = ""
    """What a list of mirrors calls it on the other side, without the tag."""
    about: Referrer | None = None
    """Of an "image" that refers to another one and came along."""

    @property
    def asked(self) -> str:
        """What is asked for of it, in words that locks and bundles compare."""
        return str(self.platforms) if self.referrers is None else f"{self.platforms}, with referrers: {self.referrers}"

    @property
    def pin(self) -> Digest | None:
        """The digest to fetch by, where there is one."""
        return self.reference.digest or self.locked


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What becomes images of a bundle once its registry was asked: an image that is probable, or tags of a repository."""

    image: BundleImage
    tags: str = ""
    """A range of versions; empty of an image that is taken where it exists."""

    def covers(self, other: Reference) -> bool:
        """Whether ``other`` may come of it."""
        if not self.tags:
            return other == self.image.reference
        return other.name == self.image.reference.name and not other.digest and versions.is_in(other.tag, self.tags)

    def becomes(self, found: Reference, m_id: int) -> BundleImage:
        """The image that it is, as ``found`` is called."""
        if not self.tags:
            return replace(self.image, m_id=m_id)
        source = self.image.source.by_tag(found.tag)
        return replace(self.image, reference=found, source=source, text=str(found), m_id=m_id)


@dataclass(frozen=True, kw_only=True)
class Access:
    """How registries are reached."""

    authfile: Path | None = None
    cert_dir: Path | None = None
    tls_verify: bool = True
    retries: int = DEFAULT_RETRIES
    policy: Path | None = None
    """What images must satisfy, checked by skopeo: containers-policy.json(5)."""
    via: str = "auto"
    """Who fetches blobs: ``auto`` is our own HTTP where it can, ``skopeo`` is skopeo alone."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """What is made of the cache. ``destination`` is the cache itself where the folder is the result."""

    compression: Compression
    destination: Path
    part_size: int | None = None
    level: int | None = None
    parity: int | None = None
    """Recovery files, in percent of the archive; None for none."""
    parity_blocks: int = 12_000
    """Into how many blocks the archive is divided for them."""
    sign: Path | None = None
    """The SSH key that signs a slip; None for none."""
    note: str = ""
    """What the slip says in words."""

    @property
    def is_archive(self) -> bool:
        """Whether the result is files that can be summed, not a folder."""
        return self.compression is not Compression.DIR

    @property
    def checksum_file(self) -> Path:
        return self.destination.with_name(self.destination.name + CHECKSUM_SUFFIX)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of ``count`` parts of a bundle, from 1: which images are in it, its lock tells, by this digest."""

    number: int
    count: int
    lock: Digest

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A complete order: images, and where they go. ``name`` is what its doit tasks are called by."""

    name: str
    images: tuple[BundleImage, ...]
    cache: Path
    output: Output
    failed_list: Path
    access: Access = field(default_factory=Access)
    jobs: int = 1
    referrers: ArtifactTypes | None = None
    """As every one of its images has it; for those that are still to be typed."""
    waits_for_quota: bool = False
    """Whether a registry's quota that is used up is waited for (``-quota wait``)."""
    lock_file: Path | None = None
    """Where ``-lock`` writes and ``-locked`` reads; None for a list from standard input."""
    gate: str = ""
    """A command that lets images through, or refuses them; empty for none. ``gate_version`` is what its verdicts depend on."""
    gate_version: str = ""
    bases: tuple[Path, ...] = ()
    """What the other side has: inventories, receipts, locks, earlier bundles. Their layers are left out."""
    base_signers: Path | None = None
    """Who may have signed the receipts and inventories among them; None where no signature is demanded."""
    carried: frozenset[Digest] = frozenset()
    """Layers that are not left out, as they turned out to be missing on the other side (``-only``)."""
    shard: Shard | None = None
    candidates: tuple[Candidate, ...] = ()
    """What becomes images before act 1; see ``acts.save.settle``."""

    @property
    def id(self) -> str:
        """Names the bundle's state in the cache: what goes to one destination is one bundle, whoever defines it."""
        return name_of(self.output.destination)

    @property
    def is_cache(self) -> bool:
        """Whether the cache folder itself is the result (``-compress=dir`` without ``-d``)."""
        return self.output.destination == self.cache


def name_of(destination: Path) -> str:
    """A name for what goes to ``destination`` that serves as a folder and as a task: readable, harmless, unique."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", destination.name)[:60]
    return f"{readable}-{hashlib.sha256(os.fsencode(destination)).hexdigest()[:12]}"


def images(lines: tuple[Line, ...], source: str, platforms: PlatformFilter) -> tuple[BundleImage, ...]:
    """The images of a list; ``source`` (``-s``) replaces the registry they are fetched from where it is not empty."""
    return tuple(image(line, number, source, platforms) for number, line in enumerate(lines, start=1))


def image(line: Line, m_id: int, source: str, platforms: PlatformFilter, referrers: ArtifactTypes | None = None) -> BundleImage:
    fetched_from = line.reference.at(reference.parse_source(source)) if source else line.reference
    return BundleImage(
        reference=line.reference,
        source=fetched_from,
        platforms=platforms,
        text=line.text,
        m_id=m_id,
        referrers=referrers,
        destination=line.destination,
    )


def renumbered(image: BundleImage, m_id: int) -> BundleImage:
    return replace(image, m_id=m_id)


def parse_platforms(architectures: str, systems: str) -> PlatformFilter:
    """The values of ``-a`` and ``-os``: comma-separated; ``all`` (or nothing, for ``-os``) asks for every one."""
    names = _words(architectures, "amd64,arm64")
    systems_named = _words(systems, "linux") if systems else ["all"]
    if any("/" in name for name in systems_named):
        raise UsageError(f'invalid value "{systems}": architectures are a setting of their own, e.g. os linux, arch arm64')
    return PlatformFilter(
        () if "all" in names else tuple(dict.fromkeys(_architecture(name) for name in names)),
        () if "all" in systems_named else tuple(dict.fromkeys(systems_named)),
    )


def parse_artifact_types(text: str) -> ArtifactTypes:
    """The value of ``-referrer-types``: comma-separated; nothing asks for every one."""
    words = [word.strip() for word in text.split(",")] if text else []
    for word in words:
        if not _ARTIFACT_TYPE.fullmatch(word):
            raise UsageError(
                f"invalid value \"{text}\": use media types separated by ',', where * stands for anything, "
                "e.g. application/vnd.dev.cosign.*,application/spdx+json"
            )
    return ArtifactTypes(tuple(dict.fromkeys(words)))


def unknown_architectures(platforms: PlatformFilter) -> Mapping[str, None]:
    """Architectures that no Go port is called by: valid, but most likely a mistake."""
    return dict.fromkeys(a.name for a in platforms.architectures if a.name not in KNOWN_ARCHITECTURES)


def _architecture(text: str) -> Architecture:
    if text in ALIASES:
        return Architecture(*ALIASES[text])
    name, slash, variant = text.partition("/")
    if name in ("linux", "windows", "darwin", "freebsd") and slash:
        raise UsageError(
            f'invalid architecture "{text}": operating systems are a setting of their own, e.g. os {name}, arch {variant}'
        )
    if slash and (not variant or "/" in variant):
        raise UsageError(f'invalid architecture "{text}": use a name or name/variant, e.g. arm64 or arm/v7')
    return Architecture(name, variant)


def _words(text: str, example: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not all(_WORD.fullmatch(part) for part in word.split("/")):
            raise UsageError(f"invalid value \"{text}\": use names separated by ',', e.g. {example}")
    return words
