"""``image-tools mirror -f LIST -d REGISTRY``: from registry to registry, without a bundle."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import DEBUG, LIST, LOG_FILE, LOG_FORMAT, PROGRESS, QUIET, chosen, print_lines
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.harbor_flags import PROJECT, default_project
from pipeline.cli.lists import input_files
from pipeline.cli.save.options import BUNDLE, CONFIG, read_bundles, with_source
from pipeline.cli.signals import stopping
from pipeline.config.flag import Flag, Value
from pipeline.config.settings import KEYS, rows
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import Bundle
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SIGNAL, EXIT_SOME_FAILED, ImageToolsError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.reference import Reference, parse, parse_source
from pipeline.registry.login import environment_login
from pipeline.ui.terminal import show_progress

if TYPE_CHECKING:
    from pipeline.acts.mirror import MirrorOptions, MirrorResult

_SETTINGS = rows(
    *("os", "source", "jobs", "authfile", "cert-dir", "tls-verify", "retry", "quota", "via"),
    *("referrers", "referrer-types", "require-signed"),
)
_OWN = (
    replace(KEYS["arch"], default="all"),
    replace(
        KEYS["cache"], default="mirror-cache", help="folder for what is on its way, and what a rerun needs not fetch again"
    ),
    replace(KEYS["failed-list"], default="mirror-failed.txt", help="file name of the failed image list"),
)


def _run(given: Given, operands: tuple[str, ...]) -> int:
    destination = given.text("d") or environment_login.registry_of("DEST")
    if not destination:
        raise UsageError("-d is missing: the registry to mirror to", tip="see 'image-tools mirror -h'")
    registry = parse_source(destination)
    bundle, list_files = _bundle(given, operands)
    names = _names(bundle, registry)
    interruption = Interruption()
    with stopping(interruption):
        try:
            return _mirror(given, bundle, registry, names, list_files, interruption)
        except ImageToolsError:
            if not interruption.requested:
                raise
    print("\nimage-tools: interrupted; run the same command again to go on: it repeats nothing that is done.", file=sys.stderr)
    return EXIT_SIGNAL + interruption.signum


def _bundle(given: Given, operands: tuple[str, ...]) -> tuple[Bundle, tuple[Path, ...]]:
    """One bundle whose result is its cache."""
    values: dict[str, Value] = {row.name: row.default for row in _OWN}
    values |= given.only({"config", *(row.name for row in (*_SETTINGS, *_OWN))})
    values["compress"] = "dir"
    if not operands and not given.texts("f") and not given.text("config"):
        raise UsageError("no images given", tip="name a list with -f")
    bundles, list_files, _ = read_bundles(given, chosen(with_source(values)), operands)
    if len(bundles) > 1:
        raise UsageError("there are several bundles", tip="choose one with -bundle", setting="bundle")
    return bundles[0], list_files


def _names(bundle: Bundle, registry: str) -> dict[Reference, Reference]:
    """What lists of mirrors (``SOURCE DEST TAG``) call images on the other side: in the registry of -d, whatever DEST names."""
    return {
        image.reference: parse(f"{image.destination}:{image.reference.tag}").at(registry)
        for image in bundle.images
        if image.destination
    }


def _mirror(
    given: Given,
    bundle: Bundle,
    registry: str,
    names: Mapping[Reference, Reference],
    list_files: tuple[Path, ...],
    interruption: Interruption,
) -> int:
    from pipeline.acts.load.options import HarborOptions  # here, as below: help shall not wait for it
    from pipeline.acts.mirror import Mirror, MirrorOptions
    from pipeline.cli.save import output as save_output

    project = default_project(given)
    with ExitStack() as stack:
        source = stack.enter_context(environment_login.logged_in(bundle.access, environment_login.login_of("SOURCE")))
        target = stack.enter_context(environment_login.logged_in(bundle.access, environment_login.login_of("DEST")))
        options = MirrorOptions(
            bundle=replace(bundle, access=source),
            registry=registry,
            target=replace(target, policy=None),
            state=_state(bundle, registry),
            harbor=HarborOptions(project, given.switch("harbor-https")) if project else None,
            names=names,
            list_files=list_files,
            wait=given.switch("wait"),
        )
        mode = given.text("progress")
        run = Mirror(options, interruption, save_output.announce, lambda tracker: show_progress(mode, tracker.snapshot))
        result = run.run()
    if result.failures or not given.switch("quiet"):
        print_lines(*_lines(result, options))
    if not result.brought and not result.there:
        return EXIT_COULD_NOT
    return EXIT_SOME_FAILED if result.failures else EXIT_OK


def _state(bundle: Bundle, registry: str) -> Path:
    """What the load of this mirror remembers; the cache is made by the save."""
    return bundle.cache / ".state" / "mirrors" / hashlib.sha256(os.fsencode(registry)).hexdigest()[:12]


def _lines(result: MirrorResult, options: MirrorOptions) -> Iterator[str]:
    done = len(result.brought) + len(result.there)
    yield ""
    there = f"{len(result.there)} were there already"
    yield f"mirrored {done} of {done + len(result.failures)} images into {options.registry}: {there}"
    yield f"fetched {bytes_text(result.fetched)}, sent {bytes_text(result.sent)}"
    if result.failures:
        yield ""
        yield f"failed {len(result.failures)}, listed in {options.bundle.failed_list}:"
        for name, reason in result.failures.items():
            yield f"  {name}: " + reason.replace("\n", "\n      ")


BODY = Body(
    run=_run,
    flags=(
        *_SETTINGS,
        *_OWN,
        BUNDLE,
        CONFIG,
        Flag("d", "", "destination registry; host, host:port or host/path", long="destination"),
        DEBUG,
        LIST,
        *input_files.READING_FLAGS,
        input_files.PROBABLE,
        PROJECT,
        Flag("harbor-https", True, "use HTTPS for the API of Harbor"),
        LOG_FILE,
        LOG_FORMAT,
        QUIET,
        PROGRESS,
        Flag("repo-type", "", "repository type, can be 'harbor': missing projects are made", choices=("harbor",)),
        Flag("wait", False, "wait while another run uses the cache"),
    ),
    takes_words=True,
    about="""
image-tools mirror brings images from registry to registry, with all their platforms and with the
digests that they have. What the destination has is neither fetched nor sent. A list may have lines
'SOURCE DEST TAG': DEST is then the name in the registry of -d.
""",
    examples=(
        "image-tools mirror -f rancher-images.txt -d registry.internal:5000 -j 10",
        "image-tools mirror nginx:1.27 -d harbor.internal -repo-type harbor",
    ),
)
