"""From the name of a format to the way it is written and read."""

from __future__ import annotations

from .framing import Codec, Framing
from .gzip_codec import GzipFraming
from .zstd_codec import ZstdFraming

FRAMINGS: dict[Codec, Framing] = {Codec.GZIP: GzipFraming(), Codec.ZSTD: ZstdFraming()}
