"""Files of checksums: what ``sha256sum`` writes is read, and it reads what is written."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from pipeline.storage import checksums

NAMES = ["a", "with space", "back\\slash", "new\nline", "-dash", "ünï"]


@pytest.mark.parametrize("name", NAMES)
def test_both_ways(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(name.encode())
    sums = {name: hashlib.sha256(name.encode()).hexdigest()}
    (tmp_path / "sums").write_bytes(checksums.dump(sums.items()))
    assert checksums.read(tmp_path / "sums") == sums
    subprocess.run(["sha256sum", "-c", "--strict", "sums"], cwd=tmp_path, check=True, capture_output=True)
    made = subprocess.run(["sha256sum", "--", name], cwd=tmp_path, check=True, capture_output=True).stdout
    assert made == checksums.dump(sums.items())


def test_what_does_not_count(tmp_path: Path) -> None:
    digest = "0" * 64
    (tmp_path / "sums").write_bytes(f"{digest}  ../outside\n{digest} *binary\nnonsense\n{digest[1:]}  short\n".encode())
    assert checksums.read(tmp_path / "sums") == {"binary": digest}
    assert checksums.read(tmp_path / "absent") == {}
