"""Copies of image/arches that share a run of skopeo: all of them arrive as they would alone, and one that fails fails alone."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.images import DOCKER_CONFIG, Content, Image, image, index, layer
from tests.support.kinds import KINDS, push_kind
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import run
from tests.system.save.saving import CACHE, PLAIN, files_below, save, saved, temporary_files, write_list


@pytest.fixture(scope="module")
def images(registry: Registry) -> list[PushedImage]:
    return [push_kind(registry, kind, f"copies/{kind}") for kind in KINDS]


def copies(stderr: str) -> int:
    return sum(" copy --quiet " in line for line in stderr.splitlines())


def folders(cache: Path) -> dict[str, bytes]:
    found = {name for name in files_below(cache) if name.startswith("images/") and name.endswith("index.json")}
    return {name: (cache / name).read_bytes() for name in found}


def test_several_share_a_run(images: list[PushedImage]) -> None:
    """All kinds at once, on eight jobs, and one after the other: the same folders, with fewer runs."""
    together = saved(images, "-a", "all", "-j", "8", "-debug", "-cache", "together")
    alone = saved(images, "-a", "all", "-j", "1", "-debug", "-cache", "alone", "-d", "alone.tar.gz")
    assert folders(Path("together")) == folders(Path("alone"))
    assert files_below(Path("together/share")) == files_below(Path("alone/share"))
    assert 1 <= copies(together.stderr) < copies(alone.stderr) == len(folders(Path("alone"))) - len(images)
    assert not temporary_files(Path("together"))


def unreadable(seed: str) -> Image:
    """All its digests are right, and its config is none."""
    made = image("linux/arm64", [layer(seed)], docker=True)
    config = Content(DOCKER_CONFIG, b'["' + seed.encode() + b'"]')
    data = made.manifest.data.replace(made.config.digest.encode(), config.digest.encode())
    data = data.replace(f'"size": {len(made.config.data)}'.encode(), f'"size": {len(config.data)}'.encode())
    return replace(made, config=config, manifest=replace(made.manifest, data=data))


def test_one_that_cannot_be_read_fails_alone(registry: Registry, images: list[PushedImage]) -> None:
    content = index(image("linux/amd64", [layer("copies/good")], docker=True), unreadable("copies/bad"), docker=True)
    bad = push(registry, "copies/unreadable", "v1", content)
    result = save([*images, bad], "-a", "all", "-j", "8", "-debug")
    assert result.code == 1, result
    assert f"{bad.reference}: linux/arm64: skopeo cannot copy it: " in result.stdout
    assert f"saved {len(images)} of {len(images) + 1} images" in result.stdout
    assert not temporary_files(CACHE)


def test_without_hard_links_each_is_copied_alone(images: list[PushedImage], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    result = saved(images, "-j", "8", "-debug")
    assert copies(result.stderr) >= len(images)


def test_a_kill_in_the_middle_leaves_nothing_that_stays(images: list[PushedImage]) -> None:
    """What a killed run left of a joint copy is gone after the next one."""
    left = CACHE / ".state" / ".tmp-1-copies" / "read"
    left.mkdir(parents=True)
    result = run("save", "-f", write_list(images), PLAIN, "-compress=dir")
    assert result.code == 0, result
    assert not left.parent.exists()
