"""Two releases of one list, and bundles of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.images import image, index, layer
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import Result
from tests.system.load.loading import PLAIN, command

PLATFORMS = ("linux/amd64", "linux/arm64")
BASE = 60_000
"""Bytes of a layer that all images of a release share."""
OWN = 20_000


@dataclass(frozen=True)
class Releases:
    """``first`` and ``second`` are the images; the folder has ``first.txt`` and ``second.txt``, and one cache for all."""

    folder: Path
    first: tuple[PushedImage, ...]
    second: tuple[PushedImage, ...]

    def list_of(self, release: str) -> Path:
        return self.folder / f"{release}.txt"

    def save(self, release: str, archive: Path, *arguments: str | Path) -> Result:
        """``image-tools save`` of a release, with the cache of this folder."""
        return command(
            *("save", "-f", self.list_of(release), PLAIN, "-a", "all", "-j", "4"),
            *("-cache", self.folder / "cache", "-d", archive, "-o", archive.with_name("failed.txt"), *arguments),
        )

    def saved(self, release: str, archive: Path, *arguments: str | Path) -> Path:
        """As ``save``, where nothing may go wrong."""
        result = self.save(release, archive, *arguments)
        assert result.code == 0, result
        return archive

    @property
    def shared(self) -> set[str]:
        """Layers that both releases have."""
        first = {each for pushed in self.first for each in pushed.layers}
        return first & {each for pushed in self.second for each in pushed.layers}


def push_releases(registry: Registry, folder: Path) -> Releases:
    """``app`` and ``tool`` move, ``same`` stays, ``old`` goes, ``new`` comes; all are built on one base."""
    folder.mkdir(parents=True)
    names = {"first": ("app", "tool", "same", "old"), "second": ("new", "app", "tool", "same")}
    pushed = {
        release: tuple(_push(registry, name, "v1" if name == "same" else release) for name in names[release])
        for release in names
    }
    found = Releases(folder, pushed["first"], pushed["second"])
    for release, images in pushed.items():
        found.list_of(release).write_text("".join(f"{each.reference}\n" for each in images))
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        for release in names:
            result = command("lock", "-f", found.list_of(release), PLAIN, "-a", "all", "-cache", folder / "cache")
            assert result.code == 0, result
    return found


def _push(registry: Registry, name: str, release: str) -> PushedImage:
    made = [
        image(each, [layer(f"deltas/base/{each}", BASE), layer(f"deltas/{name}/{each}", OWN), layer(f"{name}/{release}", OWN)])
        for each in PLATFORMS
    ]
    return (
        push(registry, f"deltas/{name}", "v1", index(*made))
        if release == "v1"
        else push(registry, f"deltas/{name}", release, index(*made))
    )
