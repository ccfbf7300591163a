"""What was looked at, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.reader.verify.recovery import Recovery


@dataclass(frozen=True)
class Fault:
    """What is wrong, with what (a digest, a file, a reference), and the references of the images that it breaks."""

    what: str
    problem: str
    breaks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """``size`` is in bytes. ``checksums`` counts the files that a checksum file speaks of; None where there is no such file."""

    source: str
    images: int
    blobs: int
    size: int
    faults: tuple[Fault, ...]
    checksums: int | None = None
    referrers: int = 0
    """What came along with the images."""
    recovery: Recovery | None = None
    """What the recovery files can do; None where there are none."""
    left_out: tuple[int, int] | None = None
    """Layers, and their bytes, that a delta lacks and its base has; None of a whole bundle."""
    is_readable: bool = True
    """False where so much is wrong that it cannot even be told which images are in it."""

    @property
    def broken(self) -> frozenset[str]:
        """The references of the images that something is wrong with."""
        return frozenset(name for fault in self.faults for name in fault.breaks)

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "images": self.images,
            "referrers": self.referrers,
            "blobs": self.blobs,
            "size": self.size,
            "checksums": self.checksums,
            "readable": self.is_readable,
            **({"leftOut": {"blobs": self.left_out[0], "size": self.left_out[1]}} if self.left_out else {}),
            **({"recovery": self.recovery.to_json()} if self.recovery else {}),
            "faults": [{"what": f.what, "problem": f.problem, "breaks": list(f.breaks)} for f in self.faults],
        }
