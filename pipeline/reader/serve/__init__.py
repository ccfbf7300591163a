"""A read-only registry: OCI distribution spec 1.1, pull and content discovery, straight from a source of blobs.

Takes a ``Source`` (``BundleSource``: an archive, its volumes or a folder; ``LayoutFolder``) and serves its images over HTTP, to
any number of clients at once. Content is streamed, never held in memory, and comes with the media type and the bytes it was
saved with: nothing is converted, whatever a client says it accepts. Writing is answered with 405.

Names: an image saved as ``docker.io/library/nginx:1.25`` is served as ``library/nginx:1.25``, the name it has on its
registry, and as ``docker.io/library/nginx:1.25``. Where two registries have the same name, the short one is the first
image's; containerd, which says by ``?ns=docker.io`` whose mirror it takes us for, gets the right one anyway.

Spec: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md, "Pull", "Content Discovery", "Error Codes".
"""

from __future__ import annotations

from pipeline.reader.serve.server import RegistryServer
from pipeline.reader.serve.source import BundleSource, LayoutFolder, Source

__all__ = ["BundleSource", "LayoutFolder", "RegistryServer", "Source"]
