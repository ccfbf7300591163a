"""``image-tools bundle``: what definitions hold, and whether they are right; nothing is fetched and nothing written.

In come the arguments after ``bundle``, out goes text on standard output. Raises UsageError, and InputError with all that is
wrong in any of the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli.go_flags import Flag, FlagSet, HelpWanted, Value
from pipeline.config import digest_lock, schema
from pipeline.config.definition import Definition, load
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.errors import EXIT_OK, InputError, UsageError
from pipeline.ui import terminal

USAGE = """\
Usage:
  image-tools bundle list FILE...            the bundles of definition files
  image-tools bundle check [-locked] FILE... all that is wrong with them, or "ok"
  image-tools bundle show FILE [NAME...]     bundles with every default filled in and every list read, as YAML
  image-tools bundle schema                  the JSON Schema that editors check definitions with

FILE may also be given as -config FILE, as 'image-tools save' has it. Nothing is fetched, and nothing written.
"""
EXAMPLES = """
Examples:
  image-tools bundle check configs/*.yaml
  image-tools bundle show configs/rke2.yaml rke2
  image-tools bundle schema > configs/bundle.schema.json
"""
_CONFIG = Flag("config", "", "bundle definition file (YAML)")
_LOCKED = Flag("locked", False, "also check that the bundles agree with their locks")


def run(arguments: Sequence[str]) -> int:
    """Run one of the commands. Its exit code."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("-h", ())
    if name in ("-h", "-help", "--help", "help"):
        print(USAGE + EXAMPLES, end="")
        return EXIT_OK
    if name not in _COMMANDS:
        raise UsageError(f"there is no command 'bundle {name}'\n{USAGE.rstrip()}")
    flags, command = _COMMANDS[name]
    try:
        values, operands = _parse(FlagSet(f"bundle {name}", flags), rest)
    except HelpWanted:
        print(USAGE, end="")
        return EXIT_OK
    terminal.start_logging(debug=False)
    command(values, operands)
    return EXIT_OK


def _parse(flags: FlagSet, arguments: Sequence[str]) -> tuple[Mapping[str, Value], list[str]]:
    """Flags may stand before and after the operands."""
    values, operands, rest = dict[str, Value](), list[str](), list(arguments)
    while rest:
        found, left = flags.parse(rest)
        values.update(found)
        operands += left[:1]
        rest = list(left[1:])
    return values, operands


def _list(values: Mapping[str, Value], operands: Sequence[str]) -> None:
    rows = [("FILE", "BUNDLE", "IMAGES", "DESTINATION", "DESCRIPTION")]
    for definition in _load_all(_files("list", values, operands)):
        for bundle in definition.bundles:
            about = definition.descriptions.get(bundle.name, "")
            rows.append((str(definition.path), bundle.name, str(len(bundle.images)), _destination(bundle), about))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(terminal.harmless("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))


def _check(values: Mapping[str, Value], operands: Sequence[str]) -> None:
    definitions = _load_all(_files("check", values, operands))
    if values.get("locked"):
        digest_lock.apply(bundle for definition in definitions for bundle in definition.bundles)
    for definition in definitions:
        for bundle in definition.bundles:
            locked = ", as locked" if values.get("locked") else ""
            print(f"{definition.path}: {bundle.name}: ok, {_images(len(bundle.images))}{locked}")


def _show(values: Mapping[str, Value], operands: Sequence[str]) -> None:
    names = list(operands) if values.get("config") else list(operands[1:])
    (path,) = _files("show", values, () if values.get("config") else operands[:1])
    (definition,) = _load_all([path])
    known = {bundle.name: bundle for bundle in definition.bundles}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{path} has no bundle {', '.join(unknown)}; it has {', '.join(known)}")
    document = {name: _as_yaml(known[name], definition.descriptions.get(name, "")) for name in names or known}
    print(terminal.harmless(yaml.safe_dump({"bundles": document}, sort_keys=False, allow_unicode=True, width=1000)), end="")


def _schema(values: Mapping[str, Value], operands: Sequence[str]) -> None:
    if operands:
        raise UsageError(f"unexpected argument '{operands[0]}': 'image-tools bundle schema' prints to standard output")
    print(schema.text(), end="")


_Command = Callable[[Mapping[str, Value], Sequence[str]], None]
_COMMANDS: Mapping[str, tuple[tuple[Flag, ...], _Command]] = {
    "list": ((_CONFIG,), _list),
    "check": ((_CONFIG, _LOCKED), _check),
    "show": ((_CONFIG,), _show),
    "schema": ((), _schema),
}
FLAG_SETS = {f"bundle {name}": FlagSet(f"bundle {name}", flags) for name, (flags, _) in _COMMANDS.items()}


def _files(command: str, values: Mapping[str, Value], operands: Sequence[str]) -> list[Path]:
    """The definitions that were named. Locks among them (``configs/*.yaml``) are none."""
    named = [str(values["config"])] if values.get("config") else []
    paths = [Path(name) for name in (*named, *operands)]
    if not paths:
        raise UsageError(f"which definition?\nTIP: name its file, e.g. 'image-tools bundle {command} configs/demo.yaml'")
    definitions = [path for path in paths if not path.name.endswith(digest_lock.SUFFIX)]
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
    output, access = bundle.output, bundle.access
    document = {
        "description": description,
        "jobs": bundle.jobs,
        "cache": str(bundle.cache),
        "destination": str(output.destination),
        "compress": output.compression.value,
        "compress-level": output.level,
        "part-size": output.part_size,
        "failed-list": str(bundle.failed_list),
        "authfile": str(access.authfile or ""),
        "cert-dir": str(access.cert_dir or ""),
        "tls-verify": access.tls_verify,
        "retry": access.retries,
        "images": [_image_as_yaml(image) for image in bundle.images],
    }
    return {key: value for key, value in document.items() if value not in ("", None)}


def _image_as_yaml(image: BundleImage) -> dict[str, str]:
    platforms = image.platforms
    document = {
        "image": str(image.reference),
        "arch": ",".join(map(str, platforms.architectures)) or "all",
        "os": ",".join(platforms.systems) or "all",
    }
    if image.source != image.reference:
        path = image.source.repository.removesuffix(image.reference.repository).rstrip("/")
        document["source"] = f"{image.source.registry}/{path}".rstrip("/")
    return document
