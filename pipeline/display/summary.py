"""Plan and summary, on standard output, and the error that ends a command, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..bundle import Bundle, BundleImage
from ..plan import Need, Plan
from ..result import PackedFile
from .text import bytes_text, harmless


@dataclass(frozen=True)
class Summary:
    """What a run came to. ``kept`` says why an earlier archive was left as it was."""

    bundle: Bundle
    saved: int
    plan: Plan
    failures: Mapping[BundleImage, str]
    fetched: int
    repacked: bool
    files: Sequence[PackedFile]
    kept: str
    how_to_go_on: str


def print_plan(plan: Plan, found: Sequence[Need]) -> None:
    print(f"images             {plan.images}")
    print(f"image/arches       {plan.platforms}")
    print(f"blobs              {plan.blobs}, {bytes_text(plan.total)} ({bytes_text(plan.shared)} saved by sharing)")
    print(f"here already       {bytes_text(plan.here)}")
    print(f"to fetch           {bytes_text(plan.to_fetch)}")
    for need in found:
        verdict = "" if need.is_met else "   NOT ENOUGH"
        print(f"disk               {bytes_text(need.needed)} needed, {bytes_text(need.free)} free at {need.path}{verdict}")


def print_failures(failures: Mapping[BundleImage, str]) -> None:
    for image, reason in failures.items():
        print(f"  {image.text}: " + harmless(reason).replace("\n", "\n      "))


def print_summary(summary: Summary) -> None:
    plan, output = summary.plan, summary.bundle.output
    total = summary.saved + len(summary.failures)
    print(f"\nsaved {summary.saved} of {total} images: {plan.platforms} image/arches, {bytes_text(plan.total)}")
    print(f"fetched {bytes_text(summary.fetched)}")
    if summary.failures:
        print(f"\nfailed {len(summary.failures)}, listed in {_shown(summary.bundle.failed_list)}:")
        print_failures(summary.failures)
    print()
    if summary.kept:
        print(summary.kept)
    elif summary.bundle.is_cache and summary.saved:
        print(f"{_shown(output.destination)} is the bundle")
    elif summary.saved:
        print("written:" if summary.repacked else "unchanged since the last run:")
        for file in summary.files:
            checksum = f"  {bytes_text(file.size)}  sha256:{file.sha256}" if file.sha256 else ""
            print(f"  {_shown(Path(file.name))}{checksum}")
        if output.is_archive:
            print(f"check with: sha256sum -c {output.checksum_file.name}")
    if summary.failures:
        print(summary.how_to_go_on)


def print_problem(text: str) -> None:
    """An error that ends the command."""
    print(f"image-tools: {harmless(text)}", file=sys.stderr)


def _shown(path: Path) -> str:
    """Relative where that is shorter to read and type."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
