"""Running ``save``, and looking at what it made with other people's tools and eyes.

``save`` runs in this process, which spares half a second each time; ``spawn_save`` and ``run`` start a process of its own,
where signals, standard input or the environment matter. An unpacked bundle is read here from its JSON alone, so that an
error in the program's own reading does not hide one in its writing.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.cli.main import main
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import Result, Running, spawn

PLAIN = "-tls-verify=false"
LIST = Path("list.txt")
ARCHIVE = Path("saved-images.tar.gz")
CACHE = Path("saved-image-cache")
FAILED = Path("save-failed.txt")
REF_NAME = "org.opencontainers.image.ref.name"
SOURCE_DIGEST = "io.image-tools.source.digest"
SUBJECT = "io.image-tools.referrer.subject"

What = Sequence[PushedImage | str]
"""Images of a list: pushed ones, or lines as they shall stand there."""


def lines(images: What) -> str:
    """The text of a list."""
    return "".join(f"{image if isinstance(image, str) else image.reference}\n" for image in images)


def write_list(images: What, path: Path = LIST) -> Path:
    path.write_text(lines(images))
    return path


def command(*arguments: str | Path) -> Result:
    """``image-tools ARGUMENTS`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def save(images: What, *arguments: str | Path) -> Result:
    """``image-tools save`` of these images from a registry without TLS, in this process."""
    return command("save", "-f", write_list(images), PLAIN, *arguments)


def saved(images: What, *arguments: str | Path) -> Result:
    """As ``save``, where nothing may go wrong."""
    result = save(images, *arguments)
    assert result.code == 0, result
    return result


STORE = Path("/nowhere")
"""A folder of the session; ``conftest`` sets it."""
_store: dict[str, Path] = {}


def fetched_before(images: What, cache: Path = CACHE) -> None:
    """Put into the cache what these images consist of, as if a save had fetched it: where a test is not about fetching.

    Fetched once in a session, and copied. All that a save remembers is left out.
    """
    key = lines(images)
    if key not in _store:
        _store[key] = Path(tempfile.mkdtemp(prefix="fetched-", dir=STORE)) / "cache"
        list_file = write_list(images, _store[key].with_name("list.txt"))
        result = command("save", "-f", list_file, PLAIN, "-j", "2", "-compress=dir", "-cache", _store[key])
        assert result.code == 0, result
    for part in ("share", "images"):
        shutil.copytree(_store[key] / part, cache / part, symlinks=True)
    shutil.copy(_store[key] / "oci-layout", cache)


def prepared(images: What, *arguments: str | Path) -> Result:
    """As ``saved``, of images that were fetched before."""
    fetched_before(images)
    return saved(images, *arguments)


def spawn_save(images: What, *arguments: str | Path) -> Running:
    """As ``save``, in a process of its own that is still running. Use it in a ``with``."""
    return spawn("save", "-f", write_list(images), PLAIN, *arguments)


def shell(script: str, cwd: Path | None = None, data: bytes = b"") -> str:
    """The output of commands as a user types them, ``data`` their input; they must succeed and complain about nothing."""
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=cwd, input=data, capture_output=True, timeout=60)
    assert (result.returncode, result.stderr.decode()) == (0, ""), result
    return result.stdout.decode()


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def cached(digest: str, cache: Path = CACHE) -> Path:
    """A blob's file in the cache, or in any folder of its form."""
    return cache / "share" / digest.replace(":", "/")


def identity(path: Path) -> tuple[int, int, int]:
    """Changes when a file is replaced or written."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def files_below(folder: Path) -> set[str]:
    """Relative names of everything but folders."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


def temporary_files(*folders: Path) -> list[Path]:
    """What a run that was killed may leave, and no other may."""
    junk = (".tmp-", "oci-put-blob")
    return [path for folder in folders for path in folder.rglob("*") if path.name.startswith(junk)]


def layer_gets(registry: Registry, *images: PushedImage) -> list[str]:
    """Digests of the layers that were asked for, in order, of these images or of all."""
    configs = {config for image in images for config in image.configs}
    layers = {layer for image in images for layer in image.layers}
    gets = [request.reference for request in registry.blob_gets]
    return [digest for digest in gets if digest in layers] if images else [digest for digest in gets if digest not in configs]


@dataclass(frozen=True)
class Unpacked:
    """A bundle's folder, as ``tar`` unpacked it."""

    root: Path

    @cached_property
    def blobs(self) -> dict[str, bytes]:
        return {f"sha256:{path.name}": path.read_bytes() for path in (self.root / "share" / "sha256").iterdir()}

    @cached_property
    def index(self) -> Any:
        return load(self.root / "index.json")

    @cached_property
    def images_list(self) -> Any:
        return load(self.root / "saved-images-list.json")

    @property
    def names(self) -> list[str]:
        """The references in the bundle, in order."""
        return [entry["annotations"][REF_NAME] for entry in self.index["manifests"]]

    def entry(self, reference: str) -> dict[str, Any]:
        """An image's descriptor in ``index.json``."""
        [found] = [entry for entry in self.index["manifests"] if entry["annotations"][REF_NAME] == reference]
        return dict(found)

    def raw(self, reference: str) -> bytes:
        """The image's index or manifest."""
        return self.blobs[self.entry(reference)["digest"]]

    def listed(self, reference: str) -> dict[str, Any]:
        """An image in ``saved-images-list.json``, which has the order of ``index.json``, without what came along."""
        images = [name for name in self.names if SUBJECT not in self.entry(name)["annotations"]]
        item = dict(self.images_list["List"][images.index(reference)])
        tag = item["Tag"]
        assert reference.startswith((f"{item['Source']}:{tag}", f"{item['Source']}@{tag}"))
        return item

    def folder(self, reference: str) -> Path:
        """An image's own folder."""
        return self.root / "images" / reference.replace("@", "+").replace(":", "+")

    def closure(self, digest: str) -> set[str]:
        """A manifest or index with all it needs, foreign layers excepted."""
        document = json.loads(self.blobs[digest])
        found = {digest}
        for child in document.get("manifests", ()):
            found |= self.closure(child["digest"])
        if "config" in document:
            parts = (document["config"], *document["layers"])
            found |= {part["digest"] for part in parts if not (part.get("urls") and "foreign" in part["mediaType"])}
        return found

    def manifests(self, digest: str) -> list[str]:
        """The image manifests below an index, in order; a manifest is its own."""
        document = json.loads(self.blobs[digest])
        if "manifests" not in document:
            return [digest]
        return [found for child in document["manifests"] for found in self.manifests(child["digest"])]

    def attestations(self, digest: str) -> set[str]:
        """The digests of BuildKit's attestations below an index."""
        entries = json.loads(self.blobs[digest]).get("manifests", [])
        marked = {entry["digest"] for entry in entries if "vnd.docker.reference.type" in entry.get("annotations", {})}
        return marked.union(*(self.attestations(entry["digest"]) for entry in entries))

    def _layouts(self, reference: str) -> list[str]:
        """The folders of an image and of its platforms."""
        found = [self.folder(reference), *(path for path in self.folder(reference).iterdir() if path.name != "blobs")]
        return [str(path.relative_to(self.root)) for path in found if path.is_dir()]

    def check(self) -> None:
        """All that must hold of any bundle."""
        for digest, data in self.blobs.items():
            assert digest == sha256(data)
        needed: set[str] = set()
        for entry in self.index["manifests"]:
            needed |= self.closure(entry["digest"])
            assert entry["size"] == len(self.blobs[entry["digest"]])
        assert needed == set(self.blobs), "exactly what the images need"
        expected = {
            "index.json",
            "oci-layout",
            "blobs",
            "saved-images-list.json",
            "bundle.json",
            "listing.json",
            "archive-index.json",
        }
        for entry in self.index["manifests"]:
            name = entry["annotations"][REF_NAME]
            [own] = load(self.folder(name) / "index.json")["manifests"]
            assert own == entry
            if SUBJECT in entry["annotations"]:
                expected |= {f"{name}/{part}" for name in self._layouts(name) for part in ("index.json", "oci-layout", "blobs")}
                continue
            listed = self.listed(name)["Images"]
            manifests, attestations = list(dict.fromkeys(self.manifests(entry["digest"]))), self.attestations(entry["digest"])
            assert [image["Digest"] for image in listed] == [each for each in manifests if each not in attestations]
            folders = [self.root / path for path in self._layouts(name)]
            assert len(folders) == 1 + len(manifests)
            for image in listed:
                assert self.root / image["Folder"] in folders
                [only] = load(self.root / image["Folder"] / "index.json")["manifests"]
                assert only["digest"] == image["Digest"]
            for folder in folders:
                assert load(folder / "oci-layout") == {"imageLayoutVersion": "1.0.0"}
                assert (folder / "blobs").resolve() == (self.root / "share").resolve()
                assert not (folder / "blobs").readlink().is_absolute()
                expected |= {str((folder / part).relative_to(self.root)) for part in ("index.json", "oci-layout", "blobs")}
        found = {name for name in files_below(self.root) if not name.startswith("share/")}
        assert found - {"archive-index.json"} == expected - {"archive-index.json"}
        assert load(self.root / "oci-layout") == {"imageLayoutVersion": "1.0.0"}
        assert self.images_list["Version"] == "v1.1.0"


def load(path: Path) -> Any:
    return json.loads(path.read_bytes())


def unpack(archive: Path = ARCHIVE, into: Path | None = None) -> Unpacked:
    """Unpack an archive, or volumes whose common name it is, with GNU tar, and check the result."""
    folder = into or Path(tempfile.mkdtemp(prefix="unpacked-", dir=Path.cwd()))
    folder.mkdir(parents=True, exist_ok=True)
    volumes = sorted(archive.parent.glob(f"{glob.escape(archive.name)}.part*"))
    with tempfile.NamedTemporaryFile() as whole:
        for volume in volumes or [archive]:
            whole.write(volume.read_bytes())
        whole.flush()
        shell(f"tar -xf {whole.name} -C {shlex.quote(str(folder))}")
    assert [path.name for path in folder.iterdir()] == [CACHE.name]
    unpacked = Unpacked(folder / CACHE.name)
    unpacked.check()
    return unpacked


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[Path]:
    """Work in another folder for a while."""
    folder.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


def digests(images: Iterable[PushedImage], *platforms: str) -> set[str]:
    """Layers of these platforms (``linux/amd64``) of these images."""
    return {
        layer
        for image in images
        for each in image.platforms
        if str(each.platform) in platforms
        for layer in each.fetched_layers
    }
