"""``image-tools graph``: what a save with the same flags has done, and has still to do, as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.cli.arguments import LIST, chosen
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.lists.input_files import PROBABLE, READING_FLAGS
from pipeline.cli.save.options import BUNDLE, CONFIG, read_bundles, with_source
from pipeline.config.flag import Flag
from pipeline.config.settings import KEYS, SETTINGS, absolute
from pipeline.core import files
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.ui.graph.dot import dot
from pipeline.ui.graph.nodes import draw
from pipeline.ui.graph.svg import svg
from pipeline.ui.terminal import harmless

SUFFIXES = (".svg", ".dot")
_SETTINGS = tuple(setting for setting in SETTINGS if setting is not KEYS["failed-list"])
"""-o names the picture here."""


def _run(given: Given, operands: tuple[str, ...]) -> int:
    if not given.text("f") and not given.text("config"):
        raise UsageError("no images given", tip="name a list with -f, or a definition with -config")
    target = absolute(given.text("o"), Path.cwd(), "o") if given.text("o") else None
    if target is not None and target.suffix not in SUFFIXES:
        problem = f"{target.name}: the name must end in {' or '.join(SUFFIXES)}, which says what is written"
        raise UsageError(problem, setting="o")
    bundles, _, _ = read_bundles(given, chosen(with_source(given.only({"config", *(setting.name for setting in _SETTINGS)}))))
    graph = draw(bundles)
    picture = svg(graph) if target is not None and target.suffix == ".svg" else dot(graph)
    if target is None:
        print(picture, end="")
    else:
        files.write_atomic(target, picture.encode())
        print(harmless(f"{target.name}: {graph.summary}"), file=sys.stderr)
    return EXIT_OK


BODY = Body(
    run=_run,
    flags=(
        *_SETTINGS,
        BUNDLE,
        CONFIG,
        LIST,
        *READING_FLAGS,
        PROBABLE,
        Flag("o", "", "file to write, as its name ends: '.svg' or '.dot' (default: DOT on standard output)", place="file"),
    ),
    about="""
image-tools graph shows what a save with the same flags has done and has still to do. It asks no
registry: of an image that was never resolved, the platforms are not known yet.
""",
    examples=(
        "image-tools graph -f rancher-images.txt -o graph.svg",
        "image-tools graph -config configs/rke2.yaml -bundle rke2 -o graph.dot",
    ),
)
