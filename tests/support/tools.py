"""The system's tools that the tests need. A missing one fails the run and says how to install it: nothing is skipped."""

from __future__ import annotations

import shutil

import pytest

PACKAGES = {
    "ctr": "containerd",
    "docker-registry": "docker-registry",
    "gpg": "gpg",
    "gpg-agent": "gpg-agent",
    "pigz": "pigz",
    "setpriv": "util-linux",
    "sha256sum": "coreutils",
    "skopeo": "skopeo",
    "split": "coreutils",
    "tar": "tar",
    "zstd": "zstd",
}
"""The Debian and Ubuntu package of each tool."""


def complaint(*names: str) -> str:
    """What to tell when some of the tools are not on the PATH: their names and the install command. Empty when all are."""
    missing = [name for name in names if shutil.which(name) is None]
    packages = " ".join(sorted({PACKAGES.get(name, name) for name in missing}))
    return f"the tests need {', '.join(missing)}: apt-get install {packages}" if missing else ""


def require(*names: str) -> None:
    """Fail the test when one of the tools is missing."""
    if message := complaint(*names):
        pytest.fail(message, pytrace=False)
