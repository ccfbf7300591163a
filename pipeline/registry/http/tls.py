"""Which certificates are trusted for a host, and shown to it: those that skopeo would use.

The system's authorities, the ``*.crt`` in ``-cert-dir`` or, without it, in the folder of the host below ``certs.d``, and the
client certificates (``*.cert`` with its ``*.key``) that lie there.

Source: containers-certs.d(5).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.core.errors import EnvironmentProblem

_SYSTEM = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


class Certificates:
    """TLS contexts, one for each set of files: reading the system's authorities takes 20 ms. Thread-safe."""

    def __init__(self, cert_dir: Path | None) -> None:
        self._cert_dir = cert_dir
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str, bool], ssl.SSLContext] = {}
        self._made: dict[tuple[tuple[Path, ...], bool], ssl.SSLContext] = {}

    def context(self, registry: str, host: str, insecure: bool) -> ssl.SSLContext:
        """For ``host`` (or ``host:port``), to which ``registry`` may have led: its authorities are trusted there, too.

        An ``insecure`` one may have any certificate. Raises EnvironmentProblem for a file that cannot be read.
        """
        with self._lock:
            key = (registry, host, insecure)
            if key not in self._known:
                files = tuple(dict.fromkeys(self._files(registry, host)))
                if (files, insecure) not in self._made:
                    self._made[files, insecure] = _make(files, insecure)
                self._known[key] = self._made[files, insecure]
            return self._known[key]

    def _files(self, registry: str, host: str) -> Iterator[Path]:
        """Authorities, and the certificates that are shown to ``host`` itself, each with a key beside it."""
        for name in dict.fromkeys((host, registry)):
            for folder in self._folders(name):
                for path in sorted(folder.glob("*")):
                    is_shown = path.suffix == ".cert" and name == host and path.with_suffix(".key").exists()
                    if is_shown or path.suffix == ".crt":
                        yield path

    def _folders(self, host: str) -> list[Path]:
        if self._cert_dir:
            return [self._cert_dir]
        return [folder / host for folder in (Path.home() / ".config" / "containers" / "certs.d", *_SYSTEM)]


def _make(files: Sequence[Path], insecure: bool) -> ssl.SSLContext:
    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    for path in files:
        try:
            if path.suffix == ".cert":
                context.load_cert_chain(path, path.with_suffix(".key"))
            else:
                context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise EnvironmentProblem(f"{path} is not a certificate that can be used: {error}") from error
    return context
