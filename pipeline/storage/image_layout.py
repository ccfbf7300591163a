"""The files of an OCI image layout (image-layout.md): ``oci-layout``, ``index.json``, ``blobs``.

The cache is one, and so is the folder of each image and each image/arch in it, whose ``blobs`` is a link to the shared blobs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.core import files, oci
from pipeline.core.errors import ContentError
from pipeline.core.oci import Descriptor

OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}\n'
"""What the file LAYOUT_FILE holds."""
LAYOUT_FILE = "oci-layout"
INDEX = "index.json"
BLOBS = "blobs"
SOURCE_DIGEST = "io.image-tools.source.digest"
"""Annotation on an image's descriptor: the digest at the source, where ours differs (a subset, or a converted image)."""
SUBJECT = "io.image-tools.referrer.subject"
"""Annotation on the descriptor of what came along with an image: the digest that it refers to."""


def layout_index(descriptors: Sequence[dict[str, Any]]) -> bytes:
    """The ``index.json`` of an image layout."""
    return files.dump_json({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": list(descriptors)})


def read_layout_index(path: Path) -> Descriptor | None:
    """The one descriptor in an image's ``index.json``, or None where the file is missing, damaged or not of ours."""
    document = files.read_json(path)
    try:
        (descriptor,) = document["manifests"]
        return Descriptor.from_json(descriptor)
    except (TypeError, KeyError, ValueError, ContentError):
        return None


def write_image(folder: Path, descriptor: dict[str, Any], share: Path) -> None:
    """Make ``folder`` an image layout of one descriptor; whatever was there is replaced, by renaming.

    Not synced: a folder that a power loss took is made again, without a transfer.
    """
    temporary = fresh_folder(folder)
    files.write_new(temporary / LAYOUT_FILE, OCI_LAYOUT)
    link(temporary / BLOBS, os.path.relpath(share, folder))
    files.write_new(temporary / INDEX, layout_index([descriptor]))
    if not folder.exists():
        temporary.rename(folder)
        return
    old = files.temporary_beside(folder.with_name(f"old-{folder.name}"))
    folder.rename(old)
    temporary.rename(folder)
    files.remove(old)


def fresh_folder(path: Path) -> Path:
    """An empty temporary folder beside ``path``."""
    temporary = files.temporary_beside(path)
    try:
        files.in_folder(temporary, temporary.mkdir)
    except FileExistsError:
        files.remove(temporary)
        temporary.mkdir()
    return temporary


def link(path: Path, target: str) -> None:
    """A symbolic link, where the file system can hold one: FAT cannot, and nothing of ours depends on it."""
    if path.is_symlink() and str(path.readlink()) == target:
        return
    with contextlib.suppress(PermissionError, FileExistsError, NotImplementedError):
        path.symlink_to(target)
