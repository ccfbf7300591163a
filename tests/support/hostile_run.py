"""Run commands on many files in one process, and say what each did and how much memory it took: ``python -m …`` FOLDER.

Prints one JSON object a line. The peak is that of the process until then, in MB.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

from pipeline.cli.main import main
from pipeline.core.errors import ImageToolsError
from pipeline.core.interruption import Interruption
from pipeline.reader.unpack import unpack

COMMANDS = {"archives": ("ls", "verify"), "tars": ("unpack",)}


def run(command: str, path: Path) -> tuple[int, str]:
    """Exit code and output."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        if command != "unpack":
            return main([command, str(path)]), output.getvalue()
        try:
            unpack(path, path.parent / f"{path.name}.d" / "into", Interruption())
        except ImageToolsError as error:
            return error.exit_code, str(error)
    return 0, output.getvalue()


def peak() -> int:
    """MB. (What getrusage says begins with what the parent had.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    kind, folder = sys.argv[1:]
    for path in sorted(Path(folder).glob("*.tar")):
        for command in COMMANDS[kind]:
            code, text = run(command, path)
            print(json.dumps({"file": path.name, "command": command, "code": code, "text": text, "peak": peak()}))
