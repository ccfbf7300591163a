"""The flags of ``save`` become an ``SaveOptions``: bundles, and how this run treats them.

In come the arguments, out goes an ``SaveOptions``. The image list is read here; ``settings`` checks all the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.cli.go_flags import Flag, FlagSet, Value
from pipeline.config import digest_lock, settings
from pipeline.config.settings import SETTINGS, Settings
from pipeline.core import bundle, image_list
from pipeline.core.bundle import Bundle, BundleImage, PlatformFilter
from pipeline.core.errors import InputError, UsageError
from pipeline.core.image_list import Line
from pipeline.core.log import log
from pipeline.ui import terminal
from pipeline.ui.report import check_name

STANDARD_INPUT = "-"

SAVE_FLAGS = FlagSet(
    "save",
    (
        *(Flag(setting.flag, setting.default, setting.help) for setting in SETTINGS),
        Flag("bundle", "", "which bundles of the -config file to save, separate with ',' (default all)"),
        Flag("config", "", "bundle definition file (YAML); other flags override what it says"),
        Flag("debug", False, "enable the debug output"),
        Flag("dry-run", False, "resolve the images and print the plan with sizes, but fetch no layer"),
        Flag("f", "", "image list file"),
        Flag("force", False, "go on where the disk seems too small, and replace a bundle that holds more than the new one"),
        Flag("lock", False, "write the digests that were saved to a lock file beside the definition or list"),
        Flag("locked", False, "save exactly what the lock file says, whatever the tags say today"),
        Flag("log-format", "text", "format of the log lines, can be 'text' or 'json'"),
        Flag("progress", "auto", "how progress is shown, can be 'auto', 'rich', 'plain' or 'none'"),
        Flag("report", "", "write a report of the run to this file, as its name ends: '.html' or '.json'"),
        Flag("verify", False, "hash the finished files again, whatever their size and time say, and replace what is damaged"),
        Flag("wait", False, "wait while another run uses the cache or the destination"),
    ),
)


@dataclass(frozen=True)
class SaveOptions:
    """Bundles and how this run treats them. ``list_file`` is None where the list came from standard input."""

    bundles: tuple[Bundle, ...]
    list_file: Path | None
    platforms: PlatformFilter
    """For images that are still to be typed, as is ``source``."""
    source: str
    interactive: bool
    dry_run: bool
    force: bool
    lock: bool
    locked: bool
    verify: bool
    wait: bool
    progress: str
    report: Path | None


def start_logging(values: Mapping[str, Value]) -> None:
    """Raises UsageError for a format that there is not."""
    style = _one_of("log-format", values, terminal.FORMATS)
    terminal.start_logging(bool(values.get("debug")), style)


def _one_of(flag: str, values: Mapping[str, Value], valid: Sequence[str]) -> str:
    value = str(values.get(flag, valid[0]))
    if value not in valid:
        raise UsageError(f'invalid value "{value}" for -{flag}: use one of {", ".join(valid)}')
    return value


def read(values: Mapping[str, Value], rest: Sequence[str]) -> SaveOptions:
    """The order that the flags of ``save`` give. Raises UsageError, InputError."""
    if rest:
        raise UsageError(f"unexpected argument '{rest[0]}'\nTIP: an image list is given with -f, see 'image-tools save -h'")
    given = {setting.key: values[setting.flag] for setting in SETTINGS if setting.flag in values}
    chosen = Settings(given, Path.cwd())
    platforms, source = settings.platforms(chosen), settings.source(chosen)
    list_file, interactive = None, False
    if values.get("config"):
        bundles = _from_definition(values, chosen)
    else:
        if values.get("bundle"):
            raise UsageError("-bundle goes with -config: a list is one bundle")
        lines, list_file, interactive = _lines(str(values.get("f", "")))
        images = bundle.images(lines, source, platforms)
        bundles = (_from_list(values, chosen, images, list_file),)
    switches = {name: bool(values.get(name)) for name in ("force", "lock", "locked", "verify", "wait")}
    order = SaveOptions(
        bundles,
        list_file,
        platforms,
        source,
        interactive,
        bool(values.get("dry-run")),
        progress=_one_of("progress", values, terminal.MODES),
        report=_report(values),
        **switches,
    )
    if (order.lock or order.locked) and any(each.lock_file is None for each in bundles):
        raise UsageError("-lock and -locked need a list file (-f) or a definition (-config), beside which the lock lies")
    if order.lock and (order.locked or order.dry_run):
        other = "-locked" if order.locked else "-dry-run"
        raise UsageError(f"-lock and {other} exclude each other: a lock says what a save found and saved")
    if order.verify and order.dry_run:
        raise UsageError(
            "-verify and -dry-run exclude each other: what is damaged is packed again, and -dry-run packs nothing\n"
            "TIP: 'image-tools verify PATH' only looks"
        )
    if order.report and len(bundles) > 1:
        raise UsageError("-report names one file, but there are several bundles\nTIP: choose one with -bundle")
    for each in bundles:
        _check_files(each, list_file, order.report)
    return replace(order, bundles=digest_lock.apply(bundles)) if order.locked else order


def _report(values: Mapping[str, Value]) -> Path | None:
    if not values.get("report"):
        return None
    path = settings.absolute(str(values["report"]), Path.cwd())
    settings.refuse_device("-report", path)
    check_name(path)
    return path


def _check_files(bundle: Bundle, list_file: Path | None, report: Path | None) -> None:
    """The failed list is removed when nothing failed, destination and report are replaced: none may be another's file."""
    destination, failed_list = bundle.output.destination, bundle.failed_list
    if failed_list in (destination, bundle.output.checksum_file, bundle.cache) or failed_list.is_dir():
        raise UsageError(f"-o {failed_list} is a folder, or what the bundle is written to\nTIP: name another file with -o")
    others = (destination, bundle.output.checksum_file, failed_list, list_file, bundle.lock_file)
    if report is not None and (report in others or report.is_dir() or report.is_relative_to(bundle.cache)):
        what = "is a folder, lies in the cache, or is another file of this run"
        raise UsageError(f"-report {report} {what}\nTIP: name another file with -report")
    if list_file in (destination, bundle.output.checksum_file):
        raise UsageError(f"-d {destination} would replace the image list\nTIP: name another file with -d")


