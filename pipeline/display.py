"""What a person sees: log lines on standard error; plan and summary on standard output.

No control character of a registry's message or an image's name reaches the terminal.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .bundle import Bundle, BundleImage
from .engine import Status, TaskResult
from .logs import log, subject
from .plan import Need, Plan
from .result import PackedFile

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """``text`` without control characters other than tab and newline."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def bytes_text(size: float) -> str:
    """``1.5 GB``, in powers of 1000 as disks and networks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


class LogFormatter(logging.Formatter):
    """``2026-11-23 14:31:59 INFO  [M_ID:3] [IMG_ID:1] message``; the lines below a first one are indented."""

    def format(self, record: logging.LogRecord) -> str:
        about = subject()
        ids = f"[M_ID:{about.m_id}] " if about.m_id else ""
        ids += f"[IMG_ID:{about.img_id}] " if about.img_id else ""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = "WARN" if record.levelno == logging.WARNING else record.levelname
        text = harmless(record.getMessage()).replace("\n", "\n    ")
        return f"{when} {level:<5} {ids}{text}"


def start_logging(debug: bool) -> None:
    """Send the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter())
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if debug else logging.INFO)
    log.propagate = False


class TaskLog:
    """The engine's observer: every task and what became of it, for ``-debug``."""

    def started(self, task: str) -> None:
        log.debug("%s: started", task)

    def finished(self, task: str, result: TaskResult) -> None:
        if result.status is Status.FAILED:
            log.debug("%s: failed: %s", task, result.message)
        else:
            log.debug("%s: %s", task, result.status.value)


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
