"""What a load is asked for, and what it comes to: the values that ``run`` takes and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.bundle import Access
from pipeline.core.reference import Reference


@dataclass(frozen=True)
class HarborOptions:
    """``-repo-type harbor``."""

    default_project: str
    https: bool


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What to load, and where to. ``state`` is a folder for what this load remembers or must unpack. ``compression`` is what
    the source must be, if that was said; ``only`` chooses images, and came from ``list_files``.
    """

    source: Path
    registry: str
    access: Access
    jobs: int
    failed_list: Path
    state: Path
    compression: str = ""
    harbor: HarborOptions | None = None
    only: frozenset[Reference] | None = None
    list_files: tuple[Path, ...] = ()
    patterns: tuple[str, ...] = ()
    """Names of images, with ``*`` (``-only``)."""
    slip_signers: Path | None = None
    """Who may have signed the slip that is demanded (``-require-slip``)."""
    names: Mapping[Reference, Reference] = field(default_factory=dict)
    """Where images go that do not keep their names."""
    receipt: Path | None = None
    sign: Path | None = None
    """The SSH key that signs the receipt."""
    missing: Path = Path("missing.json")
    """Where it is written what the base of a delta turned out to lack."""

    @property
    def unpacked(self) -> Path:
        return self.state / "unpacked"

    @property
    def database(self) -> Path:
        return self.state / "doit.sqlite3"

    @property
    def lock_file(self) -> Path:
        return self.state / "lock"


@dataclass
class LoadResult:
    """By reference, in the options of the source: what was pushed now, what was there, and what failed, with the reason."""

    pushed: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    """Bytes that went out."""
    referrers: frozenset[str] = frozenset()
    """Those of all these that came along with an image."""

    @property
    def loaded(self) -> int:
        return len(self.pushed) + len(self.there)


@dataclass(frozen=True)
class LoadPlan:
    """What a load would do. ``size`` counts each blob once, in bytes; the target may have some of them."""

    missing: Mapping[str, str]
    """Target by reference."""
    size: int
    damaged: Mapping[str, str]
    """Reason by reference, of images whose manifests cannot be read."""
