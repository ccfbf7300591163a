"""What a report says. These types are the JSON document: a field is a key. docs/report.md explains them.

Sizes are in bytes, times in seconds, digests as ``sha256:…``. A reader must take keys that it does not know; ``version``
changes when one that is here goes or changes its meaning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Figures:
    """``bytes`` counts each blob once; ``shared_bytes`` is what it would be more if images shared nothing."""

    images: int
    saved: int
    reused: int
    failed: int
    platforms: int
    referrers: int
    blobs: int
    bytes: int
    shared_bytes: int
    fetched_bytes: int
    bundle_bytes: int
    sent_bytes: int = 0
    """By a load."""


@dataclass(frozen=True)
class Act:
    """How long an act took, and what it dealt with: ``resolve``, ``copy``, ``pack``, ``verify``; of a load ``check``,
    ``prove``, ``push``.
    """

    name: str
    seconds: float
    bytes: int


@dataclass(frozen=True)
class File:
    """A file of the bundle. ``sha256`` is empty for a folder."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PlatformReport:
    """One image/arch. ``size`` is all it needs; ``layers`` are in the manifest's order, without foreign ones."""

    img_id: int
    platform: str
    digest: str
    size: int
    config: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class ReferrerReport:
    """What came along with an image, as it refers to ``subject``; with a ``tag``, by cosign's convention."""

    artifact_type: str
    digest: str
    subject: str
    tag: str
    size: int


@dataclass(frozen=True, kw_only=True)
class ImageReport:
    """``status`` is ``saved`` (something was copied), ``reused`` (all was here), ``planned`` or ``failed``; of a load
    ``pushed``, ``there`` (before), ``planned`` or ``failed``; of a verification ``intact`` or ``broken``.

    ``digest`` is what the image is in the bundle; ``source_digest`` what its reference named at ``source``. ``own_bytes`` are
    in no other image of the bundle. What came along counts in its sizes. A failed image has a ``reason``, and no digests.
    """

    m_id: int
    reference: str
    source: str
    status: str
    reason: str
    digest: str
    source_digest: str
    size: int
    own_bytes: int
    platforms: tuple[PlatformReport, ...]
    referrers: tuple[ReferrerReport, ...] = ()


@dataclass(frozen=True)
class Blob:
    """``kind`` is ``manifest``, ``config`` or ``layer``; ``images`` is how many images of the bundle need it."""

    digest: str
    kind: str
    size: int
    images: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task that had something to do; times count from the start of the run, workers from 1."""

    name: str
    worker: int
    start: float
    end: float
    ok: bool
    bytes: int


@dataclass(frozen=True)
class FaultReport:
    """What a verification found wrong, with what (a digest, a file, an image), and the references of the images it breaks."""

    what: str
    problem: str
    breaks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """``command`` is ``save``, ``load`` or ``verify``. ``outcome``: ``complete``; ``incomplete``, as images failed or something
    is damaged; ``kept``, as the earlier bundle holds more; ``nothing`` was saved, loaded or could be read; ``planned``, by
    ``-dry-run``. ``note`` says why a bundle was kept. ``format`` is ``gzip``, ``zstd`` or ``dir``, and ``tar`` for what others
    made. ``registry`` is what was loaded into, or compared with.
    """

    version: int
    tool: str
    command: str = "save"
    outcome: str
    note: str
    started: str
    seconds: float
    bundle: str
    format: str
    figures: Figures
    acts: tuple[Act, ...]
    files: tuple[File, ...]
    images: tuple[ImageReport, ...]
    blobs: tuple[Blob, ...]
    tasks: tuple[Task, ...]
    registry: str = ""
    faults: tuple[FaultReport, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
