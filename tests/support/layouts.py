"""Image layouts in folders, as any tool might write them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.images import Content, Image, Index

REF_NAME = "org.opencontainers.image.ref.name"


def contents_of(made: Image | Index) -> Iterator[Content]:
    """The manifest or index itself, then all that it leads to but foreign layers; some of it more than once."""
    if isinstance(made, Index):
        yield made.content
        for entry in made.entries:
            yield from contents_of(entry)
    else:
        yield from (made.manifest, made.config, *(each for each in made.layers if each.digest not in made.foreign))


def blob_file(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest.replace(":", "/")


def write_layout(folder: Path, images: Mapping[str, Image | Index], **annotations: str) -> Path:
    """An OCI image layout of ``images`` by name; an empty name leaves the annotation out. All get ``annotations``, too."""
    entries: list[dict[str, Any]] = []
    for name, made in images.items():
        for content in contents_of(made):
            file = blob_file(folder, content.digest)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.data)
        top = next(contents_of(made))
        entries.append(top.descriptor(annotations={**({REF_NAME: name} if name else {}), **annotations}))
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder
