"""YAML text as nodes that know their place, and all that is wrong with it at once.

Takes the text of a file, returns PyYAML's nodes. Whoever reads them asks here for mappings, lists and texts; what does not
fit is collected in ``problems``, as ``file:line:column: what is wrong``. Promises: no text makes it hang or raise (aliases
are shared, merge keys flattened once for each mapping), and nothing that YAML takes for a number, a date or a truth value
passes for a text.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.reader import ReaderError

_MAX_VALUE = 100
"""Characters of a number, a date or a truth value: beyond all use, and PyYAML takes minutes to read one of a megabyte."""
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_TAKEN_FOR = {
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "a date",
}
_HINTS = (
    (r"found character '\t'", "a tab; YAML is indented with spaces"),
    ("that cannot start any token", "a text cannot start like this without quotes"),
    ("mapping values are not allowed here", "a ': ' does not fit here; see to the indentation, or put the text in quotes"),
    ("<block end>", "this does not fit what stands above; see to the indentation"),
    ("could not find expected ':'", "there is a key without its ':' above"),
    ("but found another document", "a second document begins here; put all bundles under one 'bundles:'"),
    ("found undefined alias", "no anchor (&name) of this name stands above; a text that starts with '*' needs quotes"),
    ("while scanning an alias", "a text that starts with '*' needs quotes"),
    ("while scanning an anchor", "a text that starts with '&' needs quotes"),
    ("while scanning a quoted scalar", "a quote is opened and not closed"),
    ("expected ',' or", "a '[' or '{' is opened and not closed, or a ',' is missing"),
)
"""What PyYAML says of text that is no YAML (context and problem), and what it means to a person."""


_FastLoader: type[yaml.SafeLoader | yaml.CSafeLoader] = yaml.SafeLoader
if yaml.__with_libyaml__:

    class _LibyamlLoader(Composer, yaml.CSafeLoader):
        """libyaml's events, nine times as fast; composed by Python, whose stack has a limit that is an error."""

        def __init__(self, stream: str) -> None:
            yaml.CSafeLoader.__init__(self, stream)
            Composer.__init__(self)

    _FastLoader = _LibyamlLoader


@dataclass(frozen=True)
class Entry:
    """A key and its value."""

    key: yaml.Node
    value: yaml.Node


