"""skopeo, run once for each request: bytes that a registry served, or ``RegistryError`` with a cause.

Promises: a running skopeo is killed on an interruption; what can pass is tried again with growing pauses, what cannot is not;
a registry that says "too many requests" slows down all its workers together, from its first such answer on; one that says
nothing, or too much, is cut off; no secret stands in an argument, a log line or an error.

skopeo 1.9.3 is the oldest that works. What its messages mean is in ``messages``.
"""

from __future__ import annotations

import functools
import os
import re
import selectors
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pipeline.core import process
from pipeline.core.amounts import bytes_text
from pipeline.core.bundle import Access
from pipeline.core.errors import Cause, ContentError, EnvironmentProblem, ImageToolsError, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.process import Process
from pipeline.core.redact import redact
from pipeline.core.reference import Reference
from pipeline.registry.retry import LONGEST_WAIT, Attempts, WrongBytes
from pipeline.registry.skopeo.messages import WRONG_BYTES, Words, check_local, classify, in_our_words, message_of, shortened
from pipeline.registry.throttle import GivenUp

OLDEST = (1, 9, 3)
INSTALL = "install it, e.g. 'apt-get install skopeo', 'dnf install skopeo' or 'brew install skopeo'"
INSPECT_TIMEOUT = 60.0
"""Seconds for a manifest or a config, of which none is large."""
VERSION_TIMEOUT = 30.0
"""Seconds for ``skopeo --version``, on a disk that sleeps, say."""
STALL_TIMEOUT = 120.0
"""Seconds without a single new byte, after which a copy is given up and tried again. Some mirrors fetch a whole layer before
they send its first byte."""
PUSH_TIMEOUT = 600.0
"""Seconds without a byte that goes out: a registry on an object store may need minutes for a large layer once it has it all."""
POLL = 1.0
"""Seconds between two looks at a running skopeo."""
MARGIN = 16 * 1024 * 1024
"""Bytes that a copy may write beyond the layers it lacks: manifests and configs."""

SHORT_LIVED = MappingProxyType({"GOGC": "off", "GOMAXPROCS": "1", "_CONTAINERS_ROOTLESS_UID": "1", "XDG_DATA_HOME": os.devnull})
"""For a skopeo that only reads manifests and configs: it has nothing to collect or to spread, which saves it a quarter of its
processor time, and nothing to remember: without a folder for its cache of blobs' places (containers/image, ``blobinfocache``)
it does not wait for the disk ten times an image."""

_T = TypeVar("_T")


