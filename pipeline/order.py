"""The flags of ``save`` become an ``Order``: a bundle, and how this run treats it.

In come the arguments, out goes an ``Order`` with absolute paths. Everything that can be wrong with flags, list and paths
is found here, before anything is done: ``UsageError`` or ``InputError``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import bundle, imagelist, reference
from .bundle import Access, Bundle, Compression, Output, PlatformFilter
from .errors import InputError, UsageError
from .goflags import Flag, FlagSet, Value
from .layout import IMAGES_LIST, LAYOUT_FILE
from .logs import log

STANDARD_INPUT = "-"

SAVE_FLAGS = FlagSet(
    "save",
    (
        Flag("a", bundle.DEFAULT_ARCHITECTURES, "architecture list of images, separate with ',', or 'all'"),
        Flag("authfile", "", "file with the registry logins (default is where 'docker login' and 'skopeo login' put them)"),
        Flag("cache", bundle.DEFAULT_CACHE, "cache folder, where images are downloaded to"),
        Flag("cert-dir", "", "directory with the certificates (*.crt, *.cert, *.key) to reach the registry with"),
        Flag("compress", "gzip", "compress format, can be 'gzip', 'zstd' or 'dir'"),
        Flag(
            "d",
            bundle.DEFAULT_DESTINATIONS[Compression.GZIP],
            "Output saved images into destination file (directory or tar tarball)",
        ),
        Flag("debug", False, "enable the debug output"),
        Flag("dry-run", False, "resolve the images and print the plan with sizes, but fetch no layer"),
        Flag("f", "", "image list file ('-' is standard input)"),
        Flag("force", False, "go on where the disk seems too small, and replace a bundle that holds more than the new one"),
        Flag("j", 1, f"job number, async mode if larger than 1, maximum is {bundle.MAX_JOBS}"),
        Flag("o", bundle.DEFAULT_FAILED_LIST, "file name of the save failed image list"),
        Flag("os", "", "operating system list of images, separate with ',' (default any)"),
        Flag("part", False, "enable segment compress"),
        Flag("part-size", bundle.DEFAULT_PART_SIZE, "segment part size (a number, or a string ended with 'K','M', 'G' or 'T')"),
        Flag("retry", bundle.DEFAULT_RETRIES, "how often a failed request or copy is tried again"),
        Flag("s", "", "override the source registry"),
        Flag("tls-verify", True, "require HTTPS and verify certificates"),
        Flag("wait", False, "wait while another run uses the cache"),
    ),
)


@dataclass(frozen=True)
class Order:
    """A bundle and how this run treats it. ``list_file`` is None where the list came from standard input."""

    bundle: Bundle
    platforms: PlatformFilter
    source: str
    list_file: Path | None
    interactive: bool = False
    debug: bool = False
    dry_run: bool = False
    force: bool = False
    wait: bool = False


def read(values: Mapping[str, Value], rest: Sequence[str]) -> Order:
    """The order that the flags of ``save`` give. Reads the image list. Raises UsageError, InputError."""
    if rest:
        raise UsageError(f"unexpected argument '{rest[0]}'\nTIP: an image list is given with -f, see 'image-tools save -h'")
    flags = _Flags(values)
    source = reference.parse_source(flags.text("s")) if flags.text("s") else ""
    platforms = bundle.parse_platforms(flags.text("a"), flags.text("os"))
    cache = absolute(flags.text("cache"))
    output = _output(flags, cache)
    access = _access(flags)
    jobs = _jobs(flags)
    lines, list_file, interactive = _lines(flags)
    if list_file is None and not flags.given("f") and jobs > 1:
        log.warning("-j %d: images from standard input are copied one after the other; '-f -' reads a list with all jobs", jobs)
        jobs = 1
    images = bundle.images(lines, source, platforms)
    for name in bundle.unknown_architectures(platforms):
        log.warning("-a: '%s' is no architecture that images are usually made for", name)
    return Order(
        Bundle(bundle.name_of(output.destination), images, cache, output, absolute(flags.text("o")), access, jobs),
        platforms,
        source,
        list_file,
        interactive,
        *(flags.switch(name) for name in ("debug", "dry-run", "force", "wait")),
    )


class _Flags:
    """The given values over the defaults, typed."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._given = values
        self._values = {flag.name: flag.default for flag in SAVE_FLAGS.flags} | dict(values)

    def given(self, name: str) -> bool:
        return name in self._given

    def text(self, name: str) -> str:
        return str(self._values[name])

    def number(self, name: str) -> int:
        return int(self._values[name])

    def switch(self, name: str) -> bool:
        return bool(self._values[name])


