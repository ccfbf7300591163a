"""Plan and summary, on standard output, and the error that ends a command, on standard error."""

from __future__ import annotations

import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.core.amounts import bytes_text, duration_text
from pipeline.core.bundle import Bundle, BundleImage, Referrer
from pipeline.core.errors import ImageToolsError
from pipeline.ui.terminal.style import columns, styled
from pipeline.ui.terminal.text import BETWEEN, harmless, kind_text

if TYPE_CHECKING:  # which bring the archive, and help needs none
    from pipeline.acts.save.plan import Need, Plan
    from pipeline.storage.records.packed import PackedFile

MAX_FAILURES = 30
"""That many are shown with their reasons; the rest are in the failed list, the log and the report."""
MAX_NAMES = 5
"""Images that are named of those that failed for one and the same reason."""
MINUTES = 60.0
"""Seconds from which on it is worth a word what one job at a time costs."""
FEW = 3
"""As many images with one reason are told one by one."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run came to. ``kept`` says why an earlier archive was left as it was; ``seconds`` is by act."""

    bundle: Bundle
    saved: int
    reused: int
    plan: Plan
    failures: Mapping[BundleImage, str]
    fetched: int
    seconds: Mapping[str, float]
    repacked: bool
    files: Sequence[PackedFile]
    kept: ImageToolsError | None
    report: Path | None
    how_to_go_on: str
    verified: int = 0
    """Bytes of a bundle that stayed as it was, and was hashed again."""
    lost: Mapping[BundleImage, Sequence[Referrer]] = field(default_factory=dict)
    """What refers to an index that the bundle does not keep as it was."""
    left_out: tuple[int, int] | None = None
    """Layers, and their bytes, that a delta is carried without; None of a whole bundle."""
    replaced: str = ""
    """What the bundle that was replaced contained, where the new one lacks some of it."""
    advice: Sequence[tuple[str, str]] = ()
    """What else to know of a run that is not complete."""


_BY_KIND = frozenset(("not found", "access denied", "too many requests"))
"""What follows only repeats the name."""
_AFTER_THE_NAME = re.compile(r": (access denied|too many requests)\b")
_STAYS = ("not found", "access denied", "bad certificate", "refused by")
_OF_A_REGISTRY = (": bad certificate", "answers with plain HTTP", ": the name does not resolve")
"""What stays as it is, after the name of the registry."""
AS_IT_IS = "These fail again until they are put right: names in the list, logins, certificates."


def plan_line(plan: Plan, found: Sequence[Need]) -> str:
    """The plan in one line, for the log: what matters most first."""
    along = f", {_count(plan.referrers, 'referrer')}" if plan.referrers else ""
    parts = [
        f"{bytes_text(plan.to_fetch)} to fetch",
        f"{_count(plan.images, 'image')} ({_count(plan.platforms, 'platform')}{along})",
        *([f"{bytes_text(plan.here)} here already"] if plan.here else []),
        *([f"{bytes_text(plan.shared)} shared"] if plan.shared else []),
        *(f"{bytes_text(need.needed)} of {bytes_text(need.free)} free {_at(need.path)}" for need in found if need.needed),
    ]
    if plan.waits >= MINUTES:
        parts.append(f"-j 1 waits {duration_text(plan.waits)} for answers, -j auto a tenth of it")
    return f"plan: {BETWEEN.join(parts)}"


def print_plan(plan: Plan, found: Sequence[Need]) -> None:
    _row("images", str(plan.images))
    _row("image/arches", str(plan.platforms))
    if plan.referrers:
        _row("referrers", str(plan.referrers))
    _row("blobs", f"{plan.blobs}, {bytes_text(plan.total)} ({bytes_text(plan.shared)} saved by sharing)")
    _row("here already", bytes_text(plan.here))
    _row("to fetch", styled(bytes_text(plan.to_fetch), "bold"))
    for need in found:
        verdict = "" if need.is_met else "   " + styled("NOT ENOUGH", "bad")
        _row("disk", f"{bytes_text(need.needed)} needed, {bytes_text(need.free)} free at {_shown(need.path)}{verdict}")


