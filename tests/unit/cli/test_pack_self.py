"""The wheel that ``pack-self`` makes of what runs."""

from __future__ import annotations

import base64
import csv
import hashlib
import zipfile
from pathlib import Path

import pytest

import pipeline
from pipeline.cli.pack_self import wheels
from pipeline.cli.pack_self.command import _versions
from pipeline.core.errors import UsageError


def test_the_wheel_is_as_its_record_says(tmp_path: Path) -> None:
    wheels._make_own(tmp_path)
    [path] = tmp_path.glob("*.whl")
    assert path.name == f"image_tools-{pipeline.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as wheel:
        assert wheel.testzip() is None
        info = f"image_tools-{pipeline.__version__}.dist-info"
        rows = {row[0]: row[1:] for row in csv.reader(wheel.read(f"{info}/RECORD").decode().splitlines())}
        assert set(rows) == set(wheel.namelist())
        for name, (digest, size) in rows.items():
            if name != f"{info}/RECORD":
                data = wheel.read(name)
                found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
                assert (digest, int(size)) == (f"sha256={found}", len(data))
        assert "image-tools = pipeline.cli.main:main" in wheel.read(f"{info}/entry_points.txt").decode()
        assert f"Version: {pipeline.__version__}" in wheel.read(f"{info}/METADATA").decode()
        files = {name for name in wheel.namelist() if name.startswith("pipeline/")}
    root = Path(pipeline.__file__).parent
    assert {"pipeline/ui/report/page.html", "pipeline/cli/pack_self/install.sh", "pipeline/py.typed"} <= files
    assert files == {f"pipeline/{p.relative_to(root)}" for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        wheels._make_own(tmp_path / name)
    one, two = (next((tmp_path / name).iterdir()).read_bytes() for name in ("one", "two"))
    assert one == two


def test_what_it_needs() -> None:
    names = [requirement.split(";")[0] for requirement in wheels._requirements()]
    assert any(name.startswith("doit==") for name in names)
    assert any(name.startswith("tomli") for name in names), "for a Python that needs it, whichever runs this"
    assert not any(name.startswith(("pytest", "mypy")) for name in names)


@pytest.mark.parametrize("text", ["2.7", "3.9", "3", "3.11.2", "3.11,", "all"])
def test_versions_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError):
        _versions(text)


def test_versions() -> None:
    assert _versions("3.11,3.13,3.11") == ("3.11", "3.13")
