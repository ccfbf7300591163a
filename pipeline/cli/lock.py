"""``image-tools lock``: what every reference names, without a layer being fetched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.cli.arguments import DEBUG, LIST, LOG_FORMAT, PROGRESS, chosen, print_lines
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.lists import input_files
from pipeline.cli.save.options import BUNDLE, CONFIG, read_bundles, with_source
from pipeline.cli.signals import stopping
from pipeline.config.flag import Flag
from pipeline.config.settings import rows
from pipeline.config.shards import MAX_SHARDS, division
from pipeline.core.bundle import Bundle
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SOME_FAILED, ContentError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import SCHEMA1_TYPES
from pipeline.storage import image_lock

if TYPE_CHECKING:
    from pipeline.steps.images.chosen import ChosenImage

_SETTINGS = rows(
    *("arch", "os", "source", "jobs", "cache", "authfile", "cert-dir", "tls-verify", "retry", "quota", "via"),
    *("referrers", "referrer-types"),
)


def _run(given: Given, operands: tuple[str, ...]) -> int:
    if not given.text("f") and not given.text("config"):
        raise UsageError("no images given", tip="name a list with -f, or a definition with -config")
    bundles, _, _ = read_bundles(given, chosen(with_source(given.only({"config", *(row.name for row in _SETTINGS)}))))
    for bundle in bundles:
        if bundle.lock_file is None:
            raise UsageError("a lock lies beside a list file or a definition: standard input has no place for it")
    interruption = Interruption()
    with stopping(interruption):
        return max(_lock(bundle, given, interruption) for bundle in bundles)


def _lock(bundle: Bundle, given: Given, interruption: Interruption) -> int:
    from pipeline.acts.save.run import Save  # here, as below: help shall not wait for doit
    from pipeline.acts.save.settle import settle
    from pipeline.cli.save import output as save_output
    from pipeline.registry.login import environment_login
    from pipeline.ui import terminal

    with environment_login.logged_in(bundle.access, environment_login.login_of("SOURCE")) as access:
        run = Save(replace(bundle, access=access), interruption, save_output.announce)
        run.context.cache.check()
        with run.locked(given.switch("wait")):
            run.context.cache.prepare()
            with terminal.show_progress(given.text("progress"), run.context.tracker.snapshot):
                run.result.saved = run.resolve(settle(run.context))
            _refuse_what_is_converted(run.result.saved)
            save_output.write_lock(run.context, run.result)
    terminal.print_failures(terminal.failures_of(run.result.failures))
    if not run.result.failures:
        save_output.print_locked(run.context, run.result)
        if given.number("shards"):
            print_lines(*_division(bundle, given.number("shards")))
        return EXIT_OK
    return EXIT_SOME_FAILED if run.result.saved or run.result.shortages else EXIT_COULD_NOT


def _division(bundle: Bundle, count: int) -> Iterator[str]:
    """What each of so many machines would fetch."""
    from pipeline.core.amounts import bytes_text

    assert bundle.lock_file is not None, "it was written"
    found = division(image_lock.read(bundle.lock_file).images, count)
    for number, part in enumerate(found.parts, start=1):
        yield f"  -shard {number}/{count}  {len(part.images):5} images  {bytes_text(part.size):>10}  {part.requests:6} requests"
    twice = f"{bytes_text(found.twice)} ({found.twice / max(found.distinct, 1):.0%}) is fetched more than once"
    yield f"  the largest is {found.bytes_over:.2f} of an even share (or of the largest image); {twice}"


def _refuse_what_is_converted(chosen: Sequence[ChosenImage]) -> None:
    for item in chosen:
        if item.choice.top.media_type in SCHEMA1_TYPES:
            raise ContentError(
                f"{item.image.reference} is a Docker schema 1 image, which is converted as it is saved",
                tip="lock it with 'save -lock', which knows what it becomes",
            )


BODY = Body(
    run=_run,
    flags=(
        *_SETTINGS,
        BUNDLE,
        CONFIG,
        DEBUG,
        LIST,
        *input_files.READING_FLAGS,
        input_files.PROBABLE,
        LOG_FORMAT,
        PROGRESS,
        Flag("shards", 0, "also show what each of so many machines would fetch", minimum=0, maximum=MAX_SHARDS),
        Flag("wait", False, "wait while another run uses the cache or the destination"),
    ),
    about="""
image-tools lock writes the lock that 'save -lock' would write, beside the list or the definition:
what every reference names today. Manifests are fetched for it, and no layer; 'save -locked' saves
exactly that, on any machine, whatever the tags say then.
""",
    examples=(
        "image-tools lock -f rancher-images.txt -a amd64 -j 10",
        "image-tools lock -config configs/rke2.yaml",
        "image-tools lock -f rancher-images.txt -shards 3",
    ),
)
