"""Map a function over items in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")
_AHEAD = 64
"""Items for each thread that wait for their turn."""


def in_parallel(work: Callable[[_T], _R], items: Iterable[_T], jobs: int) -> list[_R]:
    """The results in order. What is raised first ends it, without what has not begun. Log lines say what they are about."""
    results: list[_R] = []
    waiting: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for item in items:
                # A future takes a KiB, and an archive may have 100,000 blobs.
                if len(waiting) >= jobs * _AHEAD:
                    results.append(waiting.popleft().result())
                waiting.append(pool.submit(copy_context().run, work, item))
            results += [future.result() for future in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results
