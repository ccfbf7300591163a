"""``image-tools repair SOURCE -d DIR``: an archive that lost sectors or volumes, made whole by its recovery files."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from pipeline.cli.arguments import DEBUG, one_source, print_lines, source
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.signals import stopping
from pipeline.config.flag import Flag
from pipeline.core.amounts import bytes_text, duration_text
from pipeline.core.bundle import CHECKSUM_SUFFIX
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.core.interruption import Interruption
from pipeline.reader.repair import repair
from pipeline.storage import parity


def _run(given: Given, operands: tuple[str, ...]) -> int:
    archive = one_source(operands, "repair")
    if not given.text("d"):
        raise UsageError("-d is missing: the folder to write to", tip="see 'image-tools repair -h'")
    folder = source(given.text("d"))
    started = time.monotonic()
    interruption = Interruption()
    with stopping(interruption):
        made = repair(archive, folder, interruption, given.switch("wait"))
    total, seconds = sum(each.size for each in made.files), time.monotonic() - started
    print_lines(
        "written:",
        *(f"  {each.path.name}  {bytes_text(each.size)}{_note(each.path, made.mended)}" for each in made.files),
        f"{len(made.mended)} of {len(made.files)} files were repaired; {bytes_text(total)} in {duration_text(seconds)}",
        _how_to_check(folder, parity.base_of(archive).name, made.checked),
    )
    return EXIT_OK


def _note(path: Path, mended: tuple[str, ...]) -> str:
    return "  repaired" if path.name in mended else ""


def _how_to_check(folder: Path, name: str, checked: bool) -> str:
    if checked:
        return "all have the checksums that lay beside SOURCE"
    return f"check with: (cd {shlex.quote(str(folder))} && sha256sum -c {shlex.quote(name + CHECKSUM_SUFFIX)})"


BODY = Body(
    run=_run,
    flags=(
        Flag("d", "", "folder to write to", place="folder", long="destination"),
        DEBUG,
        Flag("wait", False, "wait while another run writes there"),
    ),
    about="""
image-tools repair SOURCE writes an archive to DIR as it was, from what is left of it and its
recovery files ('save -parity 10%'). SOURCE is the archive, a volume, or a recovery file; all of them
lie in one folder, which is only read. 'image-tools verify SOURCE' says whether it can succeed.
""",
    examples=("image-tools repair /media/disc/saved-images.tar.gz.part00 -d repaired",),
    takes_files=True,
)
