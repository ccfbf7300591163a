"""``image-tools verify SOURCE [-registry REGISTRY]``: is it whole? Is it there?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import (
    ACCESS,
    BASE,
    DEBUG,
    JSON,
    PROGRESS,
    REPORT,
    REQUIRE_SLIP,
    bases,
    chosen,
    one_source,
    print_json,
    print_lines,
    report_file,
    slip_signers,
)
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.harbor_flags import PROJECT, default_project
from pipeline.cli.signals import stopping
from pipeline.config import bundle_maker
from pipeline.config.flag import Flag
from pipeline.config.settings import KEYS
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import MAX_JOBS
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SOME_FAILED, ArchiveError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.reference import Reference, parse_source
from pipeline.reader.contents import BundledImage, open_contents, open_store
from pipeline.reader.slips import demand_slip
from pipeline.reader.targets import in_registry
from pipeline.reader.verify import Fault, Meter, Report, check, compare
from pipeline.registry.distribution import Distribution
from pipeline.storage import locks
from pipeline.ui.terminal import referrers_text, show_progress

if TYPE_CHECKING:
    from pipeline.acts.progress import Tracker

JOBS_HELP = f"how much is done at once, maximum is {MAX_JOBS} (default: one for each processor; 4 for a registry)"
SHOWN = 8
"""Images that a fault breaks, by name; the rest are counted. JSON has them all."""


def _run(given: Given, operands: tuple[str, ...]) -> int:
    source = one_source(operands, "verify")
    allowed = slip_signers(given)
    if allowed is not None and given.text("registry"):
        raise UsageError("-require-slip looks at SOURCE, and -registry at a registry: verify twice")
    file = report_file(given)
    from pipeline.acts.progress import Tracker  # here: help shall not wait for doit

    interruption, tracker = Interruption(), Tracker(lambda descriptor: False)
    with stopping(interruption), locks.reading(source, sleep=interruption.sleep):
        report = _with_slip(allowed, source, _report(given, source, interruption, tracker), interruption)
        tracker.end()
        if file is not None:
            from pipeline.cli import reports  # here: as above

            reports.write_verify(report, source, file, tracker, given.text("registry"), interruption)
    if given.switch("json"):
        print_json(report.to_json())
    else:
        print_lines(*_lines(report, bool(given.text("registry"))))
    if not report.is_readable:
        return EXIT_COULD_NOT
    return EXIT_SOME_FAILED if report.faults else EXIT_OK


BODY = Body(
    run=_run,
    flags=(
        *ACCESS,
        BASE,
        DEBUG,
        Flag("deep", False, "with -registry: read every blob there to its end, not one byte of it"),
        PROJECT,
        replace(KEYS["jobs"], default=0, help=JOBS_HELP),
        JSON,
        PROGRESS,
        REPORT,
        REQUIRE_SLIP,
        Flag("registry", "", "compare with what this registry has, by digest; host, host:port or host/path, as -d of load"),
        Flag(
            "repo-type",
            "",
            "repository type, can be 'harbor': images have the names that load gave them there",
            choices=("harbor",),
        ),
    ),
    about="""
image-tools verify SOURCE reads all of SOURCE (an archive, volumes, or a folder) and reports
everything that is damaged or missing, and which images that breaks. With -registry it asks
the registry whether all images of SOURCE are there, bit for bit.
""",
    examples=(
        "image-tools verify saved-images.tar.gz",
        "image-tools verify saved-images.tar.gz -registry registry.internal:5000",
    ),
    takes_files=True,
)


def _report(given: Given, source: Path, interruption: Interruption, tracker: Tracker) -> Report:
    settings = chosen(given.only({*(row.name for row in ACCESS), "j"}))
    if given.text("registry"):
        registry = parse_source(given.text("registry"))
        jobs = settings.number("jobs") if settings.given("jobs") else 4
        access = bundle_maker.access(settings)
        distribution = Distribution(access, interruption, connections=2 * jobs, mirrors=False)
        project = default_project(given)

        def place(image: BundledImage) -> Reference:
            return in_registry(image, registry, project or "")

        contents, deep = open_contents(source, interruption.check), given.switch("deep")
        return compare(contents, place, distribution, deep=deep, jobs=jobs, interruption=interruption)
    jobs = settings.number("jobs") if settings.given("jobs") else min(os.cpu_count() or 1, MAX_JOBS)
    meter = Meter(begin=lambda total: tracker.begin("verifying", 0, total, "verify"), count=tracker.add)
    with show_progress(given.text("progress"), tracker.snapshot):
        return check(source, jobs, interruption, bases(given), meter)


def _with_slip(allowed: Path | None, source: Path, report: Report, interruption: Interruption) -> Report:
    """With what is wrong with the slip, where one is demanded."""
    if allowed is None:
        return report
    try:
        found = demand_slip(source, open_store(source), allowed, interruption)
    except ArchiveError as error:
        return replace(report, faults=(*report.faults, Fault("slip", error.message)))
    log.info("slip: signed by %s on %s: %s", found["signer"], found.get("created", "?"), found.get("note") or "no note")
    return report


def _lines(report: Report, is_registry: bool) -> Iterator[str]:
    for fault in report.faults:
        yield f"{fault.what}: {fault.problem}".replace("\n", "\n    ")
        more = len(fault.breaks) - SHOWN
        yield from (f"    breaks {name}" for name in fault.breaks[:SHOWN])
        if more > 0:
            yield f"    and {more} more"
    if not report.is_readable:
        yield f"{report.source}: so much is wrong that the images in it cannot be told"
        yield from _recovery(report)
        return
    looked = _images(report) if is_registry else _looked_at(report)
    if report.faults:
        yield f"{len(report.faults)} faults, {len(report.broken)} of {report.images} images broken ({looked})"
    else:
        yield f"all is there, bit for bit: {looked}" if is_registry else f"all is intact: {looked}"
    if report.left_out is not None:
        count, size = report.left_out
        yield f"a delta: {count} layers, {bytes_text(size)}, are left out, as its base has them; -base BUNDLE checks these, too"
    yield from _recovery(report)


def _recovery(report: Report) -> Iterator[str]:
    """What the recovery files can do."""
    known = report.recovery
    if known is None:
        return
    if known.problem:
        yield f"there are recovery files, of which nothing can be told: {known.problem}"
    elif not report.faults:
        yield f"recovery files: any {known.spare:,} blocks of {bytes_text(known.block_size)} may be lost"
    elif known.is_enough:
        left = known.spare - known.lost
        yield f"{known.lost:,} blocks are lost, and {known.spare:,} can be repaired: {left:,} more may be lost"
        yield f"'image-tools repair {report.source} -d DIR' makes it whole"
    else:
        yield f"{known.lost:,} blocks are lost, and only {known.spare:,} can be repaired: copy again what can be copied"


def _images(report: Report) -> str:
    return f"{report.images} images{referrers_text(report.referrers)}"


def _looked_at(report: Report) -> str:
    sums = f", {report.checksums} checksums" if report.checksums is not None else ", no checksum file"
    return f"{_images(report)}, {report.blobs} blobs, {bytes_text(report.size)}{sums}"
