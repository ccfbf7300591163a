"""What an archive holds, in order, before a byte of it is written.

An ``ArchiveLayout`` is made of names, sizes, digests and modes alone. Its JSON is handed from the task that decides what is
packed to the task that packs it. As every member is named by its digest, the JSON is a
stand-in for gigabytes of content: it changes when, and only when, the archive changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from pipeline.core.errors import ArchiveError, ContentError
from pipeline.core.oci import Digest

LAYOUT_VERSION = 1


@dataclass(frozen=True)
class Member:
    """One entry of the tar. ``path`` is its full name there; a folder has no digest and no slash at its end.

    ``link`` is the target of a symbolic link, relative to the link's folder, and empty for all else.
    """

    path: str
    size: int = 0
    digest: Digest | None = None
    _: KW_ONLY
    mode: int = 0o644
    media_type: str = ""
    """Of a blob: a hint whether it is compressed already."""
    is_blob: bool = False
    """Blobs get gzip members or zstd frames of their own, and stand in the archive index by digest."""
    link: str = ""

    @property
    def is_folder(self) -> bool:
        return self.digest is None and not self.link

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"path": self.path, "mode": self.mode}
        if self.digest is not None:
            data |= {"size": self.size, "digest": str(self.digest)}
        if self.is_blob:
            data |= {"mediaType": self.media_type, "blob": True}
        if self.link:
            data["link"] = self.link
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Member:
        digest = data.get("digest")
        return cls(
            str(data["path"]),
            int(data.get("size", 0)),
            None if digest is None else Digest.parse(digest),
            mode=int(data["mode"]),
            media_type=str(data.get("mediaType", "")),
            is_blob=data.get("blob") is True,
            link=str(data.get("link", "")),
        )


@dataclass(frozen=True)
class ArchiveLayout:
    """The members in the order of the tar, folders before what is in them, and the one time that all of them bear."""

    mtime: int
    members: tuple[Member, ...]
    is_delta: bool = False
    """Whether blobs that it needs are left out: its archive has an index that readers who know no deltas refuse."""

    @property
    def root(self) -> str:
        """The folder that everything in the tar is in."""
        return self.members[0].path.partition("/")[0] if self.members else "."

    @property
    def content_size(self) -> int:
        """Bytes of all files together."""
        return sum(member.size for member in self.members)

    def to_json(self) -> dict[str, Any]:
        members = [m.to_json() for m in self.members]
        return {"version": LAYOUT_VERSION, "mtime": self.mtime, "delta": self.is_delta, "members": members}

    @classmethod
    def from_json(cls, data: Any) -> ArchiveLayout:
        """Raises ArchiveError for what ``to_json`` of this version did not make."""
        try:
            if data["version"] != LAYOUT_VERSION:
                raise ValueError(f"version {data['version']!r}")
            members = tuple(Member.from_json(m) for m in data["members"])
            return cls(int(data["mtime"]), members, data.get("delta") is True)
        except (KeyError, TypeError, ValueError, AttributeError, ContentError) as error:
            raise ArchiveError(f"this is not an archive layout of version {LAYOUT_VERSION} ({error})") from error
