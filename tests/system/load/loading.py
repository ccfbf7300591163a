"""Bundles to load, and running the commands on them."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import Result

PLAIN = "-tls-verify=false"
FAILED = Path("load-failed.txt")


@dataclass(frozen=True)
class Bundle:
    """What ``save`` made of some images: ``path`` is the archive, or what its volumes have in common."""

    path: Path
    images: dict[str, PushedImage]

    @property
    def files(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.name}.part*")) or [self.path]

    @property
    def cache(self) -> Path:
        return self.path.parent / "saved-image-cache"

    def copied(self, folder: Path, *, checksums: bool = True) -> Bundle:
        """A copy that may be damaged."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in self.files:
            shutil.copy(file, folder)
        if checksums:
            shutil.copy(f"{self.path}.sha256", folder)
        return Bundle(folder / self.path.name, self.images)


def make_bundle(folder: Path, images: Sequence[PushedImage], *arguments: str, name: str = "saved-images.tar.gz") -> Bundle:
    """Save all platforms of ``images``, in a home of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list.txt").write_text("".join(f"{image.reference}\n" for image in images))
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        for variable in ("HOME", "XDG_RUNTIME_DIR"):
            there.setenv(variable, str(folder))
        result = command("save", "-f", "list.txt", PLAIN, "-a", "all", "-j", "6", "-d", name, *arguments)
    assert result.code == 0, result
    return Bundle(folder / name, {image.kind: image for image in images})


def command(*arguments: str | Path) -> Result:
    """``image-tools ARGUMENTS`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def load(bundle: Bundle | Path, to: str, *arguments: str | Path) -> Result:
    """``image-tools load`` into a registry without TLS, in this process."""
    return command("load", "-s", bundle if isinstance(bundle, Path) else bundle.path, "-d", to, PLAIN, *arguments)


def loaded(bundle: Bundle | Path, to: str, *arguments: str | Path) -> Result:
    """As ``load``, where nothing may go wrong."""
    result = load(bundle, to, *arguments)
    assert result.code == 0, result
    return result


def json_of(*arguments: str | Path) -> Any:
    """What a command prints with ``-json``."""
    return json.loads(command(*arguments, "-json").stdout)


def sent(registry: Registry) -> list[str]:
    """Requests that brought something into the registry since its log was cleared."""
    return [str(request) for request in registry.requests() if request.method not in ("GET", "HEAD")]


def assert_holds(registry: Registry, image: PushedImage, repository: str = "", tag: str = "") -> None:
    """The registry has the image bit for bit: what its tag names, and every object below it."""
    place = repository or image.repository
    with registry.client() as client:
        answer = client.manifest(place, tag or image.tag)
        assert (answer.status, answer.body) == (200, image.raw)
        for platform in image.platforms:
            answer = client.manifest(place, platform.manifest)
            assert (answer.status, answer.body) == (200, platform.raw)
            for digest in {platform.config, *platform.fetched_layers}:
                answer = client.blob(place, digest)
                assert (answer.status, answer.body) == (200, image.contents[digest])


def flip(file: Path, offset: int) -> None:
    """Change one byte."""
    with file.open("r+b") as stream:
        stream.seek(offset)
        [byte] = stream.read(1)
        stream.seek(offset)
        stream.write(bytes([byte ^ 0x10]))
