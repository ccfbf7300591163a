"""``images:`` of a definition: images, lists and other files, charts, ranges of tags.

Takes YAML nodes, returns images in their order, and candidates that registries are still to be asked for. What is wrong goes to
the document's problems, with its place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

import yaml

from pipeline.config import inputs
from pipeline.config.inputs import Certainty, Options
from pipeline.config.settings import IMAGE_KEYS, absolute
from pipeline.config.yaml_document import Document, Entry, shown
from pipeline.core import bundle, image_list, reference, versions
from pipeline.core.bundle import BundleImage, Candidate, PlatformFilter
from pipeline.core.errors import InputError, UsageError
from pipeline.core.image_list import Line
from pipeline.core.log import log

MAX_IMAGES = 50_000
"""Entries of a definition, counted as often as aliases repeat them."""
KINDS = ("image", "list", "chart")
"""What an entry names, one of them."""
_T = TypeVar("_T")

Where = tuple[str, PlatformFilter]
"""The source that images are fetched from, and which of their platforms."""


@dataclass
class EntryCount:
    """Over all bundles of a definition."""

    number: int = 0


@dataclass(frozen=True)
class Found:
    """What the entries of one bundle came to."""

    images: tuple[BundleImage, ...] = ()
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A line that an entry names, with the place of its text."""

    line: Line
    place: str
    is_probable: bool = False
    tags: str = ""


@dataclass
class _Collected:
    images: dict[str, BundleImage] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)


