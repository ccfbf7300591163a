"""``image-tools version``."""

from __future__ import annotations

from pipeline import __version__
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.core.errors import EXIT_OK


def _run(given: Given, operands: tuple[str, ...]) -> int:
    print(f"image-tools {__version__}")
    return EXIT_OK


BODY = Body(run=_run)
