"""Manifests that were parsed, as long as there is room for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from pipeline.core.oci import Digest, Index, Manifest

ROOM = 8 * 1024 * 1024
"""Bytes of manifests, which take ten times as much when they are parsed: three thousand of the usual size."""


class ParsedManifests:
    """Those used last. Any thread may ask."""

    def __init__(self, read: Callable[[Digest], tuple[Manifest | Index, int]], room: int = ROOM) -> None:
        """``read`` gives a manifest and its size in bytes."""
        self._read = read
        self._room = room
        self._lock = threading.Lock()
        self._found: OrderedDict[Digest, tuple[Manifest | Index, int]] = OrderedDict()
        self._size = 0

    def __call__(self, digest: Digest) -> Manifest | Index:
        """Raises what ``read`` raises."""
        with self._lock:
            found = self._found.get(digest)
            if found is not None:
                self._found.move_to_end(digest)
                return found[0]
        document, size = self._read(digest)
        with self._lock:
            if digest not in self._found:
                self._found[digest] = document, size
                self._size += size
            while self._size > self._room:
                _, (_, freed) = self._found.popitem(last=False)
                self._size -= freed
        return document
