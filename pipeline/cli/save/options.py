"""The flags of ``save`` become ``SaveOptions``: bundles, and how this run treats them.

Takes the flags that were given, and reads the image lists. ``config`` checks all the rest.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.cli.arguments import DEBUG, JSON, LIST, LOG_FILE, LOG_FORMAT, PROGRESS, QUIET, REPORT, chosen, report_file
from pipeline.cli.go_flags import Given
from pipeline.cli.lists import input_files
from pipeline.cli.lists.input_files import STANDARD_INPUT
from pipeline.config import bundle_maker, digest_lock, shards
from pipeline.config.flag import Flag, Value
from pipeline.config.settings import SETTINGS, Settings, absolute
from pipeline.core import bundle
from pipeline.core.bundle import Bundle, BundleImage, Candidate, PlatformFilter
from pipeline.core.errors import InputError, UsageError
from pipeline.core.log import log
from pipeline.registry.login import environment_login
from pipeline.storage import delta, image_lock

BUNDLE = Flag("bundle", "", "which bundles of the -config file to save, separate with ',' (default all)")
CONFIG = Flag("config", "", "bundle definition file (YAML); other flags override what it says", place="file")
SAVE_FLAGS: tuple[Flag, ...] = (
    *SETTINGS,
    BUNDLE,
    CONFIG,
    DEBUG,
    Flag("dry-run", False, "resolve the images and print the plan with sizes, but fetch no layer"),
    LIST,
    *input_files.READING_FLAGS,
    input_files.PROBABLE,
    JSON,
    Flag("force", False, "go on where the disk seems too small, and replace a bundle that holds more than the new one"),
    Flag("gate", "", "command that lets each image through (exit 0) or refuses it; {} is its folder, {docker} its address"),
    Flag("gate-version", "", "what the gate's verdicts depend on, e.g. the date of its database; another one asks again"),
    Flag("lock", False, "write the digests that were saved to a lock file beside the definition or list"),
    Flag("locked", False, "save exactly what the lock file says, whatever the tags say today"),
    LOG_FILE,
    LOG_FORMAT,
    Flag("only", "", "carry only what this file lists, which load wrote as it missed parts of a base", place="file"),
    QUIET,
    PROGRESS,
    REPORT,
    Flag("shard", "", "with -locked: only part I of N of the bundle, as I/N; with auto/N, I is that of the engine's job"),
    Flag("verify", False, "hash the finished files again, whatever their size and time say, and replace what is damaged"),
    Flag("wait", False, "wait while another run uses the cache or the destination"),
)


GROUPS: Mapping[str, str] = {
    "": "a compress d debug f j o part part-size s",
    "Images:": "bundle config flavor lock locked only os probable referrer-types referrers shard values",
    "The bundle:": "base base-signers compress-level gate gate-version note parity parity-blocks sign",
    "Registries:": "authfile cert-dir quota require-signed retry tls-verify via",
    "The run:": "cache dry-run force verify wait",
    "What is told:": "json log-file log-format progress quiet report",
}
"""The flags as help shows them: first those that the documented help has, which most runs need no more than."""


@dataclass(frozen=True, kw_only=True)
class SaveOptions:
    """Bundles and how this run treats them. ``list_files`` is empty where the list came from standard input."""

    bundles: tuple[Bundle, ...]
    list_files: tuple[Path, ...]
    platforms: PlatformFilter
    """For images that are still to be typed, as is ``source``."""
    source: str
    interactive: bool
    dry_run: bool
    json: bool
    force: bool
    lock: bool
    locked: bool
    verify: bool
    wait: bool
    progress: str
    report: Path | None


def read(given: Given, operands: Sequence[str] = ()) -> SaveOptions:
    """What the flags of ``save`` and its operands, images, ask for. Raises UsageError, InputError."""
    settings = chosen(with_source(given.values))
    bundles, list_files, interactive = read_bundles(given, settings, operands)
    # Not of definitions: one may come from a stranger, and would run whatever it likes.
    _check_gate(given.text("gate"))
    bundles = tuple(replace(each, gate=given.text("gate"), gate_version=given.text("gate-version")) for each in bundles)
    options = SaveOptions(
        bundles=bundles,
        list_files=list_files,
        platforms=bundle_maker.platforms(settings),
        source=settings.text("source"),
        interactive=interactive,
        dry_run=given.switch("dry-run"),
        json=given.switch("json"),
        force=given.switch("force"),
        lock=given.switch("lock"),
        locked=given.switch("locked"),
        verify=given.switch("verify"),
        wait=given.switch("wait"),
        progress=given.text("progress"),
        report=report_file(given),
    )
    _check(options, given.text("shard"))
    for each in bundles:
        _check_files(each, list_files, options.report)
    bundles = digest_lock.apply(bundles) if options.locked else bundles
    bundles = shards.divide(bundles, given.text("shard")) if given.text("shard") else bundles
    return replace(options, bundles=_only(bundles, given.text("only")))


def with_source(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """The flags, with ``SOURCE_REGISTRY`` for an ``-s`` that was not given. A definition says itself what it obeys."""
    registry = "" if values.get("config") else environment_login.registry_of("SOURCE")
    return {"s": registry, **values} if registry else values


def read_bundles(
    given: Given, settings: Settings, operands: Sequence[str] = (), lists: Sequence[str] = ()
) -> tuple[tuple[Bundle, ...], tuple[Path, ...], bool]:
    """The bundles, the list files that they come from, and whether the images are still to be typed.

    ``operands`` are images; ``lists`` are read with those of ``-f``.
    """
    if given.text("config"):
        if operands:
            raise UsageError(f"'{operands[0]}' and -config exclude each other: the definition says what is in the bundle")
        return _from_definition(given, settings), (), False
    if given.text("bundle"):
        raise UsageError("it goes with -config: a list is one bundle", setting="bundle")
    names = (*given.texts("f"), *lists)
    if not names and not operands and sys.stdin is not None and sys.stdin.isatty():
        return (_from_list(settings, (), (), named=False),), (), True
    # Standard input is read where nothing else is given, or by '-f -': in a loop or over ssh it is somebody else's.
    found = input_files.read(names or (() if operands else (STANDARD_INPUT,)), input_files.reading_options(given), operands)
    where = settings.text("source"), bundle_maker.platforms(settings)
    policy = given.text("probable") or "ask"
    images = bundle.images((*found.lines, *(found.probable if policy == "take" else ())), *where)
    made = _from_list(settings, images, found.paths, named=bool(names or operands))
    if policy == "ask":
        made = bundle_maker.with_candidates(made, (Candidate(image=bundle.image(line, 0, *where)) for line in found.probable))
    return (made,), found.paths, False


def _check_gate(command: str) -> None:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"this is no command: {error}", setting="gate") from error
    if command and not words:
        raise UsageError("this is no command: it is empty", setting="gate")


def _check(options: SaveOptions, shard: str) -> None:
    """What excludes each other."""
    if (options.lock or options.locked) and any(each.lock_file is None for each in options.bundles):
        raise UsageError("-lock and -locked need a list file (-f) or a definition (-config), beside which the lock lies")
    if options.lock and (options.locked or options.dry_run):
        other = "-locked" if options.locked else "-dry-run"
        raise UsageError(f"-lock and {other} exclude each other: a lock says what a save found and saved")
    if options.verify and options.dry_run:
        raise UsageError(
            "-verify and -dry-run exclude each other: what is damaged is packed again, and -dry-run packs nothing",
            tip="'image-tools verify PATH' only looks",
        )
    if options.json and not options.dry_run:
        raise UsageError("it goes with -dry-run", tip="-report FILE.json tells of a save", setting="json")
    if options.dry_run and options.interactive:
        raise UsageError("-dry-run needs a list, given with -f, to make a plan of")
    if options.report and len(options.bundles) > 1:
        raise _names_one_file("report")
    if shard and not options.locked:
        raise UsageError("it goes with -locked: only a lock says alike on every machine what is in which part", setting="shard")


def _only(bundles: tuple[Bundle, ...], name: str) -> tuple[Bundle, ...]:
    """The bundles with nothing but the images that lack something, by the file that ``load`` wrote. Raises InputError."""
    if not name:
        return bundles
    path = absolute(name, Path.cwd(), "only")
    missing = delta.read_missing(path)
    images = [tuple(image for image in each.images if str(image.reference) in missing.images) for each in bundles]
    lacking = sorted(set(missing.images) - {str(image.reference) for found in images for image in found})
    if lacking:
        raise InputError([f"{path}: {each} is not among the images to save" for each in lacking])
    return tuple(
        replace(each, images=found, candidates=(), carried=frozenset(missing.blobs))
        for each, found in zip(bundles, images, strict=True)
        if found
    )


def _names_one_file(setting: str) -> UsageError:
    return UsageError("it names one file, but there are several bundles", tip="choose one with -bundle", setting=setting)


def _check_files(bundle: Bundle, list_files: Sequence[Path], report: Path | None) -> None:
    """The failed list is removed when nothing failed, destination and report are replaced: none may be another's file."""
    destination, failed_list = bundle.output.destination, bundle.failed_list
    if failed_list in (destination, bundle.output.checksum_file, bundle.cache) or failed_list.is_dir():
        raise UsageError(
            f"{failed_list} is a folder, or what the bundle is written to", tip="name another file", setting="failed-list"
        )
    others = (destination, bundle.output.checksum_file, failed_list, bundle.lock_file, *list_files)
    if report is not None and (report in others or report.is_dir() or report.is_relative_to(bundle.cache)):
        raise UsageError(
            f"{report} is a folder, lies in the cache, or is another file of this run",
            tip="name another file",
            setting="report",
        )
    if destination in list_files or bundle.output.checksum_file in list_files:
        raise UsageError(f"{destination} would replace the image list", tip="name another file", setting="destination")


def _from_list(settings: Settings, images: tuple[BundleImage, ...], list_files: Sequence[Path], named: bool) -> Bundle:
    lock_file = list_files[0].with_name(f"{list_files[0].name}{image_lock.SUFFIX}") if list_files else None
    made = bundle_maker.make_bundle(settings, images, lock_file=lock_file)
    if not named and made.jobs > 1:
        log.warning("-j %d: images from standard input are copied one by one; '-f -' reads a list with all jobs", made.jobs)
        return replace(made, jobs=1)
    return made


def _from_definition(given: Given, settings: Settings) -> tuple[Bundle, ...]:
    if given.text("f"):
        raise UsageError("-f and -config exclude each other: the definition says what is in the bundle")
    from pipeline.config.definition import load

    names = [name for name in given.text("bundle").split(",") if name]
    definition = load(Path(given.text("config")), settings.absolute_values(), names)
    known = {each.name: each for each in definition.bundles}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{definition.path} has no bundle {', '.join(unknown)}; it has {', '.join(known)}")
    bundles = tuple(known[name] for name in names) or definition.bundles
    for key in ("destination", "failed-list"):
        if settings.given(key) and len(bundles) > 1:
            raise _names_one_file(key)
    return bundles
