"""The edge to skopeo: the only importer of plumbum. Subprocesses start here and nowhere else.

In come references and folders, out go bytes that registries served, or ``RegistryError`` with a cause. Promises: each
skopeo runs in a session of its own, is killed with its whole group on an interruption, and dies with us where Linux can do
that; what can pass is tried again with growing pauses, what cannot is not; a registry that says "too many requests" slows
down all its workers together; no secret stands in an argument, a log line or an error.

skopeo 1.9.3 is the oldest that works. Its messages are all it tells about a failure, so they are classified here.
"""

from __future__ import annotations

import functools
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from plumbum import local

from .bundle import Access
from .errors import Cause, EnvironmentProblem, RegistryError
from .interruption import Interruption
from .logs import log
from .reference import Reference

OLDEST = (1, 9, 3)
INSTALL = "TIP: install it, e.g. 'apt-get install skopeo', 'dnf install skopeo' or 'brew install skopeo'"
INSPECT_TIMEOUT = 180.0
"""Seconds for a manifest or a config, of which none is large."""
VERSION_TIMEOUT = 30.0
"""Seconds for ``skopeo --version``, on a disk that sleeps, say."""
STALL_TIMEOUT = 180.0
"""Seconds without a single new byte, after which a copy is given up and tried again."""
MAX_PAUSE = 60.0
"""Seconds between two attempts at the most."""

_T = TypeVar("_T")

# In order: the first that matches wins. Texts of skopeo 1.9 to 1.22 and of the registries behind it.
_CAUSES: tuple[tuple[Cause, re.Pattern[str]], ...] = tuple(
    (cause, re.compile(pattern, re.IGNORECASE))
    for cause, pattern in (
        (Cause.RATE_LIMITED, r"toomanyrequests|too many requests|rate limit|\b429\b"),
        (Cause.CERTIFICATE, r"x509:|certificate|server gave HTTP response to HTTPS client|tls: "),
        (Cause.NOT_FOUND, r"manifest unknown|name unknown|blob unknown|not found|\b404\b"),
        (Cause.UNAUTHORIZED, r"unauthorized|authentication required|denied|forbidden|\b40[13]\b|invalid username/password"),
        (Cause.SERVER, r"\b50[0-9]\b|internal server error|bad gateway|service unavailable|gateway time-?out|unavailable"),
        (
            Cause.NETWORK,
            r"no such host|connection re(set|fused)|broken pipe|\bEOF\b|timed? ?out|network is unreachable|no route to host"
            r"|deadline exceeded|temporary failure|use of closed network connection|stream error|happened during read"
            r"|digest did not match|does not match|size mismatch|unexpected end of JSON|server misbehaving",
        ),
        (Cause.UNSUPPORTED, r"unsupported|not supported|unknown (MIME|media) type|unimplemented|no image found in"),
    )
)
# What people called things: an image named "certificate" or a tag "503" is no reason.
_NAMES = re.compile(r"\b(?:docker|https?)://[^\s\"]+|\boci:\S+|\b(?:manifest|tag) \S+ in \S+|\bregistry [^\s\"]+:(?=\s)")
_DISK = re.compile(r"no space left on device|disk quota exceeded|read-only file system")
_SECRETS = (
    (re.compile(r"(://)[^/\s\"]+@"), r"\1***@"),
    (re.compile(r"(https?://[^\s\"?]+)\?[^\s\"]+"), r"\1?***"),
    (re.compile(r"(authorization:?\s*\w+\s+)\S+", re.IGNORECASE), r"\1***"),
)
_FRAME = re.compile(r'^((Error parsing image name "[^"]*"|initializing source \S+): )+')
_LOG_LINE = re.compile(r'^time="[^"]*" level=(\w+) msg="?(.*?)"?$')


def classify(text: str) -> Cause:
    """Why skopeo failed, from what it said."""
    reason = _NAMES.sub(" ", text)
    return next((cause for cause, pattern in _CAUSES if pattern.search(reason)), Cause.UNKNOWN)


