"""The report of a save, a load or a verification, for whoever is handed the bundle: one HTML page, or the same as JSON.

``model`` says what is in it; ``collect`` brings that of a save together, ``of_source`` that of the others; ``write`` writes it;
``page`` and ``charts`` are the HTML. Promises: the page needs no network and no other file; every text in it is escaped,
whoever chose it; no secret and no folder of this machine is in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core import files
from pipeline.core.errors import UsageError

if TYPE_CHECKING:
    from pipeline.ui.report.model import Report

SUFFIXES = (".html", ".json")


def check_name(path: Path) -> None:
    """Raises UsageError for a file that says neither of the two."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"-report {path.name}: the name must end in {' or '.join(SUFFIXES)}, which says what is written")


def write(report: Report, path: Path) -> None:
    """Write it as the name of ``path`` says, HTML or JSON. Raises OSError."""
    if path.suffix == ".json":
        data = files.dump_json(report.to_json())
    else:
        from pipeline.ui.report.page import html

        data = html(report).encode(errors="backslashreplace")
    files.write_atomic(path, data)
