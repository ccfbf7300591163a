"""YAML of any origin as plain nodes with lines: bounded, never constructed, whatever its tags say.

PyYAML's events are read one by one, so that depth costs no stack; aliases share their node, so that a few lines cannot grow.
Documents are told apart before they are parsed: a release file is mostly schemas of custom resources, which hold no image.

Source: YAML 1.2.2; Kubernetes, "CustomResourceDefinition".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Union

import yaml

from pipeline.core.errors import InputError

MAX_SIZE = 2 << 20
"""Characters of a file without the schemas, which are skipped: ten times the largest release file that was looked at."""
MAX_DEPTH = 100
MAX_DOCUMENTS = 20_000
MAX_MERGED = 100_000
"""Values that ``<<`` brings in, in one document."""
_LOADER = yaml.CLoader if yaml.__with_libyaml__ else yaml.Loader
_BORDER = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_DIRECTIVE = re.compile(r"^%.*$", re.MULTILINE)
_SCHEMA = re.compile(r"^kind:\s*[\"']?CustomResourceDefinition\b", re.MULTILINE)

Node = Union["Scalar", "Sequence", "Mapping"]


@dataclass(frozen=True)
class Scalar:
    """``line`` is that of its first character of text, from 1. ``is_plain`` where it has no quotes."""

    text: str
    line: int
    is_plain: bool = True

    @property
    def is_null(self) -> bool:
        return self.is_plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(eq=False)
class Sequence:
    line: int
    items: list[Node] = field(default_factory=list)


@dataclass(eq=False)
class Mapping:
    """``flat`` are the values by key, for keys that are texts; its own win over what ``<<`` brings, the first of a name."""

    line: int
    entries: list[tuple[Node, Node]] = field(default_factory=list)
    flat: dict[str, Node] = field(default_factory=dict)

    def close(self) -> int:
        """Make ``flat`` of the entries, once all are there. How many values other mappings brought in."""
        merged: list[Mapping] = []
        for key, value in self.entries:
            if isinstance(key, Scalar) and key.text == "<<" and key.is_plain:
                others = value.items if isinstance(value, Sequence) else [value]
                merged += [other for other in others if isinstance(other, Mapping)]
            elif isinstance(key, Scalar):
                self.flat.setdefault(key.text, value)
        for other in merged:
            for name, value in other.flat.items():
                self.flat.setdefault(name, value)
        return sum(len(other.flat) for other in merged)

    def items(self) -> Iterable[tuple[str, Node]]:
        return self.flat.items()

    def get(self, key: str) -> Node | None:
        return self.flat.get(key)

    def text(self, key: str) -> str:
        """The scalar at ``key``; empty where there is none."""
        value = self.get(key)
        return value.text if isinstance(value, Scalar) and not value.is_null else ""

    def mapping(self, key: str) -> Mapping:
        """The mapping at ``key``; an empty one where there is none."""
        value = self.get(key)
        return value if isinstance(value, Mapping) else Mapping(self.line)

    def mappings(self, key: str) -> list[tuple[int, Mapping]]:
        """The mappings in the list at ``key``, with their numbers from 0."""
        value = self.get(key)
        items = value.items if isinstance(value, Sequence) else []
        return [(number, item) for number, item in enumerate(items) if isinstance(item, Mapping)]

    def scalars(self, key: str) -> list[tuple[int, Scalar]]:
        """The scalars in the list at ``key``, with their numbers from 0."""
        value = self.get(key)
        items = value.items if isinstance(value, Sequence) else []
        return [(number, item) for number, item in enumerate(items) if isinstance(item, Scalar) and not item.is_null]


def documents(text: str, origin: str) -> Iterator[Node]:
    """The roots of all documents but schemas. Raises InputError, with the place, for what is no YAML, or too deep or large."""
    parts = [(part, line) for part, line in _parts(text) if part.strip() and not _SCHEMA.search(part)]
    if (size := sum(len(part) for part, _ in parts)) > MAX_SIZE:
        raise InputError(
            [f"{origin}: {size:,} characters of YAML, without schemas, are more than any file of manifests has ({MAX_SIZE:,})"],
            tip="give it in parts",
        )
    if len(parts) > MAX_DOCUMENTS:
        raise InputError([f"{origin}: {len(parts):,} YAML documents are more than any file has ({MAX_DOCUMENTS:,})"])
    for part, line in parts:
        root = _parse(_DIRECTIVE.sub("", part), line, origin)
        if root is not None:
            yield root


def _parts(text: str) -> Iterator[tuple[str, int]]:
    """The documents of a text, and how many lines stand above each."""
    start, line = 0, 0
    for border in [*_BORDER.finditer(text), None]:
        part = text[start : border.start() if border else len(text)]
        yield part, line
        line += part.count("\n")
        start = border.end() if border else len(text)


def _parse(text: str, offset: int, origin: str) -> Node | None:
    """``offset`` is the number of lines before ``text``."""
    try:
        return _build(text, offset, origin)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = offset + (mark.line if mark else 0) + 1
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise InputError([f"{origin}:{line}: not valid YAML: {said}"]) from error
    except yaml.YAMLError as error:
        raise InputError([f"{origin}:{offset + 1}: not valid YAML: {' '.join(str(error).split())}"]) from error


def _line(event: yaml.Event) -> int:
    return event.start_mark.line if event.start_mark is not None else 0


def _build(text: str, offset: int, origin: str) -> Node | None:
    root: Node | None = None
    anchors: dict[str, Node] = {}
    parents: list[Sequence | Mapping] = []
    keys: list[Node | None] = []
    """The key that waits for its value, of each of the parents."""
    merged = 0

    def refuse(event: yaml.Event, reason: str) -> InputError:
        return InputError([f"{origin}:{offset + _line(event) + 1}: {reason}"])

    for event in yaml.parse(text, Loader=_LOADER):
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(event.value, offset + _line(event) + 1 + (event.style in ("|", ">")), not event.style)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Sequence(offset + _line(event) + 1)
        elif isinstance(event, yaml.MappingStartEvent):
            node = Mapping(offset + _line(event) + 1)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise refuse(event, f"nothing above is called &{event.anchor}")
            node = anchors[event.anchor]
        else:
            if isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                closed = parents.pop()
                keys.pop()
                merged += closed.close() if isinstance(closed, Mapping) else 0
                if merged > MAX_MERGED:
                    raise refuse(event, "its '<<' keys bring in more than any file needs")
            continue
        if not isinstance(event, yaml.AliasEvent) and event.anchor:
            anchors[event.anchor] = node
        if not parents:
            root = root or node
        elif isinstance(parent := parents[-1], Sequence):
            parent.items.append(node)
        elif (key := keys[-1]) is None:
            keys[-1] = node
        else:
            parent.entries.append((key, node))
            keys[-1] = None
        if isinstance(event, yaml.CollectionStartEvent) and isinstance(node, Sequence | Mapping):
            if len(parents) == MAX_DEPTH:
                raise refuse(event, "this YAML is nested too deeply")
            parents.append(node)
            keys.append(None)
    return None if isinstance(root, Scalar) and root.is_null else root