def redact(text: str) -> str:
    """``text`` without passwords, tokens and signed query strings."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


@dataclass
class Throttle:
    """Holds back all requests to a registry after it said that they are too many. Thread-safe."""

    interruption: Interruption
    _not_before: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, registry: str) -> None:
        while True:
            with self._lock:
                pause = self._not_before.get(registry, 0.0) - time.monotonic()
            if pause <= 0:
                return
            # Not all at once when it is over.
            self.interruption.sleep(pause + random.uniform(0, 0.5))

    def hold(self, registry: str, seconds: float) -> None:
        with self._lock:
            self._not_before[registry] = max(self._not_before.get(registry, 0.0), time.monotonic() + seconds)


class Skopeo:
    """Runs skopeo with one ``Access``. Safe to use from many threads. Raises EnvironmentProblem where it cannot run."""

    def __init__(self, access: Access, interruption: Interruption) -> None:
        self._access = access
        self._interruption = interruption
        self._throttle = Throttle(interruption)
        self._environment = _environment(access)
        self._program = find_program()

    def manifest(self, reference: Reference) -> bytes:
        """The raw manifest or index that ``reference`` names, byte for byte as served."""
        return self._retry(reference, lambda: self._inspect(reference, "--raw"))

    def config(self, reference: Reference) -> bytes:
        """The raw config blob of the image manifest that ``reference`` names."""
        return self._retry(reference, lambda: self._inspect(reference, "--config", "--raw"))

    def copy(self, reference: Reference, cache: Path, folder: str, shared: str, fresh: Callable[[], None]) -> None:
        """Copy one image manifest into the OCI layout ``folder``, its blobs into ``shared``, both relative to ``cache``.

        Relative, because skopeo splits ``oci:PATH:TAG`` at colons and the path to the cache may hold one. ``fresh`` is
        called before each attempt and must leave ``folder`` empty: skopeo appends to what it finds.
        """
        arguments = [
            *("copy", "--quiet", "--dest-oci-accept-uncompressed-layers"),
            *("--dest-shared-blob-dir", shared),
            *self._flags("--src-"),
            *(f"docker://{reference}", f"oci:{folder}"),
        ]

        def attempt() -> None:
            fresh()
            self._run(arguments, cwd=cache, watch=cache / folder)

        self._retry(reference, attempt)

    def _inspect(self, reference: Reference, *options: str) -> bytes:
        return self._run(["inspect", *options, *self._flags("--"), f"docker://{reference}"])

    def _flags(self, prefix: str) -> list[str]:
        flags = [] if self._access.tls_verify else [f"{prefix}tls-verify=false"]
        if self._access.authfile:
            flags += [f"{prefix}authfile", str(self._access.authfile)]
        if self._access.cert_dir:
            flags += [f"{prefix}cert-dir", str(self._access.cert_dir)]
        return flags

    def _retry(self, reference: Reference, attempt: Callable[[], _T]) -> _T:
        for number in range(1, self._access.retries + 2):
            self._throttle.wait(reference.registry)
            try:
                return attempt()
            except RegistryError as error:
                pause = min(MAX_PAUSE, 2.0 ** (number - 1)) * random.uniform(0.5, 1.0)
                if error.cause is Cause.RATE_LIMITED:
                    self._throttle.hold(reference.registry, pause * 4)
                if not error.cause.can_pass or number > self._access.retries:
                    raise
                log.warning("%s: %s; trying again in %.1f s (%d of %d)", reference, error, pause, number, self._access.retries)
                self._interruption.sleep(pause)
        raise AssertionError("unreachable")

    def _run(self, arguments: Sequence[str], cwd: Path | None = None, watch: Path | None = None) -> bytes:
        """Run skopeo once; its standard output. ``watch`` is a folder whose growth shows that data comes."""
        self._interruption.check()
        started = time.monotonic()
        process = self._start(arguments, cwd)
        with process, self._interruption.stopping(lambda: _kill(process)):
            try:
                (out, err), stalled = _communicate(process, watch)
            finally:
                _kill(process)
        log.debug("skopeo %s: exit %d, %.2f s", redact(shlex.join(arguments)), process.returncode, time.monotonic() - started)
        self._interruption.check()
        if process.returncode == 0:
            return out
        if stalled:
            raise RegistryError(Cause.STALLED.value, Cause.STALLED)
        message = _message(err.decode(errors="replace"))
        if _DISK.search(message):
            raise EnvironmentProblem(
                f"the disk of the cache takes no more; what was complete is kept\n{message}\n"
                "TIP: see to it (free some space, say) and run the same command again"
            )
        cause = classify(message)
        raise RegistryError(f"{cause.value}: {message}", cause)


    def _start(self, arguments: Sequence[str], cwd: Path | None) -> subprocess.Popen[bytes]:
        program, *first = self._program
        process: subprocess.Popen[bytes] = local[program].popen(
            [*first, *arguments],
            cwd=str(cwd) if cwd else None,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            new_session=True,
        )  # type: ignore[assignment]  # plumbum's class decodes nothing, whatever its annotation says
        return process


@functools.cache
def find_program() -> tuple[str, ...]:
    """The command that starts skopeo, checked once. Raises EnvironmentProblem when it is missing or too old."""
    path = shutil.which("skopeo")
    if path is None:
        raise EnvironmentProblem(f"skopeo is not installed, or not on the PATH\n{INSTALL}")
    try:
        result = subprocess.run(
            [path, "--version"], capture_output=True, errors="replace", check=False, timeout=VERSION_TIMEOUT
        )
        version, answer = result.stdout, redact(result.stderr.strip())
    except (OSError, subprocess.TimeoutExpired) as error:
        version, answer = "", str(error)
    match = re.search(r"version (\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        raise EnvironmentProblem(f"'{path} --version' does not answer as skopeo does: {answer}\n{INSTALL}")
    if tuple(map(int, match.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EnvironmentProblem(f"skopeo {'.'.join(match.groups())} is too old; {oldest} is the oldest that works\n{INSTALL}")
    setpriv = shutil.which("setpriv")
    # Rather than preexec_fn, which is not safe with threads. Without it (not Linux) only kill -9 leaves a child behind.
    return (setpriv, "--pdeathsig", "KILL", path) if setpriv and os.uname().sysname == "Linux" else (path,)


def _environment(access: Access) -> dict[str, str]:
    """Our environment, with the paths in it made absolute: skopeo runs in the cache, not where the user is."""
    environment = dict(os.environ)
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        if value := environment.get(name):
            path = Path(value).expanduser().absolute()
            if not path.exists() and not access.authfile:
                raise EnvironmentProblem(
                    f"{name} names {path}, which does not exist\nTIP: log in with 'skopeo login', or unset {name}"
                )
            environment[name] = str(path)
    return environment


def _communicate(process: subprocess.Popen[bytes], watch: Path | None) -> tuple[tuple[bytes, bytes], bool]:
    """Wait for the end of ``process``; kill it when nothing moves any more. Its output, and whether it was killed."""
    if watch is None:
        try:
            return process.communicate(timeout=INSPECT_TIMEOUT), False
        except subprocess.TimeoutExpired:
            _kill(process)
            return process.communicate(), True
    last, since = -1, time.monotonic()
    while True:
        try:
            return process.communicate(timeout=5.0), False
        except subprocess.TimeoutExpired:
            size = bytes_below(watch)
            if size != last:
                last, since = size, time.monotonic()
            elif time.monotonic() - since > STALL_TIMEOUT:
                _kill(process)
                return process.communicate(), True


def bytes_below(folder: Path) -> int:
    """Bytes in the files of ``folder``: skopeo's temporary blobs grow there."""
    total = 0
    try:
        for entry in os.scandir(folder):
            total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass
    return total


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole group: skopeo may have started a credential helper."""
    if process.returncode is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


def _message(text: str) -> str:
    """The reason in skopeo's output: its last fatal line, without the frame and the reference around it."""
    reason = ""
    for line in text.splitlines():
        match = _LOG_LINE.match(line.strip())
        if match is None or match[1] == "fatal":
            reason = match[2] if match else line.strip() or reason
    reason = _FRAME.sub("", redact(reason.replace('\\"', '"'))) or "skopeo failed without a word"
    return reason if len(reason) <= 500 else reason[:497] + "..."
