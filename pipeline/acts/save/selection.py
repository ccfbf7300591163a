"""Which images the selected tasks need: the rest of the bundles is left alone.

Plain doit makes the tasks of acts 2 and 3 after act 1 has run. Without a look at the selection, act 1 would have to ask for
the images of every bundle. Names that are not ours, and wildcards that only the tasks of a finished act 1 could answer, need
all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pipeline.core.bundle import Bundle, BundleImage

Needed = dict[str, tuple[BundleImage, ...]]
"""Images by the names of their bundles."""

WHOLE = ("tar", "compress", "split", "pack")
"""Tasks of a bundle that need all its images: ``pack:<bundle>``."""
_OF_IMAGE = ("index", "referrers")
"""Tasks of one image of a bundle: ``index:<bundle>:<ref>``."""
_COMMANDS = frozenset("list info clean forget ignore reset-dep dumpdb tabcompletion help strace".split())


def runs_tasks(arguments: Sequence[str]) -> bool:
    """Whether this doit command line is going to run tasks."""
    command = next((argument for argument in arguments if argument in _COMMANDS | {"run", "auto"}), "run")
    return command not in _COMMANDS


def needed(bundles: Sequence[Bundle], names: Sequence[str]) -> Needed:
    """The images that the tasks called ``names`` need; of no names, all."""
    parts = [_needed(bundles, name) for name in names]
    if not parts or not all(parts):
        return {each.name: each.images for each in bundles}
    found: Needed = {}
    for each in bundles:
        wanted = {image for part in parts for image in part.get(each.name, ())}
        if wanted:
            found[each.name] = tuple(image for image in each.images if image in wanted)
    return found


def _needed(bundles: Sequence[Bundle], name: str) -> Needed:
    """Empty where that cannot be told from the name."""
    kind, colon, rest = name.partition(":")
    if not colon or not rest:
        return {}
    if kind in WHOLE:
        return {each.name: each.images for each in bundles if fnmatchcase(each.name, rest)}
    found: Needed = {}
    for each in bundles:
        images = tuple(image for image in each.images if _is_of(each, image, kind, rest))
        if images and not (found and kind == "copy"):  # bundles that share an image share its copies
            found[each.name] = images
    return found


def _is_of(bundle: Bundle, image: BundleImage, kind: str, rest: str) -> bool:
    """Whether ``kind:rest`` is a task of this image."""
    if kind == "resolve":
        return fnmatchcase(str(image.reference), rest)
    if kind in _OF_IMAGE:
        return fnmatchcase(f"{bundle.name}:{image.reference}", rest)
    return kind == "copy" and "*" not in rest and rest.startswith(f"{image.reference}:")
