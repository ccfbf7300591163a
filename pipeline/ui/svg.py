"""Pieces of SVG, for the charts of a report and the picture of a graph. Every text that goes into them is escaped.

They hold no style: classes, which the style sheet around them colours.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup


def join(pieces: Iterable[Markup]) -> Markup:
    return Markup("").join(pieces)


def rect(look: str, x: float, y: float, width: float, height: float, radius: int = 0) -> Markup:
    corners = Markup(' rx="{}"').format(radius) if radius else ""
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"{}/>').format(
        look, x, y, width, height, corners
    )


def text(x: float, y: float, content: str, look: str = "") -> Markup:
    """One line; ``y`` is where its letters stand."""
    style = Markup(' class="{}"').format(look) if look else ""
    return Markup('<text{} x="{:.1f}" y="{:.1f}">{}</text>').format(style, x, y, content)


def titled(title: str, *pieces: Markup) -> Markup:
    """A group that shows ``title`` under the pointer, and to who cannot see it."""
    return Markup("<g><title>{}</title>{}</g>").format(title, join(pieces))


def cut(content: str, room: int) -> str:
    """The first ``room`` characters, the last of them an ellipsis where some are missing."""
    return content if len(content) <= room else content[: room - 1] + "…"


def cut_left(content: str, room: int) -> str:
    """The last ``room`` characters: the end of a reference says more than its beginning."""
    return content if len(content) <= room else "…" + content[len(content) - room + 1 :]
