"""Platforms (image-index.md, "platform")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.oci.untrusted import text

ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "i386": ("386", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
"""Names that containerd's ``platforms`` package knows architectures by, too (``uname -m`` says some): architecture, variant."""
MAX_SHOWN = 200
"""Characters of a platform that people see."""


@dataclass(frozen=True, order=True)
class Platform:
    """What a manifest is made for (image-index.md, "platform"), by the names that Go has. Empty strings where the source says
    nothing.
    """

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Any) -> Platform:
        """Of an index entry or an image config; an architecture that goes by another name gets its own."""
        if not isinstance(data, Mapping):
            return cls()
        features = data.get("os.features")
        architecture, variant = ALIASES.get(text(data.get("architecture")), (text(data.get("architecture")), ""))
        return cls(
            text(data.get("os")),
            architecture,
            text(data.get("variant")) or variant,
            text(data.get("os.version")),
            tuple(text(f) for f in features) if isinstance(features, list) else (),
        )

    @property
    def is_known(self) -> bool:
        """False for artifacts and attestations, which name no platform or ``unknown/unknown``."""
        return self.architecture not in ("", "unknown") and self.os not in ("unknown",)

    def __str__(self) -> str:
        parts = [self.os or "unknown", self.architecture or "unknown"]
        if self.variant:
            parts.append(self.variant)
        shown = "/".join(parts)
        shown = f"{shown} {self.os_version}" if self.os_version else shown
        return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
