"""The commands of the other side: what is done with a bundle once it has been carried over.

Each is a module with the flags it knows, the help it prints, and ``run``: arguments in, exit code out. They read arguments,
call the stage or the run that does the work, and print what it found.

    load      bring it into a registry          verify    is all of it intact? is it in that registry?
    ls        what is in it                     serve     a read-only registry straight from it
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import cast


def run(command: str, arguments: Sequence[str]) -> int:
    """Run ``load``, ``ls``, ``verify`` or ``serve``. Its exit code. Raises ImageToolsError."""
    return cast("int", import_module(f".{command}", __name__).run(arguments))
