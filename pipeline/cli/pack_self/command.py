"""``image-tools pack-self -d DIR|FILE``: wheels, skopeo's packages and an installer, in one folder or archive.

Guarantee: what lies at the destination is complete; a run that fails or is interrupted leaves what was there before.
"""

from __future__ import annotations

import platform
import re
import sys
import tarfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from pipeline import __version__
from pipeline.cli.arguments import DEBUG, print_lines, source
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.pack_self import debian, wheels
from pipeline.cli.signals import stopping
from pipeline.config.flag import Flag
from pipeline.core import disk, files
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log

INSTALLER = "install.sh"
SUMS = "SHA256SUMS"
SUFFIXES = (".tar.gz", ".tgz")
_MARK = "DISTRIBUTION"
"""Which distribution the packages are for: ``debian 12``, or empty."""


def _run(given: Given, operands: tuple[str, ...]) -> int:
    destination = _destination(given)
    versions = _versions(given.text("python"))
    disk.check_writable(destination.absolute().parent)
    interruption = Interruption()
    work = files.temporary_beside(destination.absolute())
    try:
        with stopping(interruption):
            content = work / destination.name.removesuffix(".tar.gz").removesuffix(".tgz")
            content.mkdir(parents=True)
            _collect(content, versions, interruption)
            _finish(content, destination.absolute(), work)
    finally:
        files.remove(work)
    print_lines(*_said(destination))
    return EXIT_OK


BODY = Body(
    run=_run,
    flags=(
        Flag(
            "d",
            "",
            "folder or .tar.gz to write to (default image-tools-VERSION-MACHINE.tar.gz)",
            place="file",
            long="destination",
        ),
        DEBUG,
        Flag("python", "", "Pythons of the other side, separate with ',', e.g. 3.11,3.13 (default: this one and the system's)"),
    ),
    about="""
image-tools pack-self makes one archive with which this very program is installed on a machine
that has no network: wheels, the packages of skopeo and Python for this distribution (Debian or
Ubuntu), and install.sh, which needs nothing but a shell. It asks the package registries that
pip and apt-get are set up for.
""",
    examples=("image-tools pack-self -d image-tools.tar.gz", "image-tools pack-self -d /media/stick/image-tools -python 3.12"),
    no_operands="name the folder or file with -d",
)


def _destination(given: Given) -> Path:
    if given.text("d"):
        destination = source(given.text("d"))
        return destination / _name() if destination.is_dir() and any(destination.iterdir()) else destination
    return Path(_name())


def _name() -> str:
    return f"image-tools-{__version__}-{platform.machine()}.tar.gz"


def _versions(text: str) -> tuple[str, ...]:
    """Of the Pythons to bring wheels for: ``3.11``. Raises UsageError."""
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not text:
        return tuple(dict.fromkeys((this, *debian.system_python())))
    for each in (found := text.split(",")):
        if not re.fullmatch(r"3\.(1[0-9])", each):
            raise UsageError(f"{each!a} is no Python that image-tools runs on", tip="e.g. -python 3.11,3.13", setting="python")
    return tuple(dict.fromkeys(found))


def _collect(folder: Path, versions: Sequence[str], interruption: Interruption) -> None:
    log.info("collecting wheels for Python %s", ", ".join(versions))
    wheels.collect(folder / "wheels", versions, interruption)
    mark = ""
    if debian.is_here():
        log.info("collecting the packages of skopeo and Python for %s", debian.distribution())
        debian.collect(folder / "packages", interruption)
        mark = debian.distribution()
    else:
        log.warning("skopeo is brought along from Debian and Ubuntu only: install it on the other side by other means")
    (folder / _MARK).write_text(f"{mark}\n")
    installer = folder / INSTALLER
    installer.write_text(resources.files(__package__).joinpath(INSTALLER).read_text(encoding="utf-8"))
    installer.chmod(0o755)


def _finish(content: Path, destination: Path, work: Path) -> None:
    """Checksums, then the archive; and all in its place in one step."""
    members = sorted(path for path in content.rglob("*") if path.is_file())
    sums = "".join(_sum_line(path, content) for path in members)
    (content / SUMS).write_text(sums)
    if not destination.name.endswith(SUFFIXES):
        if destination.is_dir():  # an empty one
            destination.rmdir()
        content.replace(destination)
        return
    packed = work / "packed.tar.gz"
    with tarfile.open(packed, "w:gz", compresslevel=1) as archive:  # wheels and packages are compressed already
        archive.add(content, content.name)
    packed.replace(destination)


def _sum_line(path: Path, folder: Path) -> str:
    with path.open("rb") as file:
        return f"{files.hash_file(file)[0]}  {path.relative_to(folder)}\n"


def _said(destination: Path) -> Sequence[str]:
    if destination.is_dir():
        size = sum(path.stat().st_size for path in destination.rglob("*") if path.is_file())
        return (f"{destination}: {bytes_text(size)}", f"on the other side: sh {destination.name}/{INSTALLER}")
    folder = re.sub(r"\.(tar\.gz|tgz)$", "", destination.name)
    return (
        f"{destination}: {bytes_text(destination.stat().st_size)}",
        f"on the other side: tar -xzf {destination.name} && sh {folder}/{INSTALLER}",
    )