def print_lost(lost: Mapping[BundleImage, Sequence[Referrer]]) -> None:
    """What stays behind of a signed index of which only some platforms are saved, and how it could be kept."""
    if not lost:
        return
    print(f"\n{styled('left behind', 'notable')}, as it is about a whole index, of which the bundle holds some platforms:")
    for image, referrers in list(lost.items())[:MAX_FAILURES]:
        kinds = Counter(kind_text(referrer.artifact_type) for referrer in referrers)
        what = ", ".join(_count(number, kind) for kind, number in kinds.items())
        name = image.reference.by_digest(referrers[0].subject)
        print(f"  {styled(image.text, 'bold')}: {what}; -a all would keep it, or {name} in the list")
    if len(lost) > MAX_FAILURES:
        print(f"  and of {len(lost) - MAX_FAILURES} more")


class Failure(NamedTuple):
    """What failed, as people call it, on which registry, and why."""

    name: str
    registry: str
    reason: str


def failures_of(failures: Mapping[BundleImage, str]) -> list[Failure]:
    return [Failure(image.text, image.source.registry, reason) for image, reason in failures.items()]


def print_failures(failures: Sequence[Failure]) -> None:
    """Each image with its reason; those that failed alike together, by registry and kind, with what to do said once."""
    for line in _failure_lines(failures):
        print(line)


def how_to_go_on(failures: Sequence[Failure], again: str) -> str:
    """``again``, where the same command may do better: names, logins, certificates and refusals stay as they are."""
    return AS_IT_IS if all(_stays(failure.reason) for failure in failures) else again


