"""Which certificates are trusted for a host, and shown to it: those that skopeo would use.

The system's authorities, the ``*.crt`` in ``-cert-dir`` or, without it, in the folder of the host below ``certs.d``, and the
client certificates (``*.cert`` with its ``*.key``) that lie there.

Source: containers-certs.d(5).
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

from pipeline.core.errors import EnvironmentProblem

_SYSTEM = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


class Certificates:
    """TLS contexts, one for each set of folders: reading the system's authorities takes 20 ms. Thread-safe."""

    def __init__(self, cert_dir: Path | None) -> None:
        self._cert_dir = cert_dir
        self._lock = threading.Lock()
        self._contexts: dict[tuple[str, str, bool], ssl.SSLContext] = {}

    def context(self, registry: str, host: str, insecure: bool) -> ssl.SSLContext:
        """For ``host`` (or ``host:port``), to which ``registry`` may have led: its authorities are trusted there, too.

        An ``insecure`` one may have any certificate. Raises EnvironmentProblem for a file that cannot be read.
        """
        with self._lock:
            key = (registry, host, insecure)
            if key not in self._contexts:
                self._contexts[key] = self._make(registry, host, insecure)
            return self._contexts[key]

    def _make(self, registry: str, host: str, insecure: bool) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for name in dict.fromkeys((host, registry)):
            for folder in self._folders(name):
                _load(context, folder, with_client=name == host)
        return context

    def _folders(self, host: str) -> list[Path]:
        if self._cert_dir:
            return [self._cert_dir]
        return [folder / host for folder in (Path.home() / ".config" / "containers" / "certs.d", *_SYSTEM)]


def _load(context: ssl.SSLContext, folder: Path, with_client: bool) -> None:
    for path in sorted(folder.glob("*")):
        try:
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            elif with_client and path.suffix == ".cert" and path.with_suffix(".key").exists():
                context.load_cert_chain(path, path.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise EnvironmentProblem(f"{path} is not a certificate that can be used: {error}") from error
