"""Files of blobs that are not as large as a manifest states: which of them are right all the same.

The digest decides. Such a file is hashed once, and what came of it is remembered, by its size and time, in this run and, where
the digest is right, in ``.state/sizes.json`` for those that follow. What one manifest states of a layer cannot make that layer
count as damaged for another image.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from pipeline.core import files
from pipeline.core.oci import Digest


class TrueSizes:
    """Thread-safe; one file is hashed at a time."""

    def __init__(self, record: Path, check: Callable[[], None]) -> None:
        """``check`` is called all along the hashing of a file, and ends it by raising."""
        self._record = record
        self._check = check
        self._known: dict[tuple[Digest, int, int], bool] = {}
        self._is_read = False
        self._lock = threading.Lock()

    def is_right(self, digest: Digest, file: Path, status: os.stat_result) -> bool:
        """Whether ``file`` is the blob ``digest``. Raises what ``check`` raises; a file that cannot be read is not."""
        key = (digest, status.st_size, status.st_mtime_ns)
        with self._lock:
            self._read()
            if key not in self._known:
                self._known[key] = self._has_digest(file, digest)
                if self._known[key]:
                    self._write()
            return self._known[key]

    def _has_digest(self, file: Path, digest: Digest) -> bool:
        try:
            with file.open("rb") as stream:
                return files.hash_file(stream, digest.algorithm, self._check)[0] == digest.hex
        except OSError:
            return False

    def _read(self) -> None:
        if self._is_read:
            return
        self._is_read = True
        document = files.read_sealed(self._record)
        for text, (size, mtime_ns) in (document["sizes"] if document else {}).items():
            self._known[Digest.parse(text), size, mtime_ns] = True

    def _write(self) -> None:
        sizes = {str(digest): [size, time] for (digest, size, time), is_right in self._known.items() if is_right}
        files.write_if_changed(self._record, files.dump_sealed({"sizes": sizes}), durable=False)