class Skopeo:
    """Runs skopeo with one ``Access``. Safe to use from many threads. Raises EnvironmentProblem where it cannot run."""

    def __init__(self, access: Access, interruption: Interruption, patient: bool = True) -> None:
        """One that is not ``patient`` raises ``RegistryPaused`` where a request would have to wait before it is first made."""
        self.attempts = Attempts(access.retries, interruption, patient)
        self._access = access
        self._interruption = interruption
        self._environment = _environment(access)
        self._program = (find_program(), *_registries_conf())

    @property
    def has_policy(self) -> bool:
        return self._access.policy is not None

    def is_paused(self, registry: str) -> bool:
        """Whether a request to this registry would have to wait."""
        return self.attempts.throttle.is_paused(registry)

    def manifest(self, reference: Reference) -> bytes:
        """The raw manifest or index that ``reference`` names, byte for byte as served."""
        return self._retry(reference, lambda: self._inspect(reference, "--raw"))

    def config(self, reference: Reference) -> bytes:
        """The raw config blob of the image manifest that ``reference`` names."""
        return self._retry(reference, lambda: self._inspect(reference, "--config", "--raw"))

    def copy(
        self,
        reference: Reference,
        cache: Path,
        folder: str,
        shared: str,
        fresh: Callable[[], None],
        expected: int | None = None,
        checked: bool = True,
    ) -> None:
        """Copy one image manifest into the OCI layout ``folder``, its blobs into ``shared``, both relative to ``cache``.

        ``expected`` is how many bytes of layers it lacks: one that serves much more is cut off before the disk is full.

        Relative, because skopeo splits ``oci:PATH:TAG`` at colons and the path to the cache may hold one. ``fresh`` is
        called before each attempt and must leave ``folder`` empty: skopeo appends to what it finds. It is ``checked`` against
        the policy, where there is one.
        """
        policy = ("--policy", str(self._access.policy)) if self._access.policy and checked else ()
        arguments = [
            # No layout can hold signatures: without the last one, an image of which skopeo knows some could not be copied.
            *(*policy, "copy", "--quiet", "--dest-oci-accept-uncompressed-layers", "--remove-signatures"),
            *("--dest-shared-blob-dir", shared),
            *self._flags("--src-"),
            *(f"docker://{reference}", f"oci:{folder}"),
        ]

        def attempt() -> None:
            fresh()
            most = None if expected is None else expected + MARGIN
            watch = _Watch(STALL_TIMEOUT, lambda: bytes_below(cache / folder), most)
            self._run(reference.registry, arguments, watch, cache, (f"{folder}/", f"{shared}/", str(cache)))

        self._retry(reference, attempt)

    def copy_layout(self, cache: Path, source: str, folder: str, *, share: str, blobs: str) -> None:
        """Copy what the OCI layout ``source`` holds, an image or all of an index, to the layout ``folder``.

        The blobs of the first lie in ``share``, those of the other in ``blobs``. All are relative to ``cache``, see ``copy``.
        Nothing is asked of a registry, and no policy: what needs one is copied from its registry. Raises ContentError for an
        image that skopeo cannot read.
        """
        arguments = [
            # A machine's policy is about where images come from, and would refuse every layout where it rejects by default.
            *("--insecure-policy", "copy", "--quiet", "--all"),
            *("--dest-oci-accept-uncompressed-layers", "--remove-signatures"),
            *("--src-shared-blob-dir", share, "--dest-shared-blob-dir", blobs),
            *(f"oci:{source}", f"oci:{folder}"),
        ]
        watch = _Watch(STALL_TIMEOUT, lambda: bytes_below(cache / folder))
        try:
            self._run("", arguments, watch, cache, (f"{folder}/", f"{blobs}/", str(cache)), SHORT_LIVED)
        except RegistryError as error:
            raise ContentError(f"skopeo cannot copy it: {error.message}") from error

    def push(
        self,
        source: Reference,
        login: Path,
        target: Reference,
        *,
        sent: Callable[[], int],
        refused: Callable[[RegistryError], ImageToolsError | None],
    ) -> None:
        """Copy the manifest ``source``, on a registry of our own whose login is in a file, to ``target``, bit for bit.

        ``sent`` tells how many bytes went out of that registry, ``refused`` why a failure is final: that is raised, and not
        tried again. No policy of this machine is asked: it is about where images come from.
        """
        arguments = [
            *("--insecure-policy", "copy", "--quiet", "--preserve-digests", "--remove-signatures"),
            *("--src-tls-verify=false", "--src-authfile", str(login), *self._flags("--dest-")),
            *(f"docker://{source}", f"docker://{target}"),
        ]

        def attempt() -> None:
            try:
                self._run(target.registry, arguments, _Watch(PUSH_TIMEOUT, sent))
            except RegistryError as error:
                if (reason := refused(error)) is not None:
                    raise reason from error
                raise

        self._retry(target, attempt)

    def _inspect(self, reference: Reference, *options: str) -> bytes:
        arguments = ["inspect", *options, *self._flags("--"), f"docker://{reference}"]
        return self._run(reference.registry, arguments, _Watch(INSPECT_TIMEOUT))

    def _flags(self, prefix: str) -> list[str]:
        flags = [] if self._access.tls_verify else [f"{prefix}tls-verify=false"]
        if self._access.authfile:
            flags += [f"{prefix}authfile", str(self._access.authfile)]
        if self._access.cert_dir:
            flags += [f"{prefix}cert-dir", str(self._access.cert_dir)]
        return flags

    def _retry(self, reference: Reference, attempt: Callable[[], _T]) -> _T:
        return self.attempts.until_it_works(reference.registry, reference, attempt)

    def _run(
        self,
        registry: str,
        arguments: Sequence[str],
        watch: _Watch,
        cwd: Path | None = None,
        ours: tuple[str, ...] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        """Run skopeo once; its standard output. ``ours`` are the places that it writes to, as it may call them.

        Without a ``registry`` it is not asked to tell what it asks of one.
        """
        self._interruption.check()
        started = time.monotonic()

        def too_many(seconds: float) -> None:
            # skopeo waits for itself, up to four times; we see to it that the others do not ask in the meantime.
            if seconds > LONGEST_WAIT:
                # skopeo would obey without limit.
                raise GivenUp(f"{Cause.RATE_LIMITED.value}: the registry asks to wait for {seconds:.0f} s", Cause.RATE_LIMITED)
            watch.postpone(seconds)
            self.attempts.throttle.hold(registry, seconds, Cause.RATE_LIMITED)

        words = Words(too_many)
        # For messages.Words, which drops the rest of it.
        debug = ("--debug",) if registry else ()
        command = [*self._program, *debug, *arguments]
        with (
            process.running(command, cwd=cwd, env={**self._environment, **environment}) as skopeo,
            self._interruption.stopping(lambda: process.kill(skopeo)),
        ):
            try:
                out = _communicate(skopeo, watch, words)
            except RegistryError:
                # Killed by an interruption, it may seem to be stalled.
                self._interruption.check()
                raise
        log.debug("skopeo %s: exit %d, %.2f s", shlex.join(arguments), skopeo.returncode, time.monotonic() - started)
        self._interruption.check()
        if skopeo.returncode == 0:
            return out
        message = message_of(words.text)
        check_local(message, ours)
        cause = classify(message)
        shown = f"{cause.value}: {in_our_words(shortened(message))}"
        log.debug("skopeo's own words: %s", message)
        raise WrongBytes(shown) if cause.can_pass and WRONG_BYTES.search(shown) else RegistryError(shown, cause)


@functools.cache
def find_program() -> str:
    """The path of skopeo, checked once. Raises EnvironmentProblem when it is missing or too old."""
    path = shutil.which("skopeo")
    if path is None:
        raise EnvironmentProblem("skopeo is not installed, or not on the PATH", tip=INSTALL)
    try:
        _, out, err = process.run([path, "--version"], timeout=VERSION_TIMEOUT)
        version, answer = out.decode(errors="replace"), redact(err.decode(errors="replace").strip())
    except OSError as error:
        version, answer = "", str(error)
    match = re.search(r"version (\d+)\.(\d+)\.(\d+)", version)
    if match is None:
        raise EnvironmentProblem(f"'{path} --version' does not answer as skopeo does: {answer}", tip=INSTALL)
    if tuple(map(int, match.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EnvironmentProblem(
            f"skopeo {'.'.join(match.groups())} is too old; {oldest} is the oldest that works", tip=INSTALL
        )
    return path


def _environment(access: Access) -> dict[str, str]:
    """Paths of our environment, made absolute: skopeo runs in the cache, not where the user is."""
    environment = {}
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        if value := os.environ.get(name):
            path = Path(value).expanduser().absolute()
            if not path.exists() and not access.authfile:
                raise EnvironmentProblem(
                    f"{name} names {path}, which does not exist", tip=f"log in with 'skopeo login', or unset {name}"
                )
            environment[name] = str(path)
    return environment


def _registries_conf() -> tuple[str, ...]:
    """The variable that ``registries`` obeys: skopeo reads it from version 1.23 on, but has long had a flag for the same."""
    named = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    return ("--registries-conf", str(Path(named).absolute())) if named else ()


class _Watch:
    """Sees to it that a skopeo gets on, and that it does not write more than it should."""

    def __init__(self, limit: float, growth: Callable[[], int] = lambda: 0, most: int | None = None) -> None:
        self._limit = limit
        self._growth = growth
        self._most = most
        self._last, self._since = -1, time.monotonic()

    def look(self) -> None:
        """Raises RegistryError when nothing has moved for too long, ContentError when there is too much."""
        size = self._growth()
        if self._most is not None and size > self._most:
            raise ContentError(f"the registry serves more than its manifest says: {bytes_text(size)} and no end")
        if size != self._last:
            self._last, self._since = size, max(time.monotonic(), self._since)
        elif time.monotonic() - self._since > self._limit:
            raise RegistryError(f"{Cause.STALLED.value}, for {self._limit:.0f} s", Cause.STALLED)

    def postpone(self, seconds: float) -> None:
        """It is going to wait for so long, as it was told to."""
        self._since = time.monotonic() + seconds


def _communicate(skopeo: Process, watch: _Watch, words: Words) -> bytes:
    """The standard output of ``skopeo`` when it has ended; ``words`` takes its standard error."""
    assert skopeo.stdout and skopeo.stderr
    out = bytearray()
    next_look = time.monotonic() + POLL
    with selectors.DefaultSelector() as selector:
        selector.register(skopeo.stdout, selectors.EVENT_READ, out)
        selector.register(skopeo.stderr, selectors.EVENT_READ, words)
        while selector.get_map():
            for key, _ in selector.select(max(0.0, next_look - time.monotonic())):
                data = os.read(key.fd, 1 << 16)
                if data:
                    key.data.extend(data)
                else:
                    selector.unregister(key.fileobj)
            if time.monotonic() >= next_look:
                watch.look()
                next_look = time.monotonic() + POLL
    skopeo.wait()
    return bytes(out)


def bytes_below(folder: Path) -> int:
    """Bytes in the files of ``folder``: skopeo's temporary blobs grow there."""
    total = 0
    try:
        for entry in os.scandir(folder):
            total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass
    return total