def absolute(text: str) -> Path:
    """Symbolic links resolved, so that one place has one name, whoever asks."""
    if not text or "\0" in text:
        raise UsageError("a path is empty or holds a NUL character")
    return Path(text).expanduser().resolve()


def _output(flags: _Flags, cache: Path) -> Output:
    compression = bundle.parse_compression(flags.text("compress"))
    if not flags.switch("part"):
        part_size = None
        if flags.given("part-size"):
            bundle.parse_size(flags.text("part-size"))
            log.warning("-part-size has no effect without -part")
    elif compression is Compression.DIR:
        raise UsageError("-part does not go with -compress=dir: a folder is not cut\nTIP: use -compress=gzip or zstd")
    else:
        part_size = bundle.parse_size(flags.text("part-size"))
    if flags.given("d"):
        destination = absolute(flags.text("d"))
    elif compression is Compression.DIR:
        destination = cache
    else:
        destination = absolute(bundle.DEFAULT_DESTINATIONS[compression])
    _check_destination(destination, compression, cache)
    return Output(compression, destination, part_size)


def _check_destination(destination: Path, compression: Compression, cache: Path) -> None:
    if compression is Compression.DIR:
        if destination == cache:
            return
        if destination.is_relative_to(cache) or cache.is_relative_to(destination):
            raise UsageError(f"-d {destination} and the cache {cache} lie in each other\nTIP: name another folder with -d")
        if destination.exists() and not destination.is_dir():
            raise UsageError(f"-d {destination} is a file, but -compress=dir makes a folder\nTIP: name another one with -d")
        ours = (destination / LAYOUT_FILE).exists() and (destination / IMAGES_LIST).exists()
        if destination.is_dir() and not ours and any(destination.iterdir()):
            raise UsageError(f"the folder {destination} holds other files\nTIP: name a new or an empty folder with -d")
        return
    if destination.is_dir():
        raise UsageError(f"-d {destination} is a folder\nTIP: name a file, e.g. -d {destination / 'saved-images.tar.gz'}")
    if destination.is_relative_to(cache):
        raise UsageError(f"-d {destination} lies in the cache, which is what is packed\nTIP: name a file elsewhere with -d")
    other = {Compression.GZIP: (".zst", ".zstd"), Compression.ZSTD: (".gz", ".tgz")}[compression]
    if destination.name.endswith(other):
        log.warning("-d %s: the file will be %s, whatever its name says", destination.name, compression.value)


def _access(flags: _Flags) -> Access:
    retries = flags.number("retry")
    if retries < 0:
        raise UsageError(f"invalid value {retries} for -retry: use 0 or more")
    authfile = absolute(flags.text("authfile")) if flags.text("authfile") else None
    if authfile is not None and not authfile.is_file():
        login = f"skopeo login --authfile {authfile} REGISTRY"
        raise UsageError(f"-authfile {authfile}: there is no such file\nTIP: log in with '{login}'")
    cert_dir = absolute(flags.text("cert-dir")) if flags.text("cert-dir") else None
    if cert_dir is not None and not cert_dir.is_dir():
        raise UsageError(f"-cert-dir {cert_dir}: there is no such folder")
    return Access(authfile, cert_dir, flags.switch("tls-verify"), retries)


def _jobs(flags: _Flags) -> int:
    jobs = flags.number("j")
    if jobs < 1:
        raise UsageError(f"invalid value {jobs} for -j: use a number from 1 to {bundle.MAX_JOBS}")
    if jobs > bundle.MAX_JOBS:
        log.warning("-j %d is more than the maximum; using %d", jobs, bundle.MAX_JOBS)
    return min(jobs, bundle.MAX_JOBS)


def _lines(flags: _Flags) -> tuple[tuple[imagelist.Line, ...], Path | None, bool]:
    """The image list, the file it came from, and whether it is still to be typed."""
    if not flags.text("f") and sys.stdin is not None and sys.stdin.isatty():
        return (), None, True
    if flags.text("f") in ("", STANDARD_INPUT):
        data = sys.stdin.buffer.read() if sys.stdin is not None else b""
        return imagelist.parse(data, "standard input"), None, False
    path = absolute(flags.text("f"))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError([f"cannot read the image list {flags.text('f')}: {error.strerror}"]) from error
    return imagelist.parse(data, flags.text("f")), path, False

