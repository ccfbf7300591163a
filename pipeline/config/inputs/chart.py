"""Helm charts and kustomizations: rendered by their own programs where these are installed, which is never required.

Without helm, what a chart says of its images itself is taken (annotations, ``Images.lock``), and ``repository`` with ``tag``
in its ``values.yaml`` is probable; that this may not be all is said.

Source: helm.sh, "Charts"; Artifact Hub, "Helm annotations" (``artifacthub.io/images``).
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from pipeline.config.inputs import packagers
from pipeline.config.inputs.finding import Finding, Findings
from pipeline.config.inputs.yaml_tree import Mapping, Node, Scalar, documents
from pipeline.config.inputs.yaml_tree import Sequence as YamlSequence
from pipeline.core import image_list, process
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import InputError

CHART_FILE = "Chart.yaml"
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
TIMEOUT = 60.0
"""Seconds that helm or kustomize may take."""
MAX_UNPACKED = 64 << 20
"""Bytes of a packed chart, unpacked."""
MAX_FILES = 5000
_ANNOTATIONS = ("artifacthub.io/images", "helm.sh/images", "images")
_NAMES = frozenset((CHART_FILE, "values.yaml", "Images.lock"))

Render = Callable[[str, str], Sequence[Finding]]
"""Takes rendered YAML and what its findings shall name as their origin."""


def is_kustomization(folder: Path) -> bool:
    return any((folder / name).is_file() for name in KUSTOMIZATIONS)


def read_chart(path: Path, name: str, values: Sequence[Path], read_rendered: Render) -> list[Finding]:
    """A chart, as a folder or packed. Raises InputError."""
    if path.is_dir():
        return _chart(path, name, values, read_rendered)
    with tempfile.TemporaryDirectory(prefix="image-tools-") as folder:
        return _chart(_unpack(path, name, Path(folder)), name, values, read_rendered)


def read_kustomization(folder: Path, name: str, read_rendered: Render) -> Sequence[Finding]:
    """Raises InputError, also where neither kustomize nor kubectl is installed."""
    if program := shutil.which("kustomize"):
        text = _output([program, "build", str(folder)], name)
    elif program := shutil.which("kubectl"):
        text = _output([program, "kustomize", str(folder)], name)
    else:
        raise InputError(
            [f"{name} is a kustomization, and neither kustomize nor kubectl is installed"],
            tip=f"elsewhere: kustomize build {name} | image-tools save -f - ...",
        )
    return read_rendered(text, name)


def _chart(folder: Path, name: str, values: Sequence[Path], read_rendered: Render) -> list[Finding]:
    found = Findings(name)
    for chart_file in _shallow_first(folder, CHART_FILE):
        _annotations(chart_file, found, _named(chart_file, folder, name))
    for lock in _shallow_first(folder, "Images.lock"):
        found.origin = _named(lock, folder, name)
        for root in _documents(lock, found.origin):
            known = packagers.reader_of(root)
            if known is not None:
                known[1](root, found)
    helm = shutil.which("helm")
    if helm is None:
        _values(folder, found, name)
        found.origin = name
        note = "helm is not installed, so its templates were not rendered: there may be more images"
        found.unknown(name, 1, "", note)
        return found.found
    flags = [argument for each in values for argument in ("--values", str(each))]
    rendered = read_rendered(_output([helm, "template", "release-name", str(folder), *flags], name), f"{name} (helm template)")
    if not rendered:
        _values(folder, found, name)  # a library, or everything is off by default
    return [*found.found, *rendered]


def _shallow_first(folder: Path, name: str) -> list[Path]:
    """The files of this name in a chart and its subcharts."""
    return sorted(folder.rglob(name), key=lambda file: (len(file.parts), file))


def _named(file: Path, folder: Path, name: str) -> str:
    return f"{name.rstrip('/')}/{file.relative_to(folder)}"


def _annotations(chart_file: Path, found: Findings, origin: str) -> None:
    for root in _documents(chart_file, origin):
        annotations = root.mapping("annotations")
        for key in _ANNOTATIONS:
            value = annotations.get(key)
            if not isinstance(value, Scalar):
                continue
            found.origin = origin
            for item in documents(value.text, origin):
                for number, each in enumerate(item.items if isinstance(item, YamlSequence) else ()):
                    image = each.get("image") if isinstance(each, Mapping) else each
                    if isinstance(image, Scalar):
                        found.sure(image.text, value.line + image.line - 1, f"annotations.{key}[{number}]")


def _values(folder: Path, found: Findings, name: str) -> None:
    """``repository`` and ``tag``; without a tag, that of the application."""
    for values_file in _shallow_first(folder, "values.yaml"):
        origin = _named(values_file, folder, name)
        chart_file = values_file.with_name(CHART_FILE)
        version = next((root.text("appVersion") for root in _documents(chart_file, origin)), "") if chart_file.is_file() else ""
        found.origin = origin
        for root in _documents(values_file, origin):
            _pairs(root, version, found)


def _pairs(root: Mapping, version: str, found: Findings) -> None:
    waiting: list[tuple[Node, str]] = [(root, "")]
    seen: set[int] = set()
    while waiting:
        node, path = waiting.pop()
        if id(node) in seen or isinstance(node, Scalar):
            continue
        seen.add(id(node))
        if isinstance(node, YamlSequence):
            waiting += reversed([(item, f"{path}[{number}]") for number, item in enumerate(node.items)])
            continue
        repository = node.get("repository")
        if isinstance(repository, Scalar) and repository.text and "://" not in repository.text:
            registry = f"{node.text('registry')}/" if node.text("registry") else ""
            tag = node.text("tag") or version
            found.probable(
                f"{registry}{repository.text}{':' if tag else ''}{tag}", repository.line, f"{path}.repository".lstrip(".")
            )
        waiting += reversed([(value, f"{path}.{key}".lstrip(".")) for key, value in node.items()])


def _documents(file: Path, origin: str) -> list[Mapping]:
    text = "\n".join(image_list.decode(image_list.read(file, origin), origin))
    return [root for root in documents(text, origin) if isinstance(root, Mapping)]


def _unpack(path: Path, name: str, folder: Path) -> Path:
    """All of a packed chart into ``folder``: nothing outside it, no links, no more than a chart has. Its top folder."""
    size = count = 0
    top = ""
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if not member.isfile() or not parts or ".." in parts or parts[0] == "/":
                    continue
                size, count = size + member.size, count + 1
                if size > MAX_UNPACKED or count > MAX_FILES:
                    raise InputError([f"{name} is larger than any chart ({bytes_text(MAX_UNPACKED)}, {MAX_FILES:,} files)"])
                if parts[-1] == CHART_FILE and (not top or len(parts) == 2):
                    top = parts[0]
                target = folder.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(member)
                if source is not None:
                    target.write_bytes(source.read())
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InputError([f"{name} cannot be read as a packed chart: {error}"]) from error
    if not top:
        raise InputError(
            [f"{name} is a packed file without a {CHART_FILE}: neither an image list nor a chart"],
            tip=f"a bundle is looked at with 'image-tools verify {name}'",
        )
    return folder / top


def _output(command: Sequence[str], name: str) -> str:
    try:
        done = process.run(command, timeout=TIMEOUT)
    except (OSError, TimeoutError) as error:
        raise InputError([f"{name}: {Path(command[0]).name} did not finish: {error}"]) from error
    if done.code:
        said = " ".join(done.err.decode(errors="replace").split())[:500]
        tip = "give what it needs with -values FILE, or render it yourself and pipe it to '-f -'"
        raise InputError([f"{name}: {Path(command[0]).name} failed: {said}"], tip=tip)
    return done.out.decode(errors="replace")
