"""The folder of an image/arch, new, replaced, and where the disk refuses it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pipeline.storage.image_layout import INDEX, read_layout_index, write_image

ENTRY = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{'a' * 64}", "size": 7}


def test_it_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "linux-amd64"
    for size in (7, 8):
        write_image(folder, {**ENTRY, "size": size}, tmp_path / "share")
        found = read_layout_index(folder / INDEX)
        assert found is not None and found.size == size
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_reason_of_the_disk_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def full(source: Path, target: Path) -> None:
        if source.name.startswith(".tmp-"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        write_image(tmp_path / "linux-amd64", ENTRY, tmp_path / "share")
