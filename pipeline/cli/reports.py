"""``-report`` of ``load`` and ``verify``: what they came to becomes a page, or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.interruption import Interruption
from pipeline.reader.contents import Contents, open_contents
from pipeline.reader.verify import Report
from pipeline.ui import report
from pipeline.ui.report import of_source

if TYPE_CHECKING:
    from pipeline.acts.load.run import Load
    from pipeline.acts.progress import Tracker


def write_load(load: Load, path: Path, *, planned: bool = False) -> None:
    """Write the report of a load, or of what it would do."""
    result, options = load.result, load.options
    pushed = dict.fromkeys(load.plan.missing, "planned") if planned else dict.fromkeys(result.pushed, "pushed")
    there = load.there if planned else result.there
    statuses = {**pushed, **dict.fromkeys(there, "there"), **dict.fromkeys(result.failures, "failed")}
    outcome = "planned" if planned else "nothing" if not result.loaded else "incomplete" if result.failures else "complete"
    run = of_source.Run(
        command="load",
        outcome=outcome,
        source=options.source,
        contents=load.context.blob_source.contents,
        statuses=statuses,
        tracker=load.context.tracker,
        reasons=result.failures,
        registry=options.registry,
        problems=[reason for name, reason in result.failures.items() if name.startswith("#")],
        sent=result.sent,
    )
    report.write(of_source.collect(run), path)


def write_verify(found: Report, source: Path, path: Path, tracker: Tracker, registry: str, interruption: Interruption) -> None:
    """Write the report of a verification, of the bundle itself or of what ``registry`` has of it."""
    contents: Contents | None = open_contents(source, interruption.check) if found.is_readable else None
    names = [str(image.reference) for image in contents.bundled] if contents else []
    reasons: dict[str, list[str]] = {}
    for fault in found.faults:
        for name in fault.breaks:
            reasons.setdefault(name, []).append(f"{fault.what}: {fault.problem}")
    run = of_source.Run(
        command="verify",
        outcome="nothing" if not found.is_readable else "incomplete" if found.faults else "complete",
        source=source,
        contents=contents,
        statuses={name: "broken" if name in found.broken else "intact" for name in names},
        tracker=tracker,
        reasons={name: "\n".join(each) for name, each in reasons.items()},
        registry=registry,
        faults=found.faults,
        read=found.size,
    )
    report.write(of_source.collect(run), path)
