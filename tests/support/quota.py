"""A registry with a quota, as Docker Hub has one: GETs of manifests count, HEADs and blobs do not.

It stands before a plain registry. Once the quota of a window is used up, a GET of a manifest is answered with 429, without
``Retry-After`` and without the headers that tell how much is left. Windows begin when the test says so.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from tests.support.proxy import Fault, FaultProxy, Status

WINDOW = 21600
REFUSAL = "You have reached your pull rate limit. You may increase the limit by authenticating and upgrading"


class QuotaProxy(FaultProxy):
    """``left`` is how many GETs this window still has; ``gets`` how many were served in all, ``refused`` how many were not."""

    def __init__(self, upstream: str, limit: int, window: int = WINDOW) -> None:
        self.limit = self.left = limit
        self.window = window
        self.gets = 0
        self.refused = 0
        self.tells = True
        """Whether answers say how much is left."""
        self._quota_lock = threading.Lock()
        super().__init__(upstream)

    def __enter__(self) -> QuotaProxy:
        return self

    def next_window(self, limit: int | None = None) -> None:
        with self._quota_lock:
            self.limit = self.left = self.limit if limit is None else limit

    def take(self, method: str, path: str) -> Fault | None:
        fault = super().take(method, path)
        if fault is not None or method != "GET" or "/manifests/" not in path:
            return fault
        with self._quota_lock:
            if self.left == 0:
                self.refused += 1
                return Status(429, text=REFUSAL)
            self.left -= 1
            self.gets += 1
        return None

    def headers_of(self, method: str, path: str, status: int) -> Mapping[str, str]:
        if not self.tells or "/manifests/" not in path:
            return {}
        with self._quota_lock:
            return {
                "ratelimit-limit": f"{self.limit};w={self.window}",
                "ratelimit-remaining": f"{self.left};w={self.window}",
            }
