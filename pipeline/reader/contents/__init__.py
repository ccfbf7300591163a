"""What a bundle holds, wherever it lies: an archive or its volumes, read in place, or a folder; ours or of the same format.

In comes a path, out go images (a reference and what it points at) and blobs by digest. Nothing of it is trusted: a blob that is
read whole is checked against its digest, sizes and depths are bounded, a name in it never leads out of the folder. A
``Contents`` can be served (``serve.Source``). Any thread may use it; nothing stays open between two reads.

Folders are image layouts (``index.json``), or have only a ``saved-images-list.json``, as other tools write them: the images of
one entry of that list are then brought together by an index that is made here, in memory.

    stores          where blobs and metadata files come from
    contents        images, and what belongs to them
"""

from __future__ import annotations

from pipeline.reader.contents.contents import BundledImage, Contents, PlatformEntry, name_of_entry, open_contents
from pipeline.reader.contents.stores import ArchiveStore, FolderStore, Store, open_store

__all__ = [
    "ArchiveStore",
    "BundledImage",
    "Contents",
    "FolderStore",
    "PlatformEntry",
    "Store",
    "name_of_entry",
    "open_contents",
    "open_store",
]
