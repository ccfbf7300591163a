"""The bundle that an earlier run left at the destination: is it better than the one that could be made now?"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pipeline.core import files
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.errors import ImageToolsError, UsageError
from pipeline.reader.contents import open_store
from pipeline.storage.bundle_state import IMAGES_LIST, BundleState
from pipeline.storage.records.packed import Finished, read_finished


class Earlier:
    """Looks at the destination when it is asked."""

    def __init__(self, bundle: Bundle, state: BundleState) -> None:
        self._bundle = bundle
        self._state = state

    @property
    def finished(self) -> Finished | None:
        """Our last result for this destination, if it is still there."""
        finished = read_finished(self._state.output)
        return finished if finished is not None and (finished.is_there or self._bundle.is_cache) else None

    def refuse_failed_list(self) -> None:
        """A bundle of only what failed would replace the bundle of all that was saved. Raises UsageError."""
        record = files.read_json(self._state.last_run)
        saved, failed = _names(record, "saved"), _names(record, "failed")
        listed = {image.reference.listed for image in self._bundle.images}
        # Where nothing was saved, the failed list is the list itself, and the advice was to run it again.
        if not saved or not listed or not listed <= failed or self.finished is None:
            return
        raise UsageError(
            f"this list holds only images that failed in the last run for {self._bundle.output.destination}; "
            "the bundle made of it would replace the one with all the others",
            tip="run the same command as before, with the whole list: it repeats nothing that is done. "
            f"The list of that run is kept in {self._state.kept_list}; -force goes on all the same",
        )

    def reason_to_keep(self, failures: Mapping[BundleImage, str], is_empty: bool, force: bool) -> ImageToolsError | None:
        """Why it should stay: it holds what failed now, or nothing was saved (``is_empty``). None where it need not."""
        held = self._references() if failures else frozenset()
        if not held:
            return None
        where = self._bundle.output.destination
        if is_empty:
            return ImageToolsError(f"{where} of an earlier run stays as it was.")
        lost = [image.text for image in failures if image.reference.listed in held]
        if not lost or force:
            return None
        return ImageToolsError(
            f"{where} of an earlier run stays as it was: it holds {', '.join(lost)}, which failed now.",
            tip="-force replaces it all the same",
        )

    def _references(self) -> frozenset[str]:
        """What it holds; empty where there is none that we can read."""
        finished = self.finished
        if finished is not None:
            return frozenset(finished.references)
        try:
            document = json.loads(open_store(self._bundle.output.destination).metadata(IMAGES_LIST) or b"")
            return frozenset(f"{item['Source']} {item['Tag']}" for item in document["List"])
        except (ImageToolsError, OSError, ValueError, KeyError, TypeError):
            return frozenset()


def _names(record: object, key: str) -> frozenset[str]:
    """A list in one of our records; empty where it is missing or damaged."""
    value = record.get(key) if isinstance(record, dict) else None
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()