def _from_list(
    values: Mapping[str, Value], chosen: Settings, images: tuple[BundleImage, ...], list_file: Path | None
) -> Bundle:
    lock_file = list_file.with_name(f"{list_file.name}{digest_lock.SUFFIX}") if list_file else None
    made = settings.make_bundle(chosen, images, lock_file=lock_file)
    if not values.get("f") and made.jobs > 1:
        log.warning("-j %d: images from standard input are copied one by one; '-f -' reads a list with all jobs", made.jobs)
        return replace(made, jobs=1)
    return made


def _from_definition(values: Mapping[str, Value], chosen: Settings) -> tuple[Bundle, ...]:
    if values.get("f"):
        raise UsageError("-f and -config exclude each other: the definition says what is in the bundle")
    from pipeline.config.definition import load

    names = [name for name in str(values.get("bundle", "")).split(",") if name]
    definition = load(Path(str(values["config"])), chosen.absolute_values(), names)
    known = {each.name: each for each in definition.bundles}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{definition.path} has no bundle {', '.join(unknown)}; it has {', '.join(known)}")
    bundles = tuple(known[name] for name in names) or definition.bundles
    for key, flag in (("destination", "-d"), ("failed-list", "-o")):
        if chosen.given(key) and len(bundles) > 1:
            raise UsageError(f"{flag} names one file, but there are several bundles\nTIP: choose one with -bundle")
    return bundles


def _lines(name: str) -> tuple[tuple[Line, ...], Path | None, bool]:
    """The image list, the file it came from, and whether it is still to be typed."""
    if not name and sys.stdin is not None and sys.stdin.isatty():
        return (), None, True
    if name in ("", STANDARD_INPUT):
        data = sys.stdin.buffer.read() if sys.stdin is not None else b""
        return image_list.parse(data, "standard input"), None, False
    path = settings.absolute(name, Path.cwd())
    try:
        # Not path: '-f <(grep ...)' names a pipe, whose resolved name opens nothing.
        data = Path(name).expanduser().read_bytes()
    except OSError as error:
        raise InputError([f"cannot read the image list {name}: {error.strerror}"]) from error
    return image_list.parse(data, name), path, False
