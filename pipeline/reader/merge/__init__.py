"""Bundles become one: shards, a full bundle and its deltas, or any bundles. The same bytes as one save of the whole.

sources         what is merged, and which of it says what the result is
joined          the one list of images, and the metadata of the result
write           one pass over the blobs; what is packed alike is not packed again
"""

from __future__ import annotations

from pipeline.reader.merge.sources import Merging, open_sources
from pipeline.reader.merge.write import merge

__all__ = ["Merging", "merge", "open_sources"]
