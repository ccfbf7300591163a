"""One bundle of ``image-tools save``, from the lock to the summary. Loads doit and plumbum, so it is imported late."""

from __future__ import annotations

import shlex
from dataclasses import replace

from pipeline.acts.save import plan
from pipeline.acts.save.run import Save
from pipeline.acts.save.settle import settle
from pipeline.cli.arguments import print_json
from pipeline.cli.go_flags import Given
from pipeline.cli.save import output as save_output
from pipeline.cli.save import prompt
from pipeline.cli.save.options import SaveOptions
from pipeline.core import disk
from pipeline.core.bundle import Bundle
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SOME_FAILED
from pipeline.core.interruption import Interruption
from pipeline.registry.login import environment_login
from pipeline.storage.cache import Cache
from pipeline.ui.terminal import show_progress


def save_bundle(bundle: Bundle, options: SaveOptions, interruption: Interruption, given: Given) -> int:
    """Save one bundle. Returns the exit code. Raises ImageToolsError."""
    with environment_login.logged_in(bundle.access, environment_login.login_of("SOURCE")) as access:
        return _save(replace(bundle, access=access), options, interruption, given)


def _save(bundle: Bundle, options: SaveOptions, interruption: Interruption, given: Given) -> int:
    run = Save(bundle, interruption, save_output.announce, force=options.force, verify=options.verify)
    run.context.cache.check()
    disk.check_writable(run.context.cache.state)
    with run.locked(options.wait):
        run.start()
        if options.dry_run:
            return _plan(run, options)
        images = settle(run.context)
        if options.interactive:
            prompt.fetch_what_is_typed(run, options, interruption)
        else:
            run.remember(images)
        with show_progress(options.progress, run.context.tracker.snapshot):
            run.fetch(images)
            run.pack()
        run.finish(options.list_files)
        if options.lock:
            save_output.write_lock(run.context, run.result)
        if options.report is not None:
            save_output.write_report(run, options.report)
        code = _exit_code(run)
        if code != EXIT_OK or not given.switch("quiet"):
            save_output.print_summary(run, options.report, how_to_go_on(options, given))
    return code


def _plan(run: Save, options: SaveOptions) -> int:
    """``-dry-run``."""
    images = settle(run.context)
    with show_progress(options.progress, run.context.tracker.snapshot):
        order, needs = run.preview(images)
    if options.json:
        print_json(save_output.plan_document(run, order, needs))
    else:
        save_output.print_plan(run, order, needs)
    if options.report is not None:
        save_output.write_report(run, options.report, planned=True)
    plan.check_file_size(run.context.bundle, order)
    return _exit_code(run)


def _exit_code(run: Save) -> int:
    if not run.result.saved:
        return EXIT_SOME_FAILED if run.result.shortages else EXIT_COULD_NOT
    return EXIT_SOME_FAILED if run.result.failures else EXIT_OK


def how_to_go_on(options: SaveOptions, given: Given) -> str:
    """What to type after a run that is not complete: going on needs no typing of images."""
    if not options.list_files and len(options.bundles) == 1 and options.bundles[0].lock_file is None:
        (bundle,) = options.bundles
        kept = Cache(bundle.cache).bundle_state(bundle).kept_list
        if kept.exists():
            rest = [argument for argument in given.arguments if argument not in ("-f", "--f", "-", "-f=-", "--f=-")]
            command = shlex.join(["image-tools", "save", "-f", str(kept), *rest])
            return f"The list is kept; go on with\n  {command}\nIt repeats nothing that is done."
    return "Run the same command again to go on: it repeats nothing that is done."