class ImageEntries:
    """Reads the entries of one bundle."""

    def __init__(
        self,
        document: Document,
        base: Path,
        text: Callable[[yaml.Node], str | None],
        where: Callable[[Mapping[str, Entry]], Where],
        count: EntryCount,
    ) -> None:
        """``text`` reads a text with its variables; ``where`` takes the settings of an entry, and adds the bundle's."""
        self._document = document
        self._base = base
        self._text = text
        self._where = where
        self._count = count

    def read(self, name: str, node: yaml.Node) -> Found:
        """Of the bundle ``name``. Raises InputError where there are far too many."""
        entries = self._document.sequence(node)
        self._count.number += len(entries)
        if self._count.number > MAX_IMAGES:
            raise InputError([f"{self._document.place(node.start_mark)}: more than {MAX_IMAGES:,} images in one definition"])
        shared = self._where({})
        if not entries and isinstance(node, yaml.SequenceNode):
            self._document.problem(node, f"the bundle '{name}' holds no image")
        found = _Collected()
        for entry in entries:
            self._entry(entry, shared, found)
        return Found(tuple(found.images.values()), tuple(found.candidates))

    def _entry(self, node: yaml.Node, shared: Where, found: _Collected) -> None:
        """``shared`` is what the bundle says for all."""
        if not isinstance(node, yaml.MappingNode):
            self._take(node, self._image(node, None), shared, found)
            return
        body = self._document.mapping(node, (*KINDS, "tags", "values", "flavor", *IMAGE_KEYS))
        kinds = [kind for kind in KINDS if kind in body]
        if len(kinds) != 1:
            self._document.problem(node, "an entry names either an 'image', a 'list' or a 'chart'")
            return
        (kind,) = kinds
        for key, of in (("tags", "image"), ("values", "chart"), ("flavor", "list")):
            if key in body and kind != of:
                self._document.problem(body[key].key, f"'{key}' goes with '{of}'")
                return
        own = {key: body[key] for key in body if key in IMAGE_KEYS}
        where = self._where(own) if own else shared
        what = body[kind].value
        named = self._image(what, body.get("tags")) if kind == "image" else self._file(what, kind, body)
        self._take(node, named, where, found)

    def _take(self, node: yaml.Node, named: Iterator[_Named], where: Where, found: _Collected) -> None:
        for each in named:
            image = bundle.image(each.line, len(found.images) + 1, *where)
            if each.tags or each.is_probable:
                found.candidates.append(Candidate(image=image, tags=each.tags))
                continue
            key = str(image.reference)
            first = found.images.setdefault(key, image)
            found.places.setdefault(key, each.place)
            if (first.platforms, first.source) != (image.platforms, image.source):
                other = f"with other platforms, or another source, than at {found.places[key]}"
                self._document.add(node.start_mark, f"{each.place}: {shown(image.text)} stands here {other}")

    def _image(self, node: yaml.Node, tags: Entry | None) -> Iterator[_Named]:
        text = self._text(node)
        if text is None:
            return
        try:
            line = image_list.parse_line(text, "", 0)
        except InputError as error:
            for problem in error.problems:
                self._document.problem(node, problem.removeprefix(":0: "))
            return
        if line is None:
            self._document.problem(node, f"{shown(text)} is a comment, not an image")
            return
        wanted = self._tags(line, tags) if tags is not None else ""
        if wanted is not None:
            yield _Named(line=line, place=self._document.place(node.start_mark), tags=wanted)

    def _tags(self, line: Line, tags: Entry) -> str | None:
        """The range of an image; None, and a problem, where it is none."""
        text = self._text(tags.value)
        if text is None:
            return None
        if line.reference.digest or line.reference != reference.parse(line.reference.name):
            self._document.problem(tags.key, f"{shown(line.text)} has a tag or a digest already: leave it out, or the 'tags'")
            return None

        def checked() -> str:
            versions.check_range(text)
            return text

        return self._attempt(tags.value, checked)

    def _file(self, node: yaml.Node, kind: str, body: Mapping[str, Entry]) -> Iterator[_Named]:
        """The images of a list or another file, or of a chart."""
        text = self._text(node)
        path = self._attempt(node, lambda: absolute(text, self._base)) if text is not None else None
        if text is None or path is None:
            return
        values = self._paths(body["values"].value) if "values" in body else ()
        flavor = (self._text(body["flavor"].value) or "") if "flavor" in body else ""
        options, origin = Options(values=values, flavor=flavor), str(self._document.path.parent / text)
        # A definition may come from a stranger, and name any file of the machine that looks at it.
        quote = path.is_relative_to(_repository(self._base)) or log.isEnabledFor(logging.DEBUG)
        data = b"" if kind == "chart" else self._attempt(node, lambda: image_list.read(path, origin))
        if data is None:
            return
        try:
            if kind == "chart":
                reading = inputs.read(path, origin, options)
            else:
                reading = inputs.read_bytes(data, origin, options, path.parent, quote=quote)
        except InputError as error:
            for problem in error.problems:
                self._document.add(node.start_mark, problem)
            return
        for each in reading.unknown:
            log.warning("%s: not taken: %s", each.place, f"'{each.text}': {each.note}" if quote else "-debug shows why")
        for certainty in (Certainty.SURE, Certainty.PROBABLE):
            for finding in reading.images(certainty):
                place = f"{finding.origin}:{finding.line}"
                yield _Named(line=finding.to_line(), place=place, is_probable=certainty is Certainty.PROBABLE)

    def _paths(self, node: yaml.Node) -> tuple[Path, ...]:
        """One path, or a list of them."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        texts = [(each, self._text(each)) for each in nodes]
        return tuple(absolute(text, self._base) for _, text in texts if text is not None)

    def _attempt(self, node: yaml.Node, work: Callable[[], _T]) -> _T | None:
        return attempt(self._document, node, work)


def attempt(document: Document, node: yaml.Node, work: Callable[[], _T]) -> _T | None:
    """What ``work`` returns; None, and a problem at ``node``, where it raises."""
    try:
        return work()
    except (InputError, UsageError) as error:
        document.problem(node, said(error))
        return None


def said(error: InputError | UsageError) -> str:
    """An error on one line, in the words of a definition: it begins with the key that it is about."""
    key = f"'{error.setting}': " if error.setting else ""
    tip = f"; {error.tip}" if error.tip else ""
    return f"{key}{error.message}{tip}".replace("\n", "; ")


@cache
def _repository(folder: Path) -> Path:
    """The folder that holds ``.git``, or ``folder`` where none above it does."""
    folder = folder.resolve()
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)
