"""What a bundle holds, wherever it lies: an archive or its volumes, a folder, a plain tar; ours or other tools'.

``open_contents`` takes a path and gives ``Contents``: images (a reference and what it points at) and blobs by digest. Nothing
of it is trusted: a blob that is read whole is checked against its digest, sizes and depths are bounded, a name in it never
leads out of the folder. A ``Contents`` can be served (``serve.Source``). Any thread may use it.

Folders and tars are image layouts (``index.json``), what ``docker save`` wrote, or have only a ``saved-images-list.json``, as
other tools write them: the images of one entry of that list are then brought together by an index that is made here, in memory.

    contents        images, and what belongs to them
    stores          where blobs and metadata files come from
    trees           the files of a folder or a tar
    overlay         a delta with its base
    docker_save     image layouts from docker save's manifest.json
"""

from __future__ import annotations

from pipeline.reader.contents.contents import BundledImage, Contents, PlatformEntry, name_of_entry, open_contents, with_bases
from pipeline.reader.contents.stores import ArchiveStore, Store, open_store

__all__ = [
    "ArchiveStore",
    "BundledImage",
    "Contents",
    "PlatformEntry",
    "Store",
    "name_of_entry",
    "open_contents",
    "open_store",
    "with_bases",
]
