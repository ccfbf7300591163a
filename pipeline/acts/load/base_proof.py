"""The base of a delta: is this load the one that it was made for, and what does the target turn out to lack?

Guarantees: nothing is written to a registry before all that a delta leaves out was proved to be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.acts.engine import TaskResult
from pipeline.acts.load.tasks import LoadContext
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import ArchiveError, EnvironmentProblem, UsageError
from pipeline.core.reference import Reference
from pipeline.reader.contents import BundledImage, Contents
from pipeline.storage import delta, inventory

SHOWN = 5
"""Images that are named; the others are counted."""


def refuse_other_registry(contents: Contents, registry: str, source: Path) -> None:
    """A receipt speaks of one registry. Raises UsageError where this is another one."""
    for base in contents.delta.bases if contents.delta else ():
        if base.names == inventory.TARGET and base.of.partition("/")[0] != registry.partition("/")[0]:
            raise UsageError(
                f"{source} is a delta against what {base.of} has, and {registry} is another registry",
                tip=f"load it into {base.of}, or make one with -base of the receipt of {registry}",
            )


def require(
    context: LoadContext,
    targets: Mapping[Reference, BundledImage],
    results: Mapping[str, TaskResult],
    registry: str,
    file: Path,
) -> None:
    """Raises EnvironmentProblem where a proof could not be made, ArchiveError where something is missing, as ``file`` says."""
    failed = [(image, results[f"prove:{target}"]) for target, image in targets.items()]
    refused = [f"  {image.reference}: {result.message}" for image, result in failed if not result.ok]
    if refused:
        raise EnvironmentProblem(
            f"what the delta leaves out cannot be proved to be in {registry}; nothing was written\n" + _shown(refused)
        )
    if not context.lacking:
        file.unlink(missing_ok=True)
        return
    names = [str(image.reference) for image in targets.values()]
    missing = delta.named(names, context.lacking, registry)
    delta.write_missing(file, missing)
    size = sum(missing.blobs.values())
    images = [f"  {name}" for name in missing.images]
    raise ArchiveError(
        f"{registry} lacks {len(missing.blobs)} layers ({bytes_text(size)}) that the delta leaves out, as its base had them; "
        f"nothing was written. They are needed by\n{_shown(images)}",
        tip=f"carry {file} back: 'image-tools save', with the same flags and -only {file.name}, carries what is missing",
    )


def _shown(lines: list[str]) -> str:
    more = len(lines) - SHOWN
    return "\n".join(lines[:SHOWN]) + (f"\n  and {more} more" if more > 0 else "")
