"""Bundle definitions: a YAML file becomes bundles, or all that is wrong with it at once, with line and column.

``settings.KEYS`` says what a bundle may set; ``schema`` makes the JSON Schema of editors from the same table. Paths are
relative to the file. ``${NAME}`` is replaced where ``environment`` declares NAME, and nowhere else. Unknown keys, wrong types
and bad references are all reported, with the nearest valid key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pipeline.config import bundle_maker, variables
from pipeline.config.flag import Value, either
from pipeline.config.image_entries import EntryCount, Found, ImageEntries, attempt, said
from pipeline.config.settings import KEYS, Setting, Settings, absolute
from pipeline.config.variables import Variables
from pipeline.config.yaml_document import Document, Entry, kind, shown
from pipeline.core import files
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import Bundle, PlatformFilter
from pipeline.core.errors import InputError
from pipeline.storage import image_lock

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""Of a bundle."""
MAX_SIZE = 1 << 20
"""Bytes of a definition: some 25,000 images, which PyYAML reads in seconds."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Definition:
    """The bundles of one file, in its order, and what it says about them by name."""

    path: Path
    bundles: tuple[Bundle, ...]
    descriptions: Mapping[str, str]


def load(path: Path, overrides: Mapping[str, Any] | None = None, only: Collection[str] = ()) -> Definition:
    """Read a definition. Raises InputError, with all that is wrong.

    ``overrides`` (from flags, checked, with absolute paths) win over what it says, of the bundles ``only``, or of all. Raises
    UsageError where an override does not fit the rest.
    """
    try:
        data = files.read_bounded(path, MAX_SIZE)
        if data is None:
            raise InputError([f"{path}: the definition is larger than {bytes_text(MAX_SIZE)}; put its images into a 'list'"])
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError([f"cannot read the bundle definition {path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise InputError([f"{path}: the definition is not UTF-8 text; save it as UTF-8"]) from error
    document = Document(path, text)
    definition = _Reader(document, overrides or {}, only).read()
    if document.problems:
        raise InputError(document.problems)
    return definition


def conflicts(bundles: Iterable[Bundle], apart_from: Collection[str] = ()) -> Iterator[tuple[Bundle, str]]:
    """Where bundles would undo each other's results: the bundle, and what it has in common with which."""
    users: dict[Path, tuple[str, str]] = {}
    sources: dict[tuple[Path, str], tuple[str, str]] = {}
    for each in bundles:
        for key, path in (("destination", each.output.destination), ("failed-list", each.failed_list)):
            mine = (each.name, key)
            other, its_key = users.setdefault(path, mine)
            if (other, its_key) != mine and key not in apart_from:
                yield each, f"'{key}' of '{each.name}' is '{its_key}' of '{other}', too: {path}"
        for image in each.images:
            place = (each.cache, str(image.reference))
            other, source = sources.setdefault(place, (each.name, str(image.source)))
            if source != str(image.source):
                yield (
                    each,
                    (
                        f"{image.reference} comes from {source} in '{other}' and from {image.source} in '{each.name}', "
                        "but one cache holds one of them: use one source, or give the bundles a 'cache' each"
                    ),
                )


@dataclass(frozen=True)
class _Given:
    """A value and where it stands."""

    value: Any
    node: yaml.Node