def _failure_lines(failures: Sequence[Failure]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        groups.setdefault(_alike(failure), []).append(failure)
    shown = 0
    for (head, rest), alike in groups.items():
        if shown >= MAX_FAILURES:
            yield f"  and {len(failures) - shown} more"
            return
        if head and len(alike) > 1:
            yield f"  {styled(head, 'bold')} ({len(alike)}):{_indented(rest)}"
            yield from _names(alike)
        elif len(alike) <= FEW:
            yield from (f"  {styled(harmless(each.name), 'bold')}: {_indented(each.reason)}" for each in alike)
        else:
            yield f"  {styled(f'{len(alike)} images', 'bold')}: {_indented(rest)}"
            yield from _names(alike)
        shown += len(alike)


def _alike(failure: Failure) -> tuple[str, str]:
    """What failures have in common: of some kinds the kind, the registry and the tip, as the rest only repeats the name."""
    message, _, tip = failure.reason.partition("\nTIP: ")
    # Some say first what could not be fetched or asked for, which only repeats the name, too.
    said = _AFTER_THE_NAME.search(message) if message.startswith(f"{failure.registry}/") else None
    kind = said[1] if said else message.partition(": ")[0]
    if kind in _BY_KIND:
        return f"{kind} on {failure.registry}", f"\nTIP: {tip}" if tip else ""
    return "", failure.reason


def _names(failures: Sequence[Failure]) -> Iterator[str]:
    yield from (f"      {harmless(failure.name)}" for failure in failures[:MAX_NAMES])
    if len(failures) > MAX_NAMES:
        yield f"      and {len(failures) - MAX_NAMES} more"


def _indented(reason: str) -> str:
    return harmless(reason).replace("\n", "\n      ")


def _stays(reason: str) -> bool:
    first = reason.partition("\n")[0]
    return first.startswith(_STAYS) or _is_denied(first) or any(words in first for words in _OF_A_REGISTRY)


def _is_denied(reason: str) -> bool:
    """Also where what could not be done is said first."""
    return ": access denied" in f": {reason.partition(chr(10))[0]}"


def print_summary(summary: Summary) -> None:
    bundle, plan = summary.bundle, summary.plan
    total = summary.saved + len(summary.failures)
    style = "good" if not summary.failures else "notable" if summary.saved else "bad"
    referrers = f"{_count(plan.referrers, 'referrer')}, " if plan.referrers else ""
    images = f"{plan.platforms} image/arches, {referrers}{bytes_text(plan.total)}"
    shared = f" ({bytes_text(plan.shared)} saved by sharing)" if plan.shared else ""
    what = f": {images}{shared}" if summary.saved else ""
    print(f"\n{styled(f'saved {summary.saved} of {total} images', style)}{what}")
    if summary.saved or summary.fetched:
        for line in _acts(summary):
            print(line)
    if summary.failures:
        print(f"\n{styled(f'failed {len(summary.failures)}', 'bad')}, listed in {_shown(bundle.failed_list)}:")
        print_failures(failures_of(summary.failures))
    print_lost(summary.lost)
    print()
    if summary.kept:
        print(harmless(str(summary.kept)))
    elif bundle.is_cache and summary.saved:
        print(f"{_shown(bundle.output.destination)} is the bundle")
    elif summary.saved:
        print("written:" if summary.repacked else "unchanged since the last run:")
        for file in summary.files:
            print(_file(file))
        if summary.replaced:
            print(harmless(summary.replaced))
        if bundle.output.is_archive:
            print(f"check with: {_check(bundle.output.checksum_file)}")
    if summary.report:
        print(f"report: {_shown(summary.report)}")
    for text, tip in summary.advice:
        print(f"{harmless(text)}\n  TIP: {harmless(tip)}")
    if summary.failures:
        print(how_to_go_on(failures_of(summary.failures), summary.how_to_go_on))
    elif not summary.kept:
        source = shlex.quote(_shown(bundle.output.destination))
        print(f"next, on the other side: {styled(f'image-tools load -s {source} -d REGISTRY', 'bold')}")


def print_problem(text: str) -> None:
    """An error that ends the command."""
    print(f"image-tools: {harmless(text)}", file=sys.stderr)


def _acts(summary: Summary) -> Iterator[str]:
    """What each act came to: bytes, time and rate."""
    plan, seconds = summary.plan, summary.seconds
    if "resolving" in seconds:
        tags = _count(summary.saved + len(summary.failures), "image")
        yield f"resolved {tags}{_time(seconds['resolving'])}"
    taken = _time(seconds.get("copying", 0), summary.fetched) if summary.fetched else ""
    yield f"fetched {bytes_text(summary.fetched)}{taken}"
    if summary.reused:
        yield f"reused {_count(summary.reused, 'image')}, {bytes_text(max(0, plan.total - summary.fetched))} here already"
    if summary.repacked:
        packed = plan.total - (summary.left_out[1] if summary.left_out else 0)
        yield f"packed {bytes_text(packed)}{_time(seconds.get('packing', 0), packed)}"
    if summary.left_out:
        count, size = summary.left_out
        yield f"left out {_count(count, 'layer')}, {bytes_text(size)}: the base has them"
    if summary.verified:
        taken = _time(seconds.get("verifying", 0), summary.verified)
        yield f"verified {bytes_text(summary.verified)}{taken}: all is as it was written"


def _time(seconds: float, size: int = 0) -> str:
    rate = f", {bytes_text(size / seconds)}/s" if size and seconds >= 0.05 else ""
    return f" in {duration_text(seconds)}{rate}"


def _file(file: PackedFile) -> str:
    """A line; where the terminal is too narrow for it, the checksum gets a line of its own."""
    name = _shown(Path(file.name))
    if not file.sha256:
        return f"  {name}"
    line, checksum = f"  {name}  {bytes_text(file.size)}", f"sha256:{file.sha256}"
    width = columns()
    return f"{line}  {checksum}" if width is None or len(line) + 2 + len(checksum) <= width else f"{line}\n    {checksum}"


def _check(checksums: Path) -> str:
    """``sha256sum`` looks for the files in the current folder."""
    command = f"sha256sum -c {shlex.quote(harmless(checksums.name))}"
    here = checksums.parent == Path.cwd()
    return command if here else f"cd {shlex.quote(_shown(checksums.parent))} && {command}"


def _row(name: str, text: str) -> None:
    print(f"{name:<19}{text}")


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number:,} {what}{'' if number == 1 else plural}"


def _at(path: Path) -> str:
    return "here" if _shown(path) == "." else f"at {_shown(path)}"


def _shown(path: Path) -> str:
    """Relative where that is shorter to read and type."""
    try:
        return harmless(str(path.relative_to(Path.cwd())))
    except ValueError:
        return harmless(str(path))
