"""Platforms (image-index.md, "platform")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.oci.untrusted import text

MAX_SHOWN = 200
"""Characters of a platform that people see."""


@dataclass(frozen=True, order=True)
class Platform:
    """What a manifest is made for (image-index.md, "platform"). Empty strings where the source says nothing."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Any) -> Platform:
        if not isinstance(data, Mapping):
            return cls()
        features = data.get("os.features")
        return cls(
            text(data.get("os")),
            text(data.get("architecture")),
            text(data.get("variant")),
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
