"""``image-tools bundle``: what definitions hold, and whether they are right; nothing is fetched and nothing written.

Prints on standard output. Raises UsageError, and InputError with all that is wrong in any of the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli.arguments import DEBUG
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.config import digest_lock, schema
from pipeline.config.definition import Definition, load
from pipeline.config.flag import Flag
from pipeline.config.settings import SETTINGS
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.errors import EXIT_OK, InputError, UsageError
from pipeline.storage import image_lock
from pipeline.ui import terminal

_CONFIG = Flag("config", "", "bundle definition file (YAML)", place="file")
_LOCKED = Flag("locked", False, "also check that the bundles agree with their locks")


def _list(given: Given, operands: tuple[str, ...]) -> int:
    rows = [("FILE", "BUNDLE", "IMAGES", "DESTINATION", "DESCRIPTION")]
    for definition in _load_all(_files("list", given, operands)):
        for bundle in definition.bundles:
            about = definition.descriptions.get(bundle.name, "")
            rows.append((str(definition.path), bundle.name, str(len(bundle.images)), _destination(bundle), about))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(terminal.harmless("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))
    return EXIT_OK


def _check(given: Given, operands: tuple[str, ...]) -> int:
    definitions = _load_all(_files("check", given, operands))
    if given.switch("locked"):
        digest_lock.apply(bundle for definition in definitions for bundle in definition.bundles)
    for definition in definitions:
        for bundle in definition.bundles:
            locked = ", as locked" if given.switch("locked") else ""
            print(f"{definition.path}: {bundle.name}: ok, {_images(len(bundle.images))}{locked}")
    return EXIT_OK


def _show(given: Given, operands: tuple[str, ...]) -> int:
    named = bool(given.text("config"))
    names = operands if named else operands[1:]
    (path,) = _files("show", given, () if named else operands[:1])
    (definition,) = _load_all([path])
    known = {bundle.name: bundle for bundle in definition.bundles}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{path} has no bundle {', '.join(unknown)}; it has {', '.join(known)}")
    document = {name: _as_yaml(known[name], definition.descriptions.get(name, "")) for name in names or known}
    print(terminal.harmless(yaml.safe_dump({"bundles": document}, sort_keys=False, allow_unicode=True, width=1000)), end="")
    return EXIT_OK


def _schema(given: Given, operands: tuple[str, ...]) -> int:
    print(schema.text(), end="")
    return EXIT_OK


LIST = Body(run=_list, flags=(_CONFIG, DEBUG), takes_files=True)
CHECK = Body(
    run=_check, flags=(_CONFIG, DEBUG, _LOCKED), examples=("image-tools bundle check configs/*.yaml",), takes_files=True
)
SHOW = Body(run=_show, flags=(_CONFIG, DEBUG), examples=("image-tools bundle show configs/rke2.yaml rke2",), takes_files=True)
SCHEMA = Body(
    run=_schema,
    examples=("image-tools bundle schema > configs/bundle.schema.json",),
    no_operands="it prints to standard output",
)


def _files(command: str, given: Given, operands: Sequence[str]) -> list[Path]:
    """The definitions that were named. Locks among them (``configs/*.yaml``) do not count."""
    paths = [Path(name) for name in (given.text("config"), *operands) if name]
    if not paths:
        raise UsageError("no definition given", tip=f"name its file, e.g. 'image-tools bundle {command} configs/demo.yaml'")
    definitions = [path for path in paths if not path.name.endswith(image_lock.SUFFIX)]
    if not definitions:
        raise UsageError(f"{paths[0]} is a lock, not a definition")
    return definitions


def _load_all(paths: Sequence[Path]) -> list[Definition]:
    definitions, problems = [], list[str]()
    for path in paths:
        try:
            definitions.append(load(path))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return definitions


def _destination(bundle: Bundle) -> str:
    destination = bundle.output.destination
    here = destination.relative_to(Path.cwd()) if destination.is_relative_to(Path.cwd()) else destination
    return f"{here} in volumes" if bundle.output.part_size else str(here)


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _as_yaml(bundle: Bundle, description: str) -> dict[str, Any]:
    """A definition of this very bundle that depends on no default, no other file and no environment."""
    said: dict[str, Any] = {row.setting: row.dump(bundle) for row in SETTINGS if row.dump}
    several = {row.setting for row in SETTINGS if row.is_path and row.is_list}
    said |= {key: str(said[key]).split("\n") for key in several if said[key]}
    document = {"description": description, **said, "images": _images_as_yaml(bundle)}
    return {key: value for key, value in document.items() if value not in ("", None)}


def _images_as_yaml(bundle: Bundle) -> list[dict[str, str]]:
    """With ranges of tags as they are; what is probable is not sure to be in it."""
    open_ranges = [each for each in bundle.candidates if each.tags]
    ranges = [{**_image_as_yaml(each.image), "image": each.image.reference.name, "tags": each.tags} for each in open_ranges]
    return [*(_image_as_yaml(image) for image in bundle.images), *ranges]


def _image_as_yaml(image: BundleImage) -> dict[str, str]:
    said = {row.setting: row.dump_image(image) for row in SETTINGS if row.dump_image}
    return {"image": str(image.reference), **{key: value for key, value in said.items() if value is not None}}
