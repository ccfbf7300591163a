"""``image-tools load -s SOURCE -d REGISTRY``: bring what was saved into a registry."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.acts.load.options import HarborOptions, LoadOptions, LoadResult
from pipeline.cli.arguments import (
    ACCESS,
    DEBUG,
    JSON,
    LOG_FILE,
    LOG_FORMAT,
    ONLY,
    PROGRESS,
    QUIET,
    REPORT,
    REQUIRE_SLIP,
    chosen,
    print_json,
    print_lines,
    report_file,
    slip_signers,
    source,
)
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.harbor_flags import PROJECT, default_project
from pipeline.cli.lists import input_files
from pipeline.cli.signals import stopping
from pipeline.config import bundle_maker
from pipeline.config.flag import Flag
from pipeline.config.inputs import Options
from pipeline.config.settings import absolute, rows
from pipeline.core.amounts import bytes_text, duration_text
from pipeline.core.bundle import name_of
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SIGNAL, EXIT_SOME_FAILED, ImageToolsError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.reference import Reference, parse_source
from pipeline.registry.login import environment_login
from pipeline.storage import locks
from pipeline.storage.inventory import SUFFIX
from pipeline.storage.parity import base_of
from pipeline.ui.terminal import Failure, how_to_go_on, print_failures, referrers_text, show_progress

if TYPE_CHECKING:
    from pipeline.acts.load.run import Load

DEFAULT_FAILED_LIST = "load-failed.txt"
MISSING = "missing.json"
"""What the base of a delta turned out to lack."""
KINDS = ("gzip", "zstd", "dir")
AGAIN = "Run the same command again to go on: it repeats nothing that is done."


def _run(given: Given, operands: tuple[str, ...]) -> int:
    options, report = read(given, operands), report_file(given)
    if report is not None:
        _check_report(report, options)
    from pipeline.acts.load.run import Load  # here: help and a wrong flag shall not wait for doit

    interruption = Interruption()
    with stopping(interruption), environment_login.logged_in(options.access, environment_login.login_of("DEST")) as access:
        options = replace(options, access=access)
        try:
            with (
                locks.lock_load(options.lock_file, wait=given.switch("wait"), sleep=interruption.sleep),
                locks.reading(options.source, sleep=interruption.sleep),
            ):
                return _load(
                    Load(options, interruption),
                    options,
                    given.text("progress"),
                    dry_run=given.switch("dry-run"),
                    is_quiet=given.switch("quiet"),
                    is_json=given.switch("json"),
                    report=report,
                )
        except ImageToolsError:
            if not interruption.requested:
                raise
    print(f"\nimage-tools: interrupted; what was loaded stays.\n{AGAIN}", file=sys.stderr)
    return EXIT_SIGNAL + interruption.signum


BODY = Body(
    run=_run,
    flags=(
        *ACCESS,
        Flag("cache", "", "folder for what load remembers or must unpack (default ~/.local/state/image-tools)", place="folder"),
        Flag("compress", "", "what SOURCE is, can be 'gzip', 'zstd' or 'dir' (default: that is seen)", choices=KINDS),
        Flag("d", "", "destination registry; host, host:port or host/path", long="destination"),
        DEBUG,
        PROJECT,
        Flag("dry-run", False, "ask the registry and print what would be loaded, but send nothing"),
        Flag("f", "", "load only the images in this list file", place="file", adds_up=True, long="file"),
        Flag("harbor-https", True, "use HTTPS for the API of Harbor"),
        JSON,
        *rows("jobs"),
        LOG_FILE,
        LOG_FORMAT,
        ONLY,
        QUIET,
        REPORT,
        Flag("receipt", "", "file that says what is there then, for -base of save (default SOURCE.receipt.json)", place="file"),
        REQUIRE_SLIP,
        Flag("o", DEFAULT_FAILED_LIST, "file name of the load failed image list", place="file", long="failed-list"),
        PROGRESS,
        Flag("repo-type", "", "repository type, can be 'harbor': missing projects are made", choices=("harbor",)),
        Flag(
            "s",
            "",
            "saved images: an archive, one of its volumes or what they have in common, or a folder",
            place="file",
            long="source",
        ),
        Flag("sign", "", "sign the receipt with this SSH key (a public one, where an agent has the private one)", place="file"),
        Flag("wait", False, "wait while another run loads the same"),
    ),
    examples=(
        "image-tools load -s saved-images.tar.gz -d registry.internal:5000",
        "image-tools load -s saved-images.tar.gz.part0 -d harbor.internal -repo-type harbor -j 8",
        "image-tools load -s saved-image-cache -d registry.internal/mirror -dry-run",
    ),
    takes_files=True,
    tells_exit_codes=True,
    about="SOURCE may be given as -s SOURCE, too.",
)


def read(given: Given, operands: tuple[str, ...] = ()) -> LoadOptions:
    """The options that the flags give, and SOURCE. Raises UsageError, InputError."""
    if given.text("s") or len(operands) > 1:
        for extra in operands if given.text("s") else operands[1:]:
            raise UsageError(f"'{extra}' is one SOURCE too many", tip="load one archive or folder after the other")
    saved = given.text("s") or (operands[0] if operands else "")
    destination = given.text("d") or environment_login.registry_of("DEST")
    for flag, value, what in (
        ("s", saved, "what is to be loaded"),
        ("d", destination, "the registry to load it into"),
    ):
        if not value:
            raise UsageError(f"-{flag} is missing: {what}", tip="see 'image-tools load -h'")
    settings = chosen(given.only({*(row.name for row in ACCESS), "j"}))
    registry = parse_source(destination)
    place = source(saved)
    folder = _state_folder(given.text("cache"))
    # One memory for each pair of source and target: the same volumes may go to several registries.
    tag = hashlib.sha256(registry.encode()).hexdigest()[:8]
    failed_list = absolute(given.text("o"), Path.cwd(), "o")
    lists = given.texts("f")
    if failed_list.is_dir() or failed_list == place.resolve():
        raise UsageError(f"{failed_list} is a folder, or what is to be loaded", tip="name another file with -o", setting="o")
    return LoadOptions(
        source=place,
        registry=registry,
        access=bundle_maker.access(settings),
        jobs=settings.number("jobs"),
        failed_list=failed_list,
        receipt=_receipt(given.text("receipt"), place),
        missing=absolute(MISSING, Path.cwd()),
        sign=_key(given.text("sign")),
        state=folder / "load" / f"{name_of(place.absolute())}-{tag}",
        compression=given.text("compress"),
        harbor=_harbor(given),
        only=_only(lists) if lists else None,
        list_files=tuple(absolute(name, Path.cwd(), "f") for name in lists),
        slip_signers=slip_signers(given),
        patterns=given.texts("only"),
    )


def _key(given: str) -> Path | None:
    path = absolute(given, Path.cwd(), "sign") if given else None
    if path is not None and not path.is_file():
        raise UsageError(f"{path}: there is no such file", tip="ssh-keygen -t ed25519 -f KEY makes one", setting="sign")
    return path


def _receipt(given: str, source: Path) -> Path:
    path = absolute(given or f"{base_of(source.absolute()).name}{SUFFIX}", Path.cwd(), "receipt")
    if path.is_dir() or path == source.resolve():
        raise UsageError(f"{path} is a folder, or what is to be loaded", tip="name another file", setting="receipt")
    return path


def _check_report(report: Path, options: LoadOptions) -> None:
    others = (options.source.resolve(), options.failed_list, options.receipt, options.missing, *options.list_files)
    if report.is_dir() or report in others:
        raise UsageError(f"{report} is a folder, or another file of this run", tip="name another file", setting="report")


def _load(
    load: Load,
    options: LoadOptions,
    mode: str,
    *,
    dry_run: bool,
    is_quiet: bool,
    is_json: bool,
    report: Path | None,
) -> int:
    started = time.monotonic()
    load.open()
    with show_progress(mode, load.context.tracker.snapshot):
        load.check()
        load.prove()
        if not dry_run:
            load.push()
            load.read_back()
    if dry_run:
        plan = load.plan
        load.result.failures |= plan.damaged
        if report is not None:
            _write_report(load, report, planned=True)
        if is_json:
            failed = load.result.failures
            print_json({"registry": options.registry, "missing": dict(plan.missing), "size": plan.size, "failed": failed})
        else:
            print_lines(*(f"{name} -> {target}" for name, target in plan.missing.items()))
            print_failures(_failures(load.result, options))
            images = f"{len(plan.missing)} images"
            print_lines(f"to load            {images}, {bytes_text(plan.size)} at most: the registry may have some of it")
        return EXIT_SOME_FAILED if load.result.failures else EXIT_OK
    load.finish()
    result = load.result
    if report is not None:
        _write_report(load, report)
    seconds = time.monotonic() - started
    if is_json:
        print_json(_document(result, options, seconds))
    elif result.failures or not is_quiet:
        _print_summary(result, options, seconds, report)
    if not result.loaded:
        return EXIT_COULD_NOT
    return EXIT_SOME_FAILED if result.failures else EXIT_OK


def _write_report(load: Load, path: Path, *, planned: bool = False) -> None:
    from pipeline.cli import reports  # here: help shall not wait for doit

    reports.write_load(load, path, planned=planned)


def _print_summary(result: LoadResult, options: LoadOptions, seconds: float, report: Path | None) -> None:
    print_lines(*_lines(result, options, seconds))
    if result.failures:
        failures = _failures(result, options)
        print_lines("", f"failed {len(failures)}, listed in {options.failed_list}:")
        print_failures(failures)
        print_lines("", how_to_go_on(failures, AGAIN))
    if report:
        print_lines(f"report: {report.name}")


def _document(result: LoadResult, options: LoadOptions, seconds: float) -> dict[str, Any]:
    """The summary, for programs. ``sent`` in bytes."""
    return {
        "source": str(options.source),
        "registry": options.registry,
        "pushed": result.pushed,
        "there": result.there,
        "failed": result.failures,
        "sent": result.sent,
        "seconds": round(seconds, 3),
        "receipt": str(options.receipt) if result.loaded and options.receipt else None,
    }


def _lines(result: LoadResult, options: LoadOptions, seconds: float) -> Iterator[str]:
    loaded, all_of_them = [*result.pushed, *result.there], [*result.pushed, *result.there, *result.failures]
    referrers = sum(name in result.referrers for name in loaded)
    total = sum(name in result.referrers for name in all_of_them)
    more = referrers_text(f"{referrers} of {total}" if total else 0)
    images = f"loaded {len(loaded) - referrers} of {len(all_of_them) - total} images{more}"
    yield ""
    yield f"{images} into {options.registry}: {len(result.there)} were there already"
    rate = f", {bytes_text(result.sent / seconds)}/s" if result.sent and seconds >= 0.05 else ""
    yield f"sent {bytes_text(result.sent)} in {duration_text(seconds)}{rate}"
    if result.loaded and options.receipt is not None:
        yield f"receipt: {options.receipt.name}"


def _failures(result: LoadResult, options: LoadOptions) -> list[Failure]:
    registry = options.registry.partition("/")[0]
    return [Failure(name, registry, reason) for name, reason in result.failures.items()]


def _harbor(given: Given) -> HarborOptions | None:
    project = default_project(given)
    return HarborOptions(project, given.switch("harbor-https")) if project else None


def _only(names: Sequence[str]) -> frozenset[Reference]:
    return frozenset(line.reference for line in input_files.read(names, Options()).lines)


def _state_folder(given: str) -> Path:
    """``-cache``, or where programs keep what they remember (XDG Base Directory Specification): a stick may be read-only."""
    if given:
        return absolute(given, Path.cwd(), "cache")
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "image-tools"
