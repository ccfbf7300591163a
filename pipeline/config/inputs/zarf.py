"""Zarf packages: images of components, with imported components and flavors.

Source: zarf.dev, "Zarf Package Schema" (``components``, ``import``, ``only.flavor``, ``images``, ``imageArchives``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.inputs.finding import Findings
from pipeline.config.inputs.packagers import is_signature
from pipeline.config.inputs.yaml_tree import Mapping, documents
from pipeline.core import image_list
from pipeline.core.errors import InputError

FILE = "zarf.yaml"
MAX_IMPORTS = 50
"""Files that one package may import, each with those that it imports."""
_OTHERS = ("charts", "manifests", "files", "repos", "dataInjections")


def is_package(root: Mapping) -> bool:
    return root.text("kind") in ("ZarfPackageConfig", "ZarfInitConfig")


def read(root: Mapping, found: Findings, folder: Path | None, flavor: str) -> None:
    """``folder`` is where imports are looked for; None of standard input."""
    _Package(found, flavor).components(root, folder, None)


class _Package:
    def __init__(self, found: Findings, flavor: str) -> None:
        self._found = found
        self._flavor = flavor
        self._imported: set[tuple[Path, str]] = set()

    def components(self, root: Mapping, folder: Path | None, only: str | None) -> None:
        """Of one file; ``only`` the component of this name, as an import wants it."""
        for number, item in root.mappings("components"):
            name = item.text("name")
            if only is not None and name != only:
                continue
            path = f"components[{number}] {name}"
            wanted = item.mapping("only").text("flavor")
            if wanted and wanted != self._flavor:
                tip = f"'-flavor {wanted}' takes it"
                self._found.unknown(name, item.line, path, f"a component of the flavor {wanted}: {tip}")
                continue
            self._images(item, path)
            self._import(item, folder, name, path)

    def _images(self, item: Mapping, path: str) -> None:
        for number, image in item.scalars("images"):
            here = f"{path} images[{number}]"
            if is_signature(image.text):
                note = "a signature or attestation: '-referrers' takes those of every image"
                self._found.unknown(image.text, image.line, here, note)
            else:
                self._found.sure(image.text, image.line, here)
        for number, archive in item.mappings("imageArchives"):
            for _, image in archive.scalars("images"):
                note = f"lies in the archive {archive.text('path')}: load that archive itself"
                self._found.unknown(image.text, image.line, f"{path} imageArchives[{number}]", note)
        for key in _OTHERS:
            for number, other in item.mappings(key):
                what = other.text("name") or other.text("source") or key
                note = "a chart: give the chart with -f" if key == "charts" else f"is one of its {key}, not an image"
                self._found.unknown(what, other.line, f"{path} {key}[{number}]", note)
            for number, text in item.scalars(key):
                self._found.unknown(text.text, text.line, f"{path} {key}[{number}]", f"is one of its {key}, not an image")

    def _import(self, item: Mapping, folder: Path | None, name: str, path: str) -> None:
        wanted = item.mapping("import")
        if url := wanted.text("url"):
            self._found.unknown(url, wanted.line, f"{path} import", "a package in a registry: it is not fetched here")
        place = wanted.text("path")
        if not place:
            return
        if folder is None:
            self._found.unknown(place, wanted.line, f"{path} import", "of standard input it is not known where that lies")
            return
        file = folder / place
        file = file if file.suffix in (".yaml", ".yml") else file / FILE
        component = wanted.text("name") or name
        if (file.resolve(), component) in self._imported or len(self._imported) == MAX_IMPORTS:
            return
        self._imported.add((file.resolve(), component))
        try:
            roots = _load(file)
        except InputError as error:
            self._found.unknown(place, wanted.line, f"{path} import", error.message)
            return
        before, self._found.origin = self._found.origin, str(file)
        for root in roots:
            self.components(root, file.parent, component)
        self._found.origin = before


def _load(file: Path) -> Sequence[Mapping]:
    text = "\n".join(image_list.decode(image_list.read(file, str(file)), str(file)))
    return [root for root in documents(text, str(file)) if isinstance(root, Mapping)]
