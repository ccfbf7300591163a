"""The system's tools that the tests need. A missing one fails the run and says how to install it: nothing is skipped."""

from __future__ import annotations

import shutil

import pytest

PACKAGES = {
    "docker-registry": "docker-registry",
    "pigz": "pigz",
    "setpriv": "util-linux",
    "sha256sum": "coreutils",
    "skopeo": "skopeo",
    "split": "coreutils",
    "tar": "tar",
    "unshare": "util-linux",
    "zstd": "zstd",
}
"""The Debian and Ubuntu package of each tool."""


def require(*names: str) -> None:
    """Fail the test with the install command when one of the tools is not on the PATH."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES.get(name, name) for name in missing}))
        pytest.fail(f"the tests need {', '.join(missing)}: apt-get install {packages}", pytrace=False)