class Document:
    """One YAML document. ``root`` is None where it is empty, or no YAML, which is then among the problems."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._found: dict[str, tuple[int, int]] = {}
        self._constructor = SafeConstructor()
        self._flat: dict[int, dict[object, Entry]] = {}
        self.root = self._compose(text)

    @property
    def problems(self) -> list[str]:
        """In the order of the text."""
        return sorted(self._found, key=self._found.__getitem__)

    def problem(self, node: yaml.Node, text: str) -> None:
        self.add(node.start_mark, f"{self.place(node.start_mark)}: {text}")

    def add(self, mark: yaml.Mark | None, line: str) -> None:
        """A problem that names its own place, such as one in a file that is named at ``mark``. None is said twice."""
        self._found.setdefault(line, (mark.line, mark.column) if mark is not None else (0, 0))

    def place(self, mark: yaml.Mark | None) -> str:
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(self.path)

    def mapping(self, node: yaml.Node, keys: Collection[str] | None) -> dict[str, Entry]:
        """The entries of a mapping, merged ones included; ``keys`` are the valid ones, None for any."""
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, f"'key: value' lines are needed here, not {kind(node)}")
            return {}
        found: dict[str, Entry] = {}
        for entry in self._entries(node).values():
            key = self.scalar(entry.key)
            if not isinstance(key, str):
                self.problem(entry.key, f"a key must be a text, not {kind(entry.key)}{_quotes(entry.key)}")
            elif keys is not None and key not in keys:
                self.problem(entry.key, f"unknown key {shown(key)}: {nearest(key, keys)}")
            else:
                found[key] = entry
        return found

    def sequence(self, node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.problem(node, f"a list of '- ...' lines is needed here, not {kind(node)}")
        return []

    def text(self, node: yaml.Node, may_be_empty: bool = False) -> str | None:
        """None, and a problem, where it is none."""
        value = self.scalar(node)
        if isinstance(value, str) and (value.strip() or may_be_empty):
            return value
        self.problem(node, f"a text is needed here, not {kind(node)}{_quotes(node)}")
        return None

    def scalar(self, node: yaml.Node) -> Any:
        """The value as YAML takes it; the node itself where it is no scalar, or one that cannot be read."""
        if not isinstance(node, yaml.ScalarNode) or (node.tag != _TEXT and len(node.value) > _MAX_VALUE):
            return node
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, OverflowError, AttributeError):
            return node  # AttributeError is what PyYAML raises for a '!!timestamp' that it cannot read

    def _compose(self, text: str) -> yaml.Node | None:
        try:
            return _composed(text)
        except ReaderError as error:
            lines = text[: error.position].split("\n")
            place = f"{self.path}:{len(lines)}:{len(lines[-1]) + 1}"
            self.add(None, f"{place}: not valid YAML: the control character {shown(text[error.position])} is not allowed")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.add(mark, f"{self.place(mark)}: not valid YAML: {_reason(error)}")
        except RecursionError:
            self.add(None, f"{self.path}: not valid YAML: it is nested too deeply")
        return None

    def _entries(self, node: yaml.MappingNode) -> dict[object, Entry]:
        """A mapping's entries by what tells its keys apart. Its own win over merged ones ('<<: *other'), earlier over later."""
        if id(node) in self._flat:
            return self._flat[id(node)]
        found = self._flat[id(node)] = {}  # there already where a mapping merges itself
        merged: list[yaml.MappingNode] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                merged += self._merged(value)
                continue
            identity = key.value if isinstance(key, yaml.ScalarNode) else id(key)
            first = found.setdefault(identity, Entry(key, value))
            if first.key is not key:
                line = first.key.start_mark.line + 1
                self.problem(key, f"the key {shown(key.value)} stands here twice, first in line {line}")
        for each in {id(node): node for node in merged}.values():
            for identity, entry in list(self._entries(each).items()):
                found.setdefault(identity, entry)
        return found

    def _merged(self, node: yaml.Node) -> list[yaml.MappingNode]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for each in nodes:
            if not isinstance(each, yaml.MappingNode):
                self.problem(each, f"'<<' takes the keys of another mapping (*name), not {kind(each)}")
        return [each for each in nodes if isinstance(each, yaml.MappingNode)]


def _composed(text: str) -> yaml.Node | None:
    """Raises what PyYAML's own loader raises, whose words ``_HINTS`` knows; RecursionError for what is too deep."""
    try:
        return yaml.compose(text, Loader=_FastLoader)
    except yaml.YAMLError as error:
        if "maximum nesting depth" in str(error):
            raise RecursionError from error
    return yaml.compose(text, Loader=yaml.SafeLoader)


def nearest(name: str, known: Collection[str]) -> str:
    """A hint for a name that is not among the known ones."""
    return _nearest(name[:_MAX_VALUE], tuple(known))


@lru_cache(maxsize=4096)
def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"valid are {', '.join(known)}" if known else "there is none"


def kind(node: yaml.Node) -> str:
    """What a node is, in a person's words."""
    if isinstance(node, yaml.MappingNode):
        return "'key: value' lines"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if node.tag == "tag:yaml.org,2002:null" or node.value == "":
        return "nothing"
    if node.tag in _TAKEN_FOR:
        return f"{shown(node.value)}, which YAML takes for {_TAKEN_FOR[node.tag]}"
    return shown(node.value) if node.tag == _TEXT else f"{shown(node.value)} with the tag {shown(node.tag)}"


def shown(text: str) -> str:
    """Quoted, on one line, and not too long."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def _quotes(node: yaml.Node) -> str:
    return "; put it in quotes" if node.tag in _TAKEN_FOR else ""


def _reason(error: yaml.MarkedYAMLError) -> str:
    said = " ".join(part for part in (error.context, error.problem) if part)
    return next((hint for sign, hint in _HINTS if sign in said), said)
