"""Kill a save again and again, at random moments, until it completes; look at everything in between.

What must hold, whenever it is killed: every file in its place is whole; no process is left; a layer that has arrived is never
asked for again; the last run leaves nothing temporary and makes the very bytes of an undisturbed run.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.leftovers import Leftovers
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import run, spawn
from tests.system.save.saving import ARCHIVE, CACHE, PLAIN, lines, shell, temporary_files

LIST = Path("list.txt")


@dataclass
class Killing:
    """Figures over all that was done."""

    kills: int = 0
    saves: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    """What the run was doing when it was killed, by its last log line."""
    requests: int = 0
    """Of layers, in all runs."""
    leftovers: int = 0
    """Temporary files that were found after kills, and gone after the next complete run."""


def undisturbed(images: Sequence[PushedImage], arguments: Sequence[str]) -> tuple[bytes, float]:
    """The archive of a run that nobody kills, made elsewhere, and the seconds that it took."""
    folder = Path("undisturbed")
    folder.mkdir()
    (folder / LIST).write_text(lines(images))
    started = time.monotonic()
    result = run("save", "-f", LIST, PLAIN, *arguments, cwd=folder)
    assert result.code == 0, result
    return (folder / ARCHIVE).read_bytes(), time.monotonic() - started


def kill_until_complete(
    registry: Registry,
    images: Sequence[PushedImage],
    arguments: Sequence[str],
    expected: bytes,
    longest: float,
    chance: random.Random,
    most: int,
    figures: Killing,
) -> None:
    """One save, killed after up to ``longest`` seconds, ``most`` times at the most, in the current folder without a cache."""
    LIST.write_text(lines(images))
    layers = frozenset().union(*(each.layers for each in images))
    leftovers = Leftovers()
    asked: Counter[str] = Counter()
    for number in range(most + 1):
        arrived = _whole_blobs()
        before = leftovers.snapshot()
        registry.clear_requests()
        with spawn("save", "-f", LIST, PLAIN, *arguments) as running:
            limit = time.monotonic() + (chance.uniform(0.2, longest) if number < most else 120)
            while running.running and time.monotonic() < limit:
                time.sleep(0.002)
            killed = running.running
            running.signal(signal.SIGKILL)
            result = running.wait()
        left = leftovers.since(before)
        assert not left, f"orphans: {left}"
        requests = Counter(request.reference for request in registry.blob_gets if request.reference in layers)
        asked += requests
        figures.requests += sum(requests.values())
        again = {digest for digest in requests if digest[7:] in arrived}
        assert not again, f"asked for again: {again}"
        assert max(requests.values(), default=0) <= 1, "a layer twice in one run"
        _check_json()
        if not killed:
            assert result.code == 0, result
            break
        figures.kills += 1
        figures.leftovers += len(temporary_files(Path()))
        figures.acts[_act(result.stderr)] += 1
    assert set(asked) == layers
    assert ARCHIVE.read_bytes() == expected, "not as undisturbed"
    assert not temporary_files(Path())
    shell(f"sha256sum -c {ARCHIVE}.sha256")
    figures.saves += 1


def _whole_blobs() -> frozenset[str]:
    """The blobs that are in their place; all of them must be whole."""
    folder = CACHE / "share" / "sha256"
    found = [path for path in (folder.iterdir() if folder.is_dir() else ()) if not path.name.startswith(".tmp-")]
    for path in found:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, f"{path} is not whole"
    return frozenset(path.name for path in found)


def _check_json() -> None:
    for folder, names, filenames in os.walk(CACHE):
        names[:] = [name for name in names if not name.startswith(".tmp-")]
        for name in filenames:
            if name.endswith(".json") and not name.startswith(".tmp-"):
                json.loads(Path(folder, name).read_bytes())


def _act(log: str) -> str:
    for word, act in (("writing", "packing"), ("cop", "copying"), ("resolv", "resolving")):
        if f" {word}" in log:
            return act
    return "starting or resolving"
