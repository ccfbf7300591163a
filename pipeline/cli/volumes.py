"""``image-tools volumes SOURCE -d DIR``: an archive cut into volumes, or joined."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from pipeline.cli.arguments import DEBUG, one_source, print_lines, source
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.signals import stopping
from pipeline.config.flag import Flag
from pipeline.core.amounts import bytes_text, duration_text, parse_size
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.core.interruption import Interruption
from pipeline.reader.recut import recut


def _run(given: Given, operands: tuple[str, ...]) -> int:
    archive = one_source(operands, "volumes")
    if not given.text("d"):
        raise UsageError("-d is missing: the folder to write to", tip="see 'image-tools volumes -h'")
    folder = source(given.text("d"))
    started = time.monotonic()
    interruption = Interruption()
    with stopping(interruption):
        made = recut(archive, folder, _part_size(given), interruption, given.switch("wait"))
    total, seconds = sum(each.size for each in made.files), time.monotonic() - started
    print_lines(
        "written:",
        *(f"  {each.path.name}  {bytes_text(each.size)}  sha256:{each.sha256}" for each in made.files),
        f"{bytes_text(total)} in {duration_text(seconds)}, {bytes_text(int(total / max(seconds, 0.001)))}/s",
        _how_to_check(folder, made.checksum_file, made.checked),
    )
    return EXIT_OK


def _part_size(given: Given) -> int | None:
    text = given.text("part-size")
    try:
        return parse_size(text) if text else None
    except UsageError as error:
        raise UsageError(error.message, tip=error.tip, setting="part-size") from error


def _how_to_check(folder: Path, checksum_file: Path, checked: bool) -> str:
    check = f"check with: (cd {shlex.quote(str(folder))} && sha256sum -c {shlex.quote(checksum_file.name)})"
    return check if checked else f"{check}\nSOURCE had no checksums; 'image-tools verify' reads what was written to its end"


BODY = Body(
    run=_run,
    flags=(
        Flag("d", "", "folder to write to", place="folder", long="destination"),
        DEBUG,
        Flag("part-size", "", "volume size (a number, or a string ended with 'K','M' or 'G'); without it, one file"),
        Flag("wait", False, "wait while another run writes there"),
    ),
    about="""
image-tools volumes SOURCE cuts an archive into volumes of another size, or joins volumes to one
file. Nothing is packed again: joined, the bytes are the same. SOURCE stays as it is.
""",
    examples=(
        "image-tools volumes saved-images.tar.gz -part-size=700M -d discs",
        "image-tools volumes discs/saved-images.tar.gz.part00 -d joined",
    ),
    takes_files=True,
)
