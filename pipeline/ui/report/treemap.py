"""Rectangles whose areas are as the given sizes: a squarified treemap (Bruls, Huizing, van Wijk, 2000)."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]
"""Left, top, width, height."""


def squarified(sizes: Sequence[float], width: float, height: float) -> list[Box]:
    """A box for each size, which must be positive and come largest first; they fill ``width`` by ``height``."""
    total = sum(sizes)
    if not total or not width or not height:
        return []
    areas = [size * width * height / total for size in sizes]
    boxes: list[Box] = []
    left, top = 0.0, 0.0
    while areas:
        side = min(width, height)
        count = _row_length(areas, side)
        row, areas = areas[:count], areas[count:]
        thick = sum(row) / side
        at = 0.0
        for area in row:
            long = area / thick
            boxes.append((left + at, top, long, thick) if width < height else (left, top + at, thick, long))
            at += long
        if width < height:
            top, height = top + thick, max(height - thick, 1e-9)
        else:
            left, width = left + thick, max(width - thick, 1e-9)
    return boxes


def _row_length(areas: Sequence[float], side: float) -> int:
    """How many of the first areas make the row in which the worst box is the least narrow."""
    total, best = 0.0, float("inf")
    for count, area in enumerate(areas):
        total += area
        # In a row the first is the largest, the last the smallest.
        worst = max(areas[0] * side**2 / total**2, total**2 / (area * side**2))
        if worst > best:
            return count
        best = worst
    return len(areas)
