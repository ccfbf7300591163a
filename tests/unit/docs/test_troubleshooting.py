"""docs/troubleshooting.md: every message that the program has is in it, and no other."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pipeline.core.errors import Cause
from tests.support.run import ROOT

DOCUMENT = ROOT / "docs" / "troubleshooting.md"
HOLE = "…"
MAKERS = re.compile(r"\w*(Error|EnvironmentProblem|GivenUp)|dodo_problem")
"""What makes an error that a user may see; Python's own are none of ours."""
PYTHONS = {
    "AssertionError",
    "ConnectionError",
    "TimeoutError",
    "ValueError",
    "OSError",
    "KeyError",
    "TypeError",
    "RuntimeError",
    "FileNotFoundError",
}


def text_of(node: ast.expr) -> str:
    """A message with holes where its values go."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) for value in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.List):
        return "\n".join(map(text_of, node.elts))
    return HOLE


def message_of(call: ast.Call) -> str:
    """As a user sees it: the message and its tip."""
    tips = [text_of(keyword.value) for keyword in call.keywords if keyword.arg == "tip"]
    return "\nTIP: ".join([text_of(call.args[0]), *tips])


@cache
def nodes() -> dict[Path, list[ast.AST]]:
    """All of the program's source."""
    return {path: list(ast.walk(ast.parse(path.read_text()))) for path in sorted((ROOT / "pipeline").rglob("*.py"))}


@cache
def messages() -> dict[str, str]:
    """Every message in the program, by where it is made. Those whose words all come from elsewhere are left out."""
    found: dict[str, str] = {}
    for path, all_of_it in nodes().items():
        for node in all_of_it:
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if isinstance(node, ast.Call) and node.args and MAKERS.fullmatch(name) and name not in PYTHONS:
                text = message_of(node)
                if re.search(r"\w{2}", text.replace(HOLE, "").replace("\nTIP: ", "")):
                    found[f"{path.relative_to(ROOT)}:{node.lineno}"] = text
    return found


@cache
def documented() -> tuple[str, ...]:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    cells = [re.split(r" \| ", row.removeprefix("| "))[0] for row in rows]
    return tuple(text.replace("\\n", "\n") for cell in cells for text in re.findall(r"`((?:[^`])+)`", cell))


@cache
def pieces(entry: str) -> tuple[str, ...]:
    return tuple(piece for piece in re.split(rf"\s*{HOLE}\s*", entry) if re.search(r"\w", piece))


def matches(entry: str, message: str) -> bool:
    """Whether the words of the entry stand in the message, in their order. Holes fit anything, so they need not be equal."""
    at = 0
    for piece in pieces(entry):
        found = message.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return at > 0


def test_every_message_is_there() -> None:
    lacking = [f"{place}: {text}" for place, text in messages().items() if not any(matches(e, text) for e in documented())]
    assert not lacking, "put these into docs/troubleshooting.md:\n" + "\n".join(lacking)


def test_every_cause_is_there() -> None:
    assert {cause.value for cause in Cause if cause is not Cause.UNKNOWN} <= set(documented())


def test_nothing_else_is_there() -> None:
    source = {*_literals(), *messages().values()}
    worded = [entry for entry in documented() if re.search(r"\w", entry.replace(HOLE, ""))]
    gone = [entry for entry in worded if not any(matches(entry, text) for text in source)]
    assert not gone, "the program does not say these:\n" + "\n".join(gone)


def _literals() -> Iterator[str]:
    for node in itertools.chain.from_iterable(nodes().values()):
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
            text = text_of(node)
            if text != HOLE:
                yield text
