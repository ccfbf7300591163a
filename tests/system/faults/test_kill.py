"""``kill -9`` at random moments; ``benchmarks/faults`` does so a hundred times over forty image/arches."""

from __future__ import annotations

import random
import shutil

from tests.support.registry import Registry
from tests.system.faults.killing import Killing, kill_until_complete, undisturbed
from tests.system.faults.test_requests import push_shared
from tests.system.save.saving import ARCHIVE, CACHE

SEED = 20261123
MOST = 8


def test_killed_until_it_completes(registry: Registry) -> None:
    images = push_shared(registry, 4, "kill")
    arguments = ("-j", "4")
    expected, seconds = undisturbed(images, arguments)
    figures = Killing()
    kill_until_complete(registry, images, arguments, expected, seconds, random.Random(SEED), MOST, figures)
    assert figures.saves == 1
    ARCHIVE.unlink()
    shutil.rmtree(CACHE)
