"""What can be served: anything that knows its images and opens its blobs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pipeline.core.errors import ArchiveError, InputError
from pipeline.core.files import CHUNK, read_json
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest
from pipeline.reader.contents import Contents, name_of_entry


class Source(Protocol):
    """What can be served. Used by several threads at once."""

    @property
    def images(self) -> Sequence[tuple[str, Descriptor]]:
        """Each image's reference (registry, repository, tag or digest) and what it points at."""

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob; None where there is no such blob."""

    def why_not(self, digest: Digest) -> str:
        """Why a blob is not there, where that is known."""

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """A blob's bytes from ``offset`` on, ``length`` of them or all there are, in pieces of bounded size.

        The blob is there; an error while it is read breaks the client's connection.
        """


class LayoutFolder:
    """A folder in the OCI image layout, ours or anybody's, as a ``Source``.

    An image whose ``ref.name`` is a bare tag, as many tools write it, is named after the folder: ``localhost/folder:tag``.
    """

    def __init__(self, path: Path) -> None:
        """Raises InputError when ``path`` is not an image layout."""
        document = read_json(path / "index.json")
        if not isinstance(document, dict) or not isinstance(document.get("manifests"), list):
            raise InputError([f"{path} is not an OCI image layout: it has no readable index.json"])
        # Where a file system holds no links, ours has no `blobs`.
        self._blobs = path / "blobs" if (path / "blobs").is_dir() else path / "share"
        descriptors = [Descriptor.from_json(entry) for entry in document["manifests"]]
        self._images = [(name_of_entry(str(path), descriptor), descriptor) for descriptor in descriptors]

    @property
    def images(self) -> Sequence[tuple[str, Descriptor]]:
        return self._images

    def size(self, digest: Digest) -> int | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return self._file(digest).stat().st_size
        return None

    def why_not(self, digest: Digest) -> str:
        return ""

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        with self._file(digest).open("rb") as file:
            file.seek(offset)
            left = sys.maxsize if length is None else length
            while left and (piece := file.read(min(CHUNK, left))):
                left -= len(piece)
                yield piece

    def _file(self, digest: Digest) -> Path:
        return self._blobs / digest.algorithm / digest.hex


class BundleSource:
    """The contents of an archive, of its volumes or of a folder, as a ``Source``; what is damaged stands in the log."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    @property
    def images(self) -> Sequence[tuple[str, Descriptor]]:
        return self._contents.images

    def size(self, digest: Digest) -> int | None:
        return self._contents.size(digest)

    def why_not(self, digest: Digest) -> str:
        return self._contents.why_not(digest)

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        try:
            yield from self._contents.open_blob(digest, offset, length)
        except (ArchiveError, OSError) as error:
            log.error("%s", error)
            raise
