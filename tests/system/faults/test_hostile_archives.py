"""Small archives that claim a lot: each ends in one clear error, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_archives import FORMATS, Format, archives, tars, write
from tests.support.run import ROOT

MEMORY = 120
"""MB, of which Python and the program take thirty."""
HARMLESS = {"links in a ring", "ten thousand headers in a row", "a pax header of digits", "zeros"}
"""Tars with nothing wrong in what is unpacked of them."""


def run_all(kind: str, folder: Path, cases: Iterable[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """Run the commands on all of ``cases`` in one process. What they did, with the name of the case."""
    names = {write(folder, number, data).name: name for number, (name, data) in enumerate(cases)}
    command = [sys.executable, "-m", "tests.support.hostile_run", kind, str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {each["file"] for each in found} == set(names)
    for each in found:
        each["name"] = names[each["file"]]
    return found


def check(result: dict[str, Any]) -> None:
    assert result["peak"] < MEMORY, result
    assert 0 < len(result["text"]) < 2000, result
    assert "Traceback" not in result["text"] and "should not happen" not in result["text"], result
    assert result["file"] in result["text"], result


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.codec)
def test_archives(form: Format, tmp_path: Path) -> None:
    for result in run_all("archives", tmp_path, archives(form)):
        assert result["code"] in (1, 3), result
        check(result)


def test_tars(tmp_path: Path) -> None:
    for result in run_all("tars", tmp_path, tars()):
        if result["name"] in HARMLESS:
            assert result["code"] in (0, 3), result
            continue
        assert result["code"] == 3, result
        check(result)
    assert not list(tmp_path.glob("*.d/*/*")), "only what is harmless stays"