class _Reader:
    """Walks a document; what is wrong goes to its problems."""

    def __init__(self, document: Document, overrides: Mapping[str, Any], only: Collection[str]) -> None:
        self._document = document
        self._base = document.path.absolute().parent
        self._overrides = overrides
        self._only = only
        self._variables = Variables(document)
        self._entries = EntryCount()

    def read(self) -> Definition:
        root, path = self._document.root, self._document.path
        bundles: dict[str, Bundle] = {}
        descriptions: dict[str, str] = {}
        if root is None:
            if not self._document.problems:
                self._document.add(None, f"{path}: the definition is empty; it needs 'bundles:' with a name and 'images:'")
            return Definition(path, (), {})
        top = self._document.mapping(root, ("environment", "defaults", "bundles"))
        if "environment" in top:
            self._variables.declare(top["environment"].value)
        defaults = self._settings(self._document.mapping(top["defaults"].value, KEYS)) if "defaults" in top else {}
        named = self._document.mapping(top["bundles"].value, None) if "bundles" in top else {}
        if not named and not self._document.problems:
            self._problem(root, "it needs 'bundles:' with a name and 'images:' for each bundle")
        for name, entry in named.items():
            made = self._bundle(name, entry, defaults, descriptions)
            if made is not None:
                bundles[name] = made
        for each, problem in conflicts(bundles.values(), self._overrides):
            self._problem(named[each.name].key, problem)
        return Definition(path, tuple(bundles.values()), descriptions)

    def _bundle(self, name: str, entry: Entry, defaults: Mapping[str, _Given], descriptions: dict[str, str]) -> Bundle | None:
        if not re.fullmatch(NAME, name):
            self._problem(entry.key, f"{shown(name)} cannot be a bundle's name: use letters, digits, '.', '_' and '-'")
        body = self._document.mapping(entry.value, ("description", "images", *KEYS))
        given = {**defaults, **self._settings({key: body[key] for key in body if key in KEYS})}
        values = self._values(given, name)
        found = Found()
        if "images" in body:
            found = self._images(name, body["images"].value, given)
        elif isinstance(entry.value, yaml.MappingNode):
            self._problem(entry.key, f"the bundle '{name}' has no 'images:'")
        if "description" in body:
            descriptions[name] = self._text(body["description"].value) or ""
        return self._make(name, entry.key, found, values, given)

    def _make(
        self,
        name: str,
        node: yaml.Node,
        found: Found,
        values: dict[str, Any],
        given: Mapping[str, _Given],
    ) -> Bundle | None:
        """None, and problems, each where its setting stands, where the settings do not fit together."""
        settings = Settings(values, self._base)
        problems = list(bundle_maker.problems(settings, name))
        for problem in problems:
            if problem.setting in self._overrides and self._is_overridden(name):
                raise problem
            self._problem(given[problem.setting].node if problem.setting in given else node, said(problem))
        lock_file = self._base / f"{name}{image_lock.SUFFIX}"
        if problems:
            return None
        made = bundle_maker.make_bundle(settings, found.images, name, lock_file)
        return bundle_maker.with_candidates(made, found.candidates) if found.candidates else made

    def _is_overridden(self, name: str) -> bool:
        return not self._only or name in self._only

    def _values(self, given: Mapping[str, _Given], name: str) -> dict[str, Any]:
        """What holds for the bundle ``name``: flags, then its own settings, then the defaults of the file."""
        values = {key: item.value for key, item in given.items()}
        # A definition cuts a bundle by naming the size; on the command line, -part does.
        if not values.setdefault("part", "part-size" in values):
            values.pop("part-size", None)
        return {**values, **self._overrides} if self._is_overridden(name) else values

    # Images

    def _images(self, name: str, node: yaml.Node, given: Mapping[str, _Given]) -> Found:
        def where(own: Mapping[str, Entry]) -> tuple[str, PlatformFilter]:
            values = Settings(self._values({**given, **self._settings(own)} if own else given, name), self._base)
            return values.text("source"), bundle_maker.platforms(values)

        return ImageEntries(self._document, self._base, self._text, where, self._entries).read(name, node)

    # Settings

    def _settings(self, body: Mapping[str, Entry]) -> dict[str, _Given]:
        values = {key: (self._value(KEYS[key], entry.value), entry.value) for key, entry in body.items()}
        return {key: _Given(value, node) for key, (value, node) in values.items() if value is not None}

    def _value(self, setting: Setting, node: yaml.Node) -> Value | None:
        """None, and a problem, where it is not what the setting takes."""
        value: Value | None
        if not isinstance(setting.default, str):
            value = self._typed(setting, node)
        elif setting.is_list and isinstance(node, yaml.SequenceNode):
            words = [self._text(item, numbers=True) for item in node.value]
            comma = "\n" if setting.is_path else ","
            value = None if None in words else comma.join(word for word in words if word is not None)
        else:
            value = self._text(node, numbers=setting.may_be_number, may_be_empty=not setting.default)
        return None if value is None else self._attempt(node, lambda: self._checked(setting, value))

    def _checked(self, setting: Setting, value: Value) -> Value:
        setting.check(value)
        if not setting.is_path or not value:
            return value
        return "\n".join(str(absolute(text, self._base)) for text in str(value).split("\n"))

    def _typed(self, setting: Setting, node: yaml.Node) -> Value | None:
        value = self._document.scalar(node)
        found = kind(node)
        if isinstance(value, str) and variables.are_in(value):
            text = self._variables.expand(value, node)
            if text is None:
                return None
            value, found = from_text(text), f"{shown(text)}, which is what {value} stands for"
        wanted = type(setting.default)
        if type(value) is wanted or value in setting.choices:
            return value  # type: ignore[no-any-return]
        hint = "; leave out the quotes" if type(from_text(str(value))) is wanted else ""
        valid = either(*(("true", "false") if wanted is bool else ("a whole number",)), *setting.choices)
        self._problem(node, f"'{setting.setting}' is {valid}, not {found}{hint}")
        return None

    def _text(self, node: yaml.Node, *, numbers: bool = False, may_be_empty: bool = False) -> str | None:
        if numbers and type(value := self._document.scalar(node)) is int:
            return str(value)
        text = self._document.text(node, may_be_empty)
        return None if text is None else self._variables.expand(text, node)

    # Problems

    def _attempt(self, node: yaml.Node, work: Callable[[], _T]) -> _T | None:
        return attempt(self._document, node, work)

    def _problem(self, node: yaml.Node, text: str) -> None:
        self._document.problem(node, text)


def from_text(text: str) -> Any:
    """What a text would be without its quotes, or in an environment variable: a truth value, a whole number, or itself."""
    truths = {"true": True, "false": False}
    if re.fullmatch(r"-?[0-9]{1,9}", text.strip()):
        return int(text)
    return truths.get(text.strip().lower(), text)
