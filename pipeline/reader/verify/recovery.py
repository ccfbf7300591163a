"""What the recovery files beside an archive can still do."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import EnvironmentProblem
from pipeline.core.interruption import Interruption
from pipeline.storage import parity


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Counts of blocks: ``spare`` recovery blocks are whole, ``lost`` blocks of the archive are not. ``problem`` is why that is
    not known.
    """

    block_size: int
    spare: int
    lost: int
    problem: str = ""

    @property
    def is_enough(self) -> bool:
        return not self.problem and self.lost <= self.spare

    def to_json(self) -> dict[str, Any]:
        return {
            "block_size": self.block_size,
            "spare": self.spare,
            "lost": self.lost,
            **({"problem": self.problem} if self.problem else {}),
        }


def look(path: Path, is_damaged: bool, interruption: Interruption) -> Recovery | None:
    """Of the archive at ``path``, by any of its names; None without recovery files. What is intact is not read again."""
    archive = parity.base_of(path)
    recovery = parity.files_beside(archive)
    known = parity.read(recovery) if recovery else None
    if known is None:
        return None
    lost, problem = 0, ""
    if is_damaged:
        try:
            lost = _lost(archive, recovery[0], known, interruption)
        except EnvironmentProblem as error:
            problem = error.message
    return Recovery(block_size=known.block_size, spare=known.spare, lost=lost, problem=problem)


def _lost(archive: Path, main: Path, known: parity.ParitySet, interruption: Interruption) -> int:
    with tempfile.TemporaryDirectory(prefix="image-tools-") as work:
        parity.link_files(known, archive.absolute().parent, Path(work))
        lost, _ = parity.missing_blocks(main.absolute(), Path(work), interruption)
    return lost
