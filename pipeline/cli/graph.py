"""The flags of ``graph`` and what they do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import save_options
from pipeline.cli.go_flags import Flag, FlagSet, HelpWanted
from pipeline.config import settings
from pipeline.config.settings import SETTINGS
from pipeline.core import files
from pipeline.core.errors import EXIT_OK, UsageError
from pipeline.ui.graph.dot import dot
from pipeline.ui.graph.nodes import draw
from pipeline.ui.graph.svg import svg
from pipeline.ui.terminal import harmless, start_logging

SUFFIXES = (".svg", ".dot")
_ABOUT_IMAGES = {"arch", "os", "source", "cache", "destination", "compress", "part", "part-size"}
FLAGS = FlagSet(
    "graph",
    (
        *(Flag(each.flag, each.default, each.help) for each in SETTINGS if each.key in _ABOUT_IMAGES),
        Flag("bundle", "", "which bundles of the -config file, separate with ',' (default all)"),
        Flag("config", "", "bundle definition file (YAML)"),
        Flag("f", "", "image list file"),
        Flag("o", "", "file to write, as its name ends: '.svg' or '.dot' (default: DOT on standard output)"),
    ),
)
EXAMPLES = """
image-tools graph shows what a save with the same flags has done and has still to do. It asks no
registry: of an image that was never resolved, the platforms are not known yet.

Examples:
  image-tools graph -f rancher-images.txt -o graph.svg
  image-tools graph -config configs/rke2.yaml -bundle rke2 -o graph.dot
"""


def run(arguments: Sequence[str]) -> int:
    """Its exit code. Raises UsageError, InputError."""
    try:
        values, rest = FLAGS.parse(arguments)
    except HelpWanted:
        print(FLAGS.usage() + EXAMPLES, end="")
        return EXIT_OK
    start_logging()
    if not values.get("f") and not values.get("config"):
        raise UsageError("of which images?\nTIP: name a list with -f, or a definition with -config")
    target = settings.absolute(str(values["o"]), Path.cwd()) if values.get("o") else None
    if target is not None and target.suffix not in SUFFIXES:
        raise UsageError(f"-o {target.name}: the name must end in {' or '.join(SUFFIXES)}, which says what is written")
    wanted = save_options.read({name: value for name, value in values.items() if name != "o"}, rest)
    graph = draw(wanted.bundles)
    picture = svg(graph) if target is not None and target.suffix == ".svg" else dot(graph)
    if target is None:
        print(picture, end="")
    else:
        files.write_atomic(target, picture.encode())
        print(harmless(f"{target.name}: {graph.summary}"), file=sys.stderr)
    return EXIT_OK
