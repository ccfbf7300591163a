"""The bundle that an earlier run left at the destination: is it better than the one that could be made now?"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from pipeline.core import files
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.errors import ImageToolsError, UsageError
from pipeline.reader.contents import open_store
from pipeline.storage.bundle_state import IMAGES_LIST, BundleState
from pipeline.storage.delta import FILE as DELTA
from pipeline.storage.records.packed import Finished, read_finished

SHOWN = 5
"""Images that are named; the others are counted."""


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

    def references(self) -> tuple[str, ...]:
        """The images in it, as ``Reference.listed``: by our record, or as it says itself. Empty where there is no bundle."""
        finished = read_finished(self._state.output)
        if finished is not None and all(file.is_in_place for file in finished.files):
            return finished.references
        if self._bundle.is_cache:
            # It shows the bundle that was saved last, to whatever destination.
            return ()
        try:
            store = open_store(self._bundle.output.destination)
            delta = store.metadata(DELTA)
            document = json.loads(delta)["list"] if delta else json.loads(store.metadata(IMAGES_LIST) or b"")
            return tuple(f"{item['Source']} {item['Tag']}" for item in document["List"])
        except (ImageToolsError, OSError, ValueError, KeyError, TypeError):
            return ()


def lost(earlier: Sequence[str], saved: Iterable[BundleImage]) -> tuple[str, ...]:
    """Those of the references in an earlier bundle that a bundle of ``saved`` lacks."""
    names = {image.reference.listed for image in saved}
    return tuple(name for name in earlier if name not in names)


def reason_to_keep(destination: Path, earlier: Sequence[str], saved: Collection[BundleImage]) -> ImageToolsError | None:
    """Why an earlier bundle stays where images have failed: the new one would lack some of its images. None if it would not."""
    if not earlier:
        return None
    if not saved:
        return ImageToolsError(f"{destination} of an earlier run stays as it was.")
    if lacking := lost(earlier, saved):
        return ImageToolsError(
            f"{destination} of an earlier run stays as it was: images failed, and a new one would lack {_shown(lacking)}.",
            tip="-force replaces it all the same",
        )
    return None


def what_was_replaced(earlier: Sequence[str], saved: Collection[BundleImage]) -> str:
    """What is said where the new bundle lacks images of the one that it replaced; nothing where it lacks none."""
    lacking = lost(earlier, saved)
    if not lacking:
        return ""
    return f"It replaced a bundle of {_count(len(earlier))}, of which it lacks {len(lacking)}: {_shown(lacking)}."


def _shown(names: Sequence[str]) -> str:
    """``Reference.listed`` as people write it, of the first few."""
    shown = [name.replace(" sha256:", "@sha256:").replace(" sha512:", "@sha512:").replace(" ", ":") for name in names[:SHOWN]]
    more = len(names) - SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _count(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"


def _names(record: object, key: str) -> frozenset[str]:
    """A list in one of our records; empty where it is missing or damaged."""
    value = record.get(key) if isinstance(record, dict) else None
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()
