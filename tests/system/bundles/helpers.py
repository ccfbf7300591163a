"""Writing definitions, and running ``image-tools`` and plain ``doit`` on them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from pipeline.cli.main import main
from tests.support.registry import Registry
from tests.support.run import Result, run

DOIT = (sys.executable, "-m", "doit")
DODO = 'from pipeline.dodo import bundle_tasks\nglobals().update(bundle_tasks("*.yaml"))\n'
"""The two lines."""
FILE = Path("bundle.yaml")


def image_tools(*arguments: str | Path) -> Result:
    """``image-tools ARGUMENTS`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def save(*arguments: str | Path) -> Result:
    """A save by the definition in ``FILE``, of which nothing may fail."""
    result = image_tools("save", "-config", FILE, *arguments)
    assert result.code == 0, result
    return result


def doit(*arguments: str, cwd: Path | None = None, code: int = 0) -> Result:
    """Plain ``doit``, in a process of its own."""
    result = run(*arguments, cwd=cwd, command=DOIT)
    assert result.code == code, result
    return result


def write(text: str, path: Path = FILE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    return path


def define(registry: Registry, more: str = "", path: Path = FILE, jobs: int = 4, **bundles: Iterable[str]) -> Path:
    """A definition of bundles (name to images) on a registry without TLS; ``more`` are further defaults."""
    defaults = f'defaults: {{tls-verify: false, source: "{registry.host}", jobs: {jobs}{more}}}\n'
    lines = [f"  {name}:\n    images: [{', '.join(images)}]\n" for name, images in bundles.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{defaults}bundles:\n{''.join(lines)}")
    return path


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def done(result: Result, *, but: tuple[str, ...] = ("probe", "resolve", "fetch")) -> list[str]:
    """The tasks that a doit run executed, without those of some groups."""
    names = [line[3:] for line in result.stdout.splitlines() if line.startswith(".  ")]
    return [name for name in names if name.partition(":")[0] not in but]
