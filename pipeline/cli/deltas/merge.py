"""``image-tools merge SOURCE... -d BUNDLE``: shards, a bundle and its deltas, or any bundles become one."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.arguments import DEBUG, PROGRESS, chosen, print_lines, source
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.signals import stopping
from pipeline.config import bundle_maker
from pipeline.config.flag import Flag
from pipeline.config.settings import rows
from pipeline.core.amounts import bytes_text, duration_text
from pipeline.core.bundle import Compression, Output
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.core.interruption import Interruption
from pipeline.reader.merge import Merging, merge, open_sources
from pipeline.reader.merge.joined import Joined
from pipeline.reader.recut import Recut
from pipeline.ui.terminal import show_progress

_SETTINGS = rows("destination", "compress", "compress-level", "part", "part-size")


def _run(given: Given, operands: tuple[str, ...]) -> int:
    from pipeline.acts.progress import Tracker  # here, as below: help shall not wait for doit

    if not operands:
        raise UsageError("no bundles given", tip="see 'image-tools merge -h'")
    if not given.text("d"):
        raise UsageError("-d is missing: the bundle to write", tip="see 'image-tools merge -h'")
    started, interruption = time.monotonic(), Interruption()
    with stopping(interruption):
        merging = open_sources([source(text) for text in operands], force=given.switch("force"))
        output = _output(given, merging)
        tracker = Tracker(lambda descriptor: False)
        tracker.begin("merging", 0, sum(_size(each) for each in operands), "merge")
        with show_progress(given.text("progress"), tracker.snapshot):
            made, joined = merge(merging, output, interruption, tracker.add, wait=given.switch("wait"))
    print_lines(*_lines(merging, made, joined, time.monotonic() - started))
    return EXIT_OK


def _output(given: Given, merging: Merging) -> Output:
    """As the flags say; what they do not say is as in the first bundle that says what the result is. Raises UsageError."""
    packing = merging.tellers[0].info.packing
    values = dict(given.only({row.name for row in _SETTINGS}))
    if "compress" not in values and packing.codec != Compression.DIR.value:
        values["compress"] = packing.codec
    if "compress-level" not in values and values.get("compress") == packing.codec and packing.level:
        values["compress-level"] = packing.level
    output = bundle_maker.output(chosen(values))
    if not output.is_archive:
        raise UsageError("a merge makes an archive", tip="use gzip or zstd; tar unpacks it", setting="compress")
    return output


def _size(name: str) -> int:
    path = Path(name)
    return path.stat().st_size if path.is_file() else 0


def _lines(merging: Merging, made: Recut, joined: Joined, seconds: float) -> Iterator[str]:
    total = sum(each.size for each in made.files)
    givers = [each.place for each in merging.sources if each not in merging.tellers]
    yield f"merged {len(merging.sources)} bundles: {joined.images} images"
    if givers:
        yield f"  the images are those of {', '.join(each.place for each in merging.tellers)}; {', '.join(givers)} gave layers"
    yield "written:"
    yield from (f"  {each.path.name}  {bytes_text(each.size)}  sha256:{each.sha256}" for each in made.files)
    yield f"{bytes_text(total)} in {duration_text(seconds)}, {bytes_text(int(total / max(seconds, 0.001)))}/s"
    folder = made.checksum_file.parent
    yield f"check with: (cd {shlex.quote(str(folder))} && sha256sum -c {shlex.quote(made.checksum_file.name)})"


BODY = Body(
    run=_run,
    flags=(
        *_SETTINGS,
        DEBUG,
        Flag("force", False, "merge what there is, though parts are missing or images failed in one"),
        PROGRESS,
        Flag("wait", False, "wait while another run writes there"),
    ),
    about="""
image-tools merge SOURCE... writes one bundle: of the parts of a sharded save, of a bundle and the
deltas made after it, or of any bundles. It has the bytes that one save of the whole would have.
Where deltas are among them, the images are those of the last one; the others give layers.
""",
    examples=(
        "image-tools merge part-1.tar.gz part-2.tar.gz part-3.tar.gz -d saved-images.tar.gz",
        "image-tools merge may.tar.zst june-delta.tar.zst -d june.tar.zst",
    ),
    takes_files=True,
)
