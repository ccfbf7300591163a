"""Why an image is not whole after act 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.acts.engine import Status, TaskResult
from pipeline.acts.save.copy_tasks import Fetches, copy_task_name, index_task_name
from pipeline.acts.save.tasks import SaveContext
from pipeline.steps.images.chosen import ChosenImage


def reason_of_failure(
    context: SaveContext, parts: Sequence[ChosenImage], fetches: Fetches, results: Mapping[str, TaskResult]
) -> str | None:
    """Of an image, the first of ``parts``; None where it is whole. One whose signature is lacking is not."""
    for part in parts:
        reason = _of_part(context, part, fetches, results)
        if reason is not None:
            return reason if part is parts[0] else f"{part.image.text}, which refers to it: {reason}"
    return None


def _of_part(context: SaveContext, part: ChosenImage, fetches: Fetches, results: Mapping[str, TaskResult]) -> str | None:
    for platform in part.choice.platforms:
        name = copy_task_name(part.image, platform)
        for each in (name, *fetches.tasks_of(name)):
            if results[each].status is Status.FAILED:
                message = results[each].message
                return f"{platform.platform}: {message}" if platform.platform.is_known else message
        if not results[name].ok:
            return "not tried"
    result = results[index_task_name(context, part.image)]
    return None if result.ok else result.message or "not tried"
