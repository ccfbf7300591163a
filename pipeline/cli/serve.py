"""``image-tools serve SOURCE``: a read-only registry straight from an archive, its volumes, or a folder."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import ssl
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli.arguments import BASE, DEBUG, bases, one_source
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.signals import stopping
from pipeline.config.flag import Flag
from pipeline.core.errors import EXIT_OK, ImageToolsError, InputError, Interrupted, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.reader.contents import Contents, open_contents
from pipeline.reader.serve import BundleSource, RegistryServer
from pipeline.storage import locks
from pipeline.ui.terminal import harmless, referrers_text

DEFAULT_LISTEN = "127.0.0.1:5000"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]*):([0-9]{1,5})")
POLL = 2.0
"""Seconds between two looks at whether another bundle has taken the source's place."""


def _run(given: Given, operands: tuple[str, ...]) -> int:
    source = one_source(operands, "serve")
    host, port = _address(given.text("listen"))
    tls, login = _tls(given), _login(given)
    if login and not tls and not _is_loopback(host):
        log.warning("passwords and images go over the network as they are: see -tls-cert")
    interruption = Interruption()
    with (
        stopping(interruption),
        contextlib.suppress(Interrupted),
        locks.reading(source, sleep=interruption.sleep),
    ):
        contents = open_contents(source, bases=bases(given))
        for problem in contents.problems:
            log.warning("%s", problem)
        with RegistryServer(BundleSource(contents), host, port, tls=tls, login=login, on_request=_log_request) as server:
            _say(contents, source, server, tls is not None)
            while True:
                interruption.sleep(POLL)
                contents = _taken_up(contents, source, bases(given), server)
    # This is how it is meant to end.
    return EXIT_OK


BODY = Body(
    run=_run,
    flags=(
        BASE,
        DEBUG,
        Flag("listen", DEFAULT_LISTEN, "address to listen on; port 0 takes a free one, host 0.0.0.0 or [::] all interfaces"),
        Flag("password-file", "", "file with the password of -user, on its first line", place="file"),
        Flag("tls-cert", "", "certificate file (PEM, with its chain); goes with -tls-key", place="file"),
        Flag("tls-key", "", "file with the key of the certificate (PEM)", place="file"),
        Flag("user", "", "ask for a login with this name; goes with -password-file"),
    ),
    about="""
image-tools serve SOURCE is a registry with the images in SOURCE (an archive, volumes, or a
folder), for everything that can pull. Nothing is unpacked, nothing can be changed. Ctrl-C ends it.
""",
    examples=(
        "image-tools serve saved-images.tar.gz",
        """image-tools serve /media/stick/saved-images.tar.gz.part0 -listen 0.0.0.0:5000 \\
      -tls-cert server.pem -tls-key server.key -user reader -password-file password.txt""",
    ),
    takes_files=True,
)


def _taken_up(contents: Contents, source: Path, based_on: Sequence[Path], server: RegistryServer) -> Contents:
    """What is served from now on: a new bundle under the same name, once it is whole; the old one is read on until then."""
    if not contents.store.has_changed():
        return contents
    try:
        new = open_contents(source, bases=based_on)
    except ImageToolsError as error:
        log.debug("%s changes, and cannot be read yet: %s", source, error)
        return contents
    server.replace(BundleSource(new))
    log.info("%s was replaced: serving %d images from it", source, len(new.bundled) - len(new.along))
    return new


def _say(contents: Contents, source: Path, server: RegistryServer, is_tls: bool) -> None:
    image = contents.bundled[0].reference
    name = f"{server.host}/{image.repository}" + (f":{image.tag}" if image.tag else f"@{image.digest}")
    referrers = len(contents.along)
    flag = "" if is_tls else " --tls-verify=false"
    held = f"{len(contents.bundled) - referrers} images{referrers_text(referrers)}"
    print(
        f"serving {held} from {harmless(str(source))} at {server.url}, until Ctrl-C\ntry: skopeo inspect{flag} docker://{name}",
        flush=True,
    )


def _log_request(method: str, path: str, status: int) -> None:
    log.debug("%s %s %d", method, path, status)


def _address(text: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        problem = f'invalid address "{harmless(text)}": use host:port, e.g. {DEFAULT_LISTEN}'
        raise UsageError(problem, setting="listen")
    return match[1].strip("[]") or "0.0.0.0", int(match[2])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(given: Given) -> tuple[Path, Path] | None:
    certificate, key = (given.text(flag) for flag in ("tls-cert", "tls-key"))
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise UsageError("-tls-cert and -tls-key go together")
    for flag, name in (("tls-cert", certificate), ("tls-key", key)):
        if not Path(name).is_file():
            raise UsageError(f"{name}: there is no such file", setting=flag)
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError([f"{certificate} and {key} are not a certificate with its key: {error}"]) from error
    return Path(certificate), Path(key)


def _login(given: Given) -> tuple[str, str] | None:
    user, name = (given.text(flag) for flag in ("user", "password-file"))
    if not user and not name:
        return None
    if not user or not name or ":" in user:
        raise UsageError("-user and -password-file go together, and a user's name holds no colon")
    try:
        lines = Path(name).read_text().splitlines()
    except (OSError, ValueError) as error:
        raise InputError([f"cannot read the password file {name}: {error}"]) from error
    if not lines or not lines[0]:
        raise InputError([f"the password file {name} is empty"])
    return user, lines[0]
