"""Packages of Debian and Ubuntu: skopeo and Python, with all that an empty system would need for them."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.pack_self.download import download
from pipeline.core import files, process
from pipeline.core.errors import EnvironmentProblem
from pipeline.core.interruption import Interruption

WANTED = ("skopeo", "python3", "ca-certificates")


def is_here() -> bool:
    """Whether this is Debian, Ubuntu, or a child of theirs."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg") is not None


def distribution() -> str:
    """As ``debian 12``. Packages of one are not for another."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "an unknown system"
    return f"{release.get('ID', '?')} {release.get('VERSION_ID', '')}".strip()


def system_python() -> Iterator[str]:
    """The version of the Python that this distribution has; nothing where that cannot be told."""
    if not is_here():
        return
    try:
        done = process.run(["apt-cache", "policy", "python3"], timeout=60)
    except (OSError, TimeoutError):
        return
    for line in done.out.decode(errors="replace").splitlines():
        name, _, version = line.strip().partition(": ")
        if name == "Candidate" and version[:2] == "3.":
            yield ".".join(version.split(".")[:2])


def collect(folder: Path, interruption: Interruption) -> None:
    """Download all packages that an empty system needs. Raises EnvironmentProblem, Interrupted."""
    (folder / "partial").mkdir(parents=True)
    nothing = folder / "installed"
    nothing.touch()
    options = {
        "Dir::State::status": nothing,
        "Dir::Cache::archives": folder,
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "",
    }
    command = [
        *("apt-get", "--quiet", "--yes", "--no-install-recommends", "--download-only"),
        *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
        *("install", *WANTED),
    ]
    download("apt-get", command, "the packages of skopeo and Python", "as root: apt-get update", interruption)
    for rest in (nothing, folder / "partial", folder / "lock"):
        files.remove(rest)
    entries = [_entry(path) for path in sorted(folder.glob("*.deb"))]
    (folder / "Packages").write_text("\n".join(entries))


def _entry(path: Path) -> str:
    """A package as the index of a repository describes it (wiki.debian.org, DebianRepository/Format, "Packages" Indices)."""
    done = process.run(["dpkg-deb", "--field", str(path)], timeout=60)
    if done.code:
        raise EnvironmentProblem(f"{path.name} is damaged: {done.err.decode(errors='replace').strip()}", tip="pack again")
    with path.open("rb") as file:
        digest, size = files.hash_file(file)
    return f"{done.out.decode(errors='replace').rstrip()}\nFilename: ./{path.name}\nSize: {size}\nSHA256: {digest}\n"
