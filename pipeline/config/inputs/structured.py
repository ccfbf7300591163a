"""Everything that is no list: YAML and JSON documents by their kinds, charts, kustomizations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.inputs import chart, compose, kubernetes, packagers, yaml_tree, zarf
from pipeline.config.inputs.finding import Finding, Findings, Reading
from pipeline.config.inputs.options import Options
from pipeline.config.inputs.yaml_tree import Mapping
from pipeline.core.errors import InputError


def read_text(text: str, name: str, options: Options, folder: Path | None) -> Reading | None:
    """YAML or JSON; None where no document is of a kind that is known. Raises InputError."""
    found = Findings(name)
    formats = dict.fromkeys(
        known
        for root in yaml_tree.documents(text, name)
        if isinstance(root, Mapping) and (known := _document(root, found, folder, options))
    )
    return Reading(" and ".join(formats), tuple(found.found)) if formats else None


def read_chart(path: Path, name: str, options: Options) -> Reading:
    """A chart, as a folder or packed. Raises InputError."""
    return Reading("Helm chart", tuple(chart.read_chart(path, name, options.values, _rendered)))


def _document(root: Mapping, found: Findings, folder: Path | None, options: Options) -> str:
    """Read one document. What it was taken for; nothing where it is none of them."""
    if zarf.is_package(root):
        zarf.read(root, found, folder, options.flavor)
        return "zarf package"
    if (known := packagers.reader_of(root)) is not None:
        name, reader = known
        reader(root, found)
        return name
    if kubernetes.is_object(root):
        kubernetes.read(root, found)
        return "Kubernetes YAML"
    if compose.is_compose(root):
        compose.read(root, found, folder)
        return "Compose"
    return ""


def read_folder(path: Path, name: str, options: Options) -> Reading:
    """A chart or a kustomization. Raises InputError."""
    if (path / chart.CHART_FILE).is_file():
        return read_chart(path, name, options)
    if chart.is_kustomization(path):
        return Reading("kustomization", tuple(chart.read_kustomization(path, name, _rendered)))
    tip = f"name its files: -f {name.rstrip('/')}/FILE"
    what = f"Is a directory, with neither a {chart.CHART_FILE} nor a kustomization.yaml"
    raise InputError([f"cannot read the image list {name}: {what}"], tip=tip)


def _rendered(text: str, origin: str) -> Sequence[Finding]:
    found = Findings(origin)
    for root in yaml_tree.documents(text, origin):
        if isinstance(root, Mapping) and kubernetes.is_object(root):
            kubernetes.read(root, found)
    return found.found
