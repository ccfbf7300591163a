"""A delta with what it was made against: blobs that it lacks come from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pipeline.core.errors import ArchiveError
from pipeline.core.oci import Digest
from pipeline.reader.contents.stores import Store


class OverlayStore:
    """A ``Store``: metadata of the first, blobs of whichever has them."""

    def __init__(self, delta: Store, bases: Sequence[Store]) -> None:
        self.delta = delta
        self.place = delta.place
        self.kind = delta.kind
        self._stores = (delta, *bases)

    def size(self, digest: Digest) -> int | None:
        return next((size for store in self._stores if (size := store.size(digest)) is not None), None)

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        for store in self._stores:
            if store.size(digest) is not None:
                return store.open_blob(digest, offset, length)
        raise ArchiveError(f"{self.place} does not hold {digest}, and nothing that was named as its base does")

    def metadata(self, path: str) -> bytes | None:
        return self.delta.metadata(path)

    def blobs(self) -> Iterable[Digest]:
        return dict.fromkeys(digest for store in self._stores for digest in store.blobs())

    def has_changed(self) -> bool:
        return any(store.has_changed() for store in self._stores)
