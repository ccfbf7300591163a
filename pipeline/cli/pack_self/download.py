"""One download by pip or apt-get, in its own process."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core import process
from pipeline.core.errors import EnvironmentProblem
from pipeline.core.interruption import Interruption

_TIMEOUT = 1800.0
"""Seconds for one download."""


def download(name: str, command: Sequence[str], what: str, tip: str, interruption: Interruption) -> None:
    """Run ``command``, which people call ``name``, to download ``what``. Raises EnvironmentProblem, Interrupted."""
    try:
        done = process.run_until(command, interruption, timeout=_TIMEOUT)
    except (OSError, TimeoutError) as error:
        raise EnvironmentProblem(f"{name} cannot be run: {error}") from error
    if done.code:
        said = "\n".join(done.err.decode(errors="replace").strip().splitlines()[-3:])
        raise EnvironmentProblem(f"{name} could not download {what}\n{said}", tip=tip)
