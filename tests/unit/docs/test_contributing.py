"""CONTRIBUTING.md: what it names is there, and what must stand in one place does."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.run import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
COMMANDS = [line.partition("  #")[0].strip() for line in TEXT.splitlines() if line.startswith("grep ")]


def test_every_path_is_there() -> None:
    named = set(re.findall(r"`((?:pipeline|tests|docs|benchmarks|configs)/[\w./-]*)`", TEXT))
    assert len(named) > 15
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_it_stands_in_one_place(command: str) -> None:
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert len(done.stdout.split()) == 1, done.stdout + done.stderr


def test_every_task_has_a_module_of_its_name() -> None:
    steps = {path.stem for path in (ROOT / "pipeline" / "steps").glob("*.py")}
    assert {"resolve", "referrers", "copy", "index", "tar", "compress", "split", "push"} <= steps
