"""Wheels: our own, made of what is installed, and those that it needs, from the registry that pip is set up for.

Sources: packaging.python.org, "Binary distribution format" and "Recording installed projects".
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import platform
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import pipeline
from pipeline.cli.pack_self.download import download
from pipeline.core.errors import EnvironmentProblem
from pipeline.core.interruption import Interruption

DISTRIBUTION = "image-tools"
_GLIBC = ("2_28", "2_17")
"""Oldest versions of the C library that wheels are looked for."""
_ABOUT = f"Wheel-Version: 1.0\nGenerator: {DISTRIBUTION}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (2020, 1, 1, 0, 0, 0)


def collect(folder: Path, versions: Sequence[str], interruption: Interruption) -> None:
    """Fill ``folder`` with all wheels for these versions of Python, and pip's own. Raises EnvironmentProblem, Interrupted."""
    if importlib.util.find_spec("pip") is None:
        raise EnvironmentProblem(
            "this installation has no pip, which collects the wheels",
            tip="python3 -m ensurepip, or: uv tool install --with pip",
        )
    folder.mkdir(parents=True)
    _make_own(folder)
    for version in versions:
        _download(folder, version, interruption)


def _download(folder: Path, version: str, interruption: Interruption) -> None:
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    machine = platform.machine()
    tags = [f"--platform=manylinux_{glibc}_{machine}" for glibc in _GLIBC]
    other = ["--implementation=cp", f"--python-version={version}", *tags, f"--platform=manylinux2014_{machine}"]
    command = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--only-binary=:all:"),
        *(f"--dest={folder}", *(other if version != this else ()), "pip", *_requirements()),
    ]
    tip = "pack-self needs the package registries; the other side does not"
    download("pip", command, f"the wheels for Python {version}", tip, interruption)


def _requirements() -> Iterator[str]:
    """What this program needs. Markers about Python go: pip would hold them against the Python that it runs on."""
    for line in metadata.requires(DISTRIBUTION) or ():
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        if "extra" not in marker:
            yield requirement if "python_version" in marker or not marker else f"{requirement}; {marker}"


def _make_own(folder: Path) -> None:
    """A wheel of the package that runs, the same whether it was installed or is a checkout."""
    found = metadata.distribution(DISTRIBUTION)
    name = re.sub(r"[-_.]+", "_", DISTRIBUTION)
    info = f"{name}-{pipeline.__version__}.dist-info"
    described = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    groups: dict[str, list[str]] = {}
    for point in found.entry_points:
        groups.setdefault(point.group, []).append(f"{point.name} = {point.value}")
    points = "\n".join(line for group, lines in groups.items() for line in (f"[{group}]", *lines, ""))
    root = Path(pipeline.__file__).parent
    contents = {
        f"{root.name}/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    contents[f"{info}/METADATA"] = described.encode()
    contents[f"{info}/WHEEL"] = _ABOUT.encode()
    contents[f"{info}/entry_points.txt"] = points.encode()
    record = "".join(f"{path},sha256={_urlsafe_sha256(data)},{len(data)}\n" for path, data in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(folder / f"{name}-{pipeline.__version__}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in contents.items():
            wheel.writestr(zipfile.ZipInfo(path, _EPOCH), data, zipfile.ZIP_DEFLATED)


def _urlsafe_sha256(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
