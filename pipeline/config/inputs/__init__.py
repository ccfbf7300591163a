"""The files that people have images in: lists, Kubernetes YAML, charts, Compose, and the formats of other tools.

Takes a file or folder, returns a ``Reading``: every image that it names, with file, line and path, and how sure that is; and
what names no image, or cannot be told, each with its reason. Nothing is fetched, and nothing is dropped without a finding. A
file that is none of these, or is broken, huge or hostile, raises one ``InputError``.

``reader`` tells formats apart by content. A format has a module of its own, or a function in ``packagers``.
"""

from __future__ import annotations

from pipeline.config.inputs.finding import Certainty, Finding, Reading
from pipeline.config.inputs.options import Options
from pipeline.config.inputs.reader import FORMATS, read, read_bytes

__all__ = ["FORMATS", "Certainty", "Finding", "Options", "Reading", "read", "read_bytes"]
