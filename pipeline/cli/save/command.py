"""``image-tools save``: the flags become bundles, each is saved, and the result is an exit code."""

from __future__ import annotations

import sys

from pipeline.cli import signals
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.save import options as save_options
from pipeline.core.errors import EXIT_SIGNAL, ImageToolsError
from pipeline.core.interruption import Interruption


def _run(given: Given, operands: tuple[str, ...]) -> int:
    options = save_options.read(given, operands)
    from pipeline.cli.save import bundle_run  # here: help, and what is wrong with flags and lists, shall not wait for doit

    interruption = Interruption()
    with signals.stopping(interruption):
        try:
            return max(bundle_run.save_bundle(bundle, options, interruption, given) for bundle in options.bundles)
        except ImageToolsError:
            if not interruption.requested:
                raise
    print("\nimage-tools: interrupted; what was fetched is kept.", file=sys.stderr)
    print(bundle_run.how_to_go_on(options, given), file=sys.stderr)
    return EXIT_SIGNAL + interruption.signum


BODY = Body(
    run=_run,
    flags=save_options.SAVE_FLAGS,
    groups=save_options.GROUPS,
    tells_exit_codes=True,
    takes_words=True,
    about="""
image-tools save [-f LIST] [IMAGE...] saves images into one bundle. IMAGE may stand before and after
flags, and adds to the lists of -f.
""",
    examples=(
        "image-tools save nginx:1.27 redis:7 -d web.tar.gz",
        "image-tools save -f rancher-images.txt",
        "image-tools save -f rancher-images.txt -j 10 -compress=zstd -part -part-size=4G",
        "image-tools save -f rancher-images.txt -a amd64 -s registry.example.com -dry-run",
        "image-tools save -f rancher-images.txt -a amd64 -referrers",
        "image-tools save -f rancher-images.txt -d /media/stick/rancher.tar.gz -report rancher.html",
    ),
)
