"""Digests (descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pipeline.core.errors import ContentError
from pipeline.core.oci.untrusted import shorten

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_DIGEST = re.compile(r"(sha256|sha512):([0-9a-f]+)")


@dataclass(frozen=True, order=True)
class Digest:
    """``algorithm:hex``, valid by construction, so that it can serve as a file name (descriptor.md, "Digests")."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises ContentError for anything but a registered algorithm and lower-case hex of its length."""
        match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
        if match is None or len(match[2]) != _HEX_LENGTH[match[1]]:
            raise ContentError(f"not a valid digest: {shorten(text)}")
        return cls(match[1], match[2])

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        return self.hex[:12]
