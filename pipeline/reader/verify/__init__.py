"""Is a source whole? Is in a registry what it holds? Every fault is found, not the first, and each says which images it breaks.

``check`` takes a path, ``compare`` takes ``Contents`` and a registry; both return a ``Report``. They raise only for a source
that is not there, or not of a known format.

    findings        faults and the report                   source          hash everything, follow every index
    hashing         volumes and blobs, side by side         registry        what a registry has of it
"""

from __future__ import annotations

from pipeline.reader.verify.findings import Fault, Report
from pipeline.reader.verify.hashing import Meter
from pipeline.reader.verify.registry import compare, lacking
from pipeline.reader.verify.source import check

__all__ = ["Fault", "Meter", "Report", "check", "compare", "lacking"]
