"""What the tests' own HTTP servers have in common."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

POLL = 0.02
"""Seconds between two looks whether to stop."""


class HttpServer(ThreadingHTTPServer):
    """On loopback, a thread for each connection; it answers from ``start`` to ``close``."""

    daemon_threads = True
    request_queue_size = 128
    """With Python's five, the sixth of those who connect at once is heard a second later."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL,), daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections. May be called twice."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()

    def close(self) -> None:
        self.stop()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go away, are killed, or try TLS first: that is what the tests are for."""


class HttpHandler(BaseHTTPRequestHandler):
    """Keeps connections, sends at once, and says nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None: ...
