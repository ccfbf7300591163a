"""Is a source whole? Is in a registry what it holds? Every fault is found, not the first, and each says which images it breaks.

In comes a path (``check``), or ``Contents`` and a registry (``compare``); out goes a ``Report``. Only a source of which nothing
can be told, as it is not there or not of a known format, is an exception.

    report          what was found                          source          re-hashing, and following every index
    hashing         volumes and blobs, side by side         registry        what a registry has of it
"""

from __future__ import annotations

from pipeline.reader.verify.findings import Fault, Report
from pipeline.reader.verify.registry import compare
from pipeline.reader.verify.source import check

__all__ = ["Fault", "Report", "check", "compare"]
