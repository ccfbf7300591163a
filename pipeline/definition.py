"""Bundle definitions: a YAML file becomes bundles, or all that is wrong with it at once, with line and column.

One table (``settings.SETTINGS`` and the few keys here) describes the keys; the reader and the JSON Schema that editors
check with are both made from it. Paths are relative to the file. ``${NAME}`` is replaced where ``environment`` declares
NAME, and nowhere else. Unknown keys, wrong types and bad references are all reported, with the nearest valid key.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from . import bundle, imagelist, settings
from .bundle import Bundle, BundleImage, Compression
from .errors import InputError, UsageError
from .settings import PATHS, SETTINGS, Setting, Settings

IMAGE_SETTINGS = ("arch", "os", "source")
"""What an entry of ``images`` may say for itself."""
LISTS = frozenset({"arch", "os"})
"""Keys that take a list of words, or one text with commas."""
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
SCHEMA_FILE = "bundle.schema.json"

_BUNDLE_SETTINGS = {setting.key: setting for setting in SETTINGS if setting.key != "part"}
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_TYPES = {bool: "true or false", int: "a whole number", str: "a text"}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Definition:
    """The bundles of one file, in its order."""

    path: Path
    bundles: tuple[Bundle, ...]


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Definition:
    """Read a definition; ``overrides`` (from flags, with absolute paths) win over what it says. Raises InputError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError([f"cannot read the bundle definition {path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise InputError([f"{path}: the definition is not UTF-8 text; save it as UTF-8"]) from error
    reader = _Reader(path, overrides or {})
    bundles = reader.read(text)
    if reader.problems:
        raise InputError(reader.problems)
    return Definition(path, bundles)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a definition, made from the same tables that the reader uses."""
    text = {"type": "string", "minLength": 1}
    shared = {key: _setting_schema(setting) for key, setting in _BUNDLE_SETTINGS.items()}
    own = {key: shared[key] for key in IMAGE_SETTINGS}
    entry = {
        "oneOf": [
            {**text, "description": "an image reference, e.g. rancher/rancher:v2.7.0"},
            _object({"image": text, **own}, ("image",), "an image with its own platforms or source"),
            _object({"list": text, **own}, ("list",), "a file with one image a line"),
        ]
    }
    images = {"type": "array", "minItems": 1, "items": entry, "description": "what the bundle holds, in this order"}
    one = _object({"description": text, "images": images, **shared}, ("images",), "one bundle")
    named = {"type": "object", "minProperties": 1, "additionalProperties": False, "patternProperties": {f"^{NAME}$": one}}
    variable = {"type": ["string", "null"], "description": "the default; null where the variable must be set"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "image-tools bundle definition",
        **_object(
            {
                "environment": {
                    "type": "object",
                    "additionalProperties": variable,
                    "description": "the environment variables that ${NAME} may name",
                },
                "defaults": _object(shared, (), "what all bundles of this file share"),
                "bundles": {**named, "description": "the bundles by name"},
            },
            ("bundles",),
            "bundles of container images for image-tools save -config",
        ),
    }


def _object(properties: Mapping[str, Any], required: tuple[str, ...], description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "required": list(required),
        "properties": dict(properties),
    }


def _setting_schema(setting: Setting) -> dict[str, Any]:
    described = {"description": setting.help}
    if setting.key in LISTS:
        words = {"type": "array", "minItems": 1, "items": {"type": "string"}}
        return {**described, "oneOf": [{"type": "string"}, words]}
    if setting.key == "part-size":
        return {**described, "oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]+[KMGTkmgt]?$"}]}
    if setting.key == "compress":
        return {**described, "enum": [compression.value for compression in Compression]}
    kind = {bool: "boolean", int: "integer", str: "string"}[type(setting.default)]
    return {**described, "type": kind}


@dataclass(frozen=True)
class _Given:
    """A value and where it stands."""

    value: Any
    node: yaml.Node


class _Reader:
    """Walks the YAML nodes, which know their place, and collects all problems."""

    def __init__(self, path: Path, overrides: Mapping[str, Any]) -> None:
        self.problems: list[str] = []
        self._path = path
        self._base = path.absolute().parent
        self._overrides = overrides
        self._variables: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._destinations: dict[Path, str] = {}

    def read(self, text: str) -> tuple[Bundle, ...]:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            reason = getattr(error, "problem", None) or str(error).replace("\n", " ")
            self.problems.append(f"{self._place(mark)}: not valid YAML: {reason}")
            return ()
        if root is None:
            self.problems.append(f"{self._path}: the definition is empty; it needs 'bundles:' with a name and 'images:'")
            return ()
        top = self._mapping(root, ("environment", "defaults", "bundles"))
        if "environment" in top:
            self._read_environment(top["environment"])
        defaults = self._settings(self._mapping(top["defaults"], _BUNDLE_SETTINGS)) if "defaults" in top else {}
        if "bundles" not in top:
            self._problem(root, "there is no 'bundles:'; it holds the bundles by name, each with 'images:'")
            return ()
        named = self._mapping(top["bundles"], None)
        if not named and not self.problems:
            self._problem(top["bundles"], "'bundles:' holds no bundle")
        made = [self._bundle(name, node, defaults) for name, node in named.items()]
        return tuple(each for each in made if each is not None)

    def _bundle(self, name: str, node: yaml.Node, defaults: Mapping[str, _Given]) -> Bundle | None:
        before = len(self.problems)
        if not re.fullmatch(NAME, name):
            self._problem(node, f"'{name}' cannot be a bundle's name: use letters, digits, '.', '_' and '-'")
        body = self._mapping(node, ("description", "images", *_BUNDLE_SETTINGS))
        given = {**defaults, **self._settings({key: body[key] for key in body if key in _BUNDLE_SETTINGS})}
        images = self._images(name, node, body, given)
        if len(self.problems) > before:
            return None
        chosen = Settings(self._values(given), self._base)
        made = self._attempt(node, lambda: settings.make_bundle(chosen, images, name, self._base / f"{name}.lock.yaml"))
        if made is not None:
            other = self._destinations.setdefault(made.output.destination, name)
            if other != name:
                self._problem(node, f"'{name}' and '{other}' have one destination: {made.output.destination}")
        return made

    def _values(self, given: Mapping[str, _Given]) -> dict[str, Any]:
        values = {key: item.value for key, item in given.items()}
        # A definition cuts a bundle by naming the size; on the command line, -part does.
        values["part"] = "part-size" in values
        return {**values, **self._overrides}

    def _images(
        self, name: str, bundle_node: yaml.Node, body: Mapping[str, yaml.Node], given: Mapping[str, _Given]
    ) -> tuple[BundleImage, ...]:
        if "images" not in body:
            self._problem(bundle_node, f"bundle '{name}' has no 'images:'")
            return ()
        found: dict[str, BundleImage] = {}
        for item in self._sequence(body["images"]):
            for image in self._entry(item, given, len(found)):
                self._add(found, image, item)
        if not found and not self.problems:
            self._problem(body["images"], f"bundle '{name}' holds no image")
        return tuple(found.values())

    def _add(self, found: dict[str, BundleImage], image: BundleImage, node: yaml.Node) -> None:
        name = str(image.reference)
        earlier = found.get(name)
        if earlier is None:
            found[name] = bundle.renumbered(image, len(found) + 1)
        elif (earlier.platforms, earlier.source) != (image.platforms, image.source):
            self._problem(node, f"'{image.text}' is listed twice, with different platforms or sources")
        fetched = str(image.source)
        if self._sources.setdefault(name, fetched) != fetched:
            self._problem(node, f"'{image.text}' has two sources: {self._sources[name]} and {fetched}; one cache can hold one")

    def _entry(self, node: yaml.Node, given: Mapping[str, _Given], count: int) -> Iterator[BundleImage]:
        if isinstance(node, yaml.MappingNode):
            body = self._mapping(node, ("image", "list", *IMAGE_SETTINGS))
            if ("image" in body) == ("list" in body):
                self._problem(node, "an entry names either an 'image' or a 'list'")
                return
            own = {**given, **self._settings({key: body[key] for key in body if key in IMAGE_SETTINGS})}
        else:
            body, own = {"image": node}, dict(given)
        chosen = Settings(self._values(own), self._base)
        platforms = self._attempt(node, lambda: settings.platforms(chosen))
        source = self._attempt(node, lambda: settings.source(chosen))
        lines = self._list(body["list"]) if "list" in body else self._line(body["image"])
        if platforms is not None and source is not None:
            for number, line in enumerate(lines, start=count + 1):
                yield bundle.image(line, number, source, platforms)

    def _line(self, node: yaml.Node) -> tuple[imagelist.Line, ...]:
        text = self._text(node)
        if text is None:
            return ()
        try:
            line = imagelist.parse_line(text, str(self._path), node.start_mark.line + 1)
        except InputError as error:
            for problem in error.problems:
                self._problem(node, problem.removeprefix(f"{self._path}:{node.start_mark.line + 1}: "))
            return ()
        if line is None:
            self._problem(node, "this is no image reference")
            return ()
        return (line,)

    def _list(self, node: yaml.Node) -> tuple[imagelist.Line, ...]:
        text = self._text(node)
        if text is None:
            return ()
        path = self._base / text
        try:
            return imagelist.parse(path.read_bytes(), str(path))
        except OSError as error:
            self._problem(node, f"cannot read the image list {path}: {error.strerror}")
        except InputError as error:
            self.problems += error.problems
        return ()

    # Values

    def _settings(self, body: Mapping[str, yaml.Node]) -> dict[str, _Given]:
        found = {}
        for key, node in body.items():
            value = self._value(key, node)
            if value is not None:
                found[key] = _Given(value, node)
        return found

    def _value(self, key: str, node: yaml.Node) -> Any:
        setting = _BUNDLE_SETTINGS[key]
        if key in LISTS and isinstance(node, yaml.SequenceNode):
            words = [self._text(item) for item in self._sequence(node)]
            return None if None in words else ",".join(word for word in words if word)
        wanted = type(setting.default)
        if wanted is str:
            value: Any = self._text(node, also_numbers=key == "part-size")
        else:
            value = self._construct(node)
            if isinstance(value, str):
                value = yaml.safe_load(self._expand(value, node))
            if type(value) is not wanted:
                self._problem(node, f"'{key}' must be {_TYPES[wanted]}, not {_kind(node)}")
                return None
        if value is not None:
            self._attempt(node, lambda: _check(key, value))
            if key in PATHS:
                return str(settings.absolute(value, self._base))
        return value

    def _text(self, node: yaml.Node, also_numbers: bool = False) -> str | None:
        value = self._construct(node)
        if also_numbers and type(value) is int:
            return str(value)
        if not isinstance(value, str) or not value.strip():
            hint = "; put it in quotes" if isinstance(value, int | float) else ""
            self._problem(node, f"a text is needed here, not {_kind(node)}{hint}")
            return None
        return self._expand(value, node)

    def _expand(self, text: str, node: yaml.Node) -> str:
        def replacement(match: re.Match[str]) -> str:
            if match[1] not in self._variables:
                self._problem(node, f"${{{match[1]}}} is not declared; declare it under 'environment:'")
            return self._variables.get(match[1], "")

        return _VARIABLE.sub(replacement, text)

    def _read_environment(self, node: yaml.Node) -> None:
        for name, value_node in self._mapping(node, None).items():
            default = self._construct(value_node)
            if default is not None and not isinstance(default, str):
                self._problem(value_node, f"the default of '{name}' must be a text, or null where the variable must be set")
                continue
            value = os.environ.get(name, default)
            if value is None:
                self._problem(value_node, f"the environment variable {name} is not set, and has no default here")
            self._variables[name] = value or ""

    # Nodes

    def _mapping(self, node: yaml.Node, keys: Any) -> dict[str, yaml.Node]:
        """The entries of a mapping; ``keys`` are the valid ones, None for any."""
        if not isinstance(node, yaml.MappingNode):
            self._problem(node, f"a mapping of keys to values is needed here, not {_kind(node)}")
            return {}
        found: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            key = self._construct(key_node)
            if not isinstance(key, str):
                self._problem(key_node, f"a key must be a text, not {_kind(key_node)}")
            elif keys is not None and key not in keys:
                close = difflib.get_close_matches(key, keys, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"valid are {', '.join(keys)}"
                self._problem(key_node, f"unknown key '{key}': {hint}")
            elif key in found:
                self._problem(key_node, f"the key '{key}' stands here twice")
            else:
                found[key] = value_node
        return found

    def _sequence(self, node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self._problem(node, f"a list ('- ...') is needed here, not {_kind(node)}")
        return []

    def _construct(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return node
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._problem(node, f"{node.value!r} cannot be read")
            return None
        finally:
            loader.dispose()

    def _attempt(self, node: yaml.Node, work: Callable[[], _T]) -> _T | None:
        try:
            return work()
        except (InputError, UsageError) as error:
            for line in str(error).splitlines():
                if not line.startswith("TIP: "):
                    self._problem(node, line)
            return None

    def _problem(self, node: yaml.Node, text: str) -> None:
        line = f"{self._place(node.start_mark)}: {text}"
        if line not in self.problems:
            self.problems.append(line)

    def _place(self, mark: Any) -> str:
        return f"{self._path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(self._path)


def _check(key: str, value: Any) -> None:
    """Raise what is wrong with one value where it stands, rather than where the bundle does."""
    if key == "compress":
        bundle.parse_compression(value)
    elif key == "part-size":
        bundle.parse_size(value)
    elif key == "jobs":
        settings.check_jobs(value)
    elif key == "arch":
        bundle.parse_platforms(value, "")
    elif key == "os":
        bundle.parse_platforms("all", value)
    elif key == "source":
        settings.check_source(value)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return f"'{node.value}'" if node.value else "nothing"
