"""Where a command ends that did not come to its own end."""

from __future__ import annotations

import pytest

from pipeline.cli import catalogue
from pipeline.cli.main import main


def plainly(arguments: list[str]) -> int:
    raise KeyboardInterrupt


def while_a_class_is_made(arguments: list[str]) -> int:
    class Name:
        def __set_name__(self, owner: type, name: str) -> None:
            raise KeyboardInterrupt

    type("Made", (), {"it": Name()})
    return 0


@pytest.mark.parametrize("run", [plainly, while_a_class_is_made])
def test_ctrl_c_before_the_work(run: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Imports make classes, and a third of the start is imports."""
    monkeypatch.setattr(catalogue, "run", run)
    assert main(["save"]) == 130
    assert capsys.readouterr().err == "\nimage-tools: interrupted\n"
