"""From the name of a format to the way it is written and read."""

from __future__ import annotations

from pipeline.storage.archive.framing import Codec, Framing
from pipeline.storage.archive.gzip_codec import GzipFraming
from pipeline.storage.archive.zstd_codec import ZstdFraming

FRAMINGS: dict[Codec, Framing] = {Codec.GZIP: GzipFraming(), Codec.ZSTD: ZstdFraming()}
