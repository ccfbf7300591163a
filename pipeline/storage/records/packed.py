"""The records of act 3: what was made (``packed.json``) and what lies at the destination (``output.json``).

``compress`` writes the first, ``split`` the second; both, and ``cli``, read them. A finished file is known again by size and
time, without reading it; ``recheck`` reads it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core import files


@dataclass(frozen=True)
class PackedFile:
    """A file (or folder) of the result: where it is until ``split`` gives it its ``name``. Absolute paths.

    ``sha256`` is empty for a folder.
    """

    temporary: str
    name: str
    size: int
    mtime_ns: int
    sha256: str = ""

    def is_at(self, path: str) -> bool:
        """Whether ``path`` is this very file, by size and time."""
        try:
            status = Path(path).stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns)

    @property
    def is_in_place(self) -> bool:
        return self.is_at(self.name)

    @property
    def is_waiting(self) -> bool:
        return self.is_at(self.temporary)


@dataclass(frozen=True)
class Packed:
    """What ``compress`` made. ``contents`` are the files of a folder: relative name to size, time (ns) and digest."""

    files: tuple[PackedFile, ...]
    contents: Mapping[str, tuple[int, int, str]]

    def to_json(self) -> dict[str, Any]:
        return {"files": [asdict(file) for file in self.files], "contents": self.contents}


@dataclass(frozen=True)
class Finished:
    """What our last run left at a destination, and the references that are in it."""

    files: tuple[PackedFile, ...]
    references: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"files": [asdict(file) for file in self.files], "references": self.references}

    @property
    def is_there(self) -> bool:
        return bool(self.files) and all(Path(file.name).exists() for file in self.files)


def read_packed(path: Path) -> Packed | None:
    """The record, or None where it is missing or damaged."""
    document = files.read_sealed(path)
    try:
        contents = {str(k): (int(v[0]), int(v[1]), str(v[2])) for k, v in document["contents"].items()}
        return Packed(_files(document), contents)
    except (TypeError, KeyError, ValueError, AttributeError, IndexError):
        return None


def read_finished(path: Path) -> Finished | None:
    """The record, or None where it is missing or damaged."""
    return parse_finished(files.read_sealed(path))


def parse_finished(document: Any) -> Finished | None:
    try:
        return Finished(_files(document), tuple(str(name) for name in document["references"]))
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


def _files(document: Any) -> tuple[PackedFile, ...]:
    return tuple(PackedFile(**file) for file in document["files"])
