"""All that flags and bundle definitions can say about how a bundle is saved, and the checks that both need.

In come ``Settings`` (text and numbers as they were written), out goes a ``Bundle`` with absolute paths. Everything that
can be wrong with them is found here, before anything is done: ``UsageError`` or ``InputError``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core import bundle, files, reference
from pipeline.core.bundle import Access, ArtifactTypes, Bundle, BundleImage, Compression, Output, PlatformFilter
from pipeline.core.errors import UsageError
from pipeline.core.log import log
from pipeline.storage.bundle_state import IMAGES_LIST
from pipeline.storage.image_layout import LAYOUT_FILE


@dataclass(frozen=True)
class Setting:
    """One thing that can be set, by a flag or by a key of a definition. Its type is that of ``default``."""

    key: str
    """In a definition, and in ``Settings``."""
    flag: str
    default: str | int | bool
    help: str


SETTINGS = (
    Setting("arch", "a", bundle.DEFAULT_ARCHITECTURES, "architecture list of images, separate with ','"),
    Setting("os", "os", "", "operating system list of images, separate with ',' (default any)"),
    Setting("source", "s", "", "override the source registry"),
    Setting("jobs", "j", 1, f"job number, async mode if larger than 1, maximum is {bundle.MAX_JOBS}"),
    Setting("cache", "cache", bundle.DEFAULT_CACHE, "cache folder, where images are downloaded to"),
    Setting(
        "destination",
        "d",
        bundle.DEFAULT_DESTINATIONS[Compression.GZIP],
        "Output saved images into destination file (directory or tar tarball)",
    ),
    Setting("compress", "compress", "gzip", "compress format, can be 'gzip', 'zstd' or 'dir'"),
    Setting("compress-level", "compress-level", 0, "level for what is not compressed already (default 6 for gzip, 3 for zstd)"),
    Setting("part", "part", False, "enable segment compress"),
    Setting(
        "part-size",
        "part-size",
        bundle.DEFAULT_PART_SIZE,
        "segment part size (a number, or a string ended with 'K','M' or 'G')",
    ),
    Setting("failed-list", "o", bundle.DEFAULT_FAILED_LIST, "file name of the save failed image list"),
    Setting("authfile", "authfile", "", "file with the registry logins (default is where 'docker login' puts them)"),
    Setting("cert-dir", "cert-dir", "", "directory with the certificates (*.crt, *.cert, *.key) to reach the registry with"),
    Setting("tls-verify", "tls-verify", True, "require HTTPS and verify certificates"),
    Setting("referrers", "referrers", False, "save what refers to the images, too: signatures, attestations, SBOMs"),
    Setting("referrer-types", "referrer-types", "", "artifact types of -referrers, separate with ',' (default any)"),
    Setting("require-signed", "require-signed", "", "policy file (containers-policy.json) that skopeo holds images to"),
    Setting("retry", "retry", bundle.DEFAULT_RETRIES, "how often a failed request or copy is tried again"),
)
PATHS = frozenset({"cache", "destination", "failed-list", "authfile", "cert-dir", "require-signed"})
_DEFAULTS = {setting.key: setting.default for setting in SETTINGS}


class Settings:
    """The given values, by key, over the defaults. Relative paths are taken from ``base``."""

    def __init__(self, given: Mapping[str, Any], base: Path) -> None:
        self._given = given
        self._base = base

    def given(self, key: str) -> bool:
        return key in self._given

    def absolute_values(self) -> dict[str, Any]:
        """What was given, with absolute paths, so that it can override a definition that lies elsewhere."""
        return {
            key: str(absolute(str(value), self._base)) if key in PATHS and value else value
            for key, value in self._given.items()
        }

    def text(self, key: str) -> str:
        return str(self._given.get(key, _DEFAULTS[key]))

    def number(self, key: str) -> int:
        return int(self._given.get(key, _DEFAULTS[key]))

    def switch(self, key: str) -> bool:
        return bool(self._given.get(key, _DEFAULTS[key]))

    def path(self, key: str, default: str | None = None) -> Path:
        text = self.text(key) if default is None or self.given(key) else default
        return absolute(text, self._base)

    def optional_path(self, key: str) -> Path | None:
        return self.path(key) if self.text(key) else None


def absolute(text: str, base: Path) -> Path:
    """Symbolic links resolved, so that one place has one name, whoever asks."""
    if not text or "\0" in text:
        raise UsageError("a path is empty or holds a NUL character")
    try:
        path = (base / Path(text).expanduser()).resolve()
        str(path).encode()  # our records are JSON, which is Unicode
        return path
    except UnicodeEncodeError as error:
        raise UsageError(f"the path {text!a} is no UTF-8; rename it, or choose another place") from error
    except RuntimeError as error:  # a '~name' of nobody, or symbolic links that go round in a circle
        raise UsageError(f"there is no such place as {text}: {error}") from error


def make_bundle(settings: Settings, images: tuple[BundleImage, ...], name: str = "", lock_file: Path | None = None) -> Bundle:
    """A complete, checked bundle. Without a ``name`` it is called by its destination."""
    cache = settings.path("cache")
    output = _output(settings, cache, name)
    failed_list = settings.path("failed-list", f"{name}-failed.txt" if name else None)
    refuse_device("-o", failed_list)
    called = name or bundle.name_of(output.destination)
    asked = _referrers(settings)
    images = tuple(replace(image, referrers=asked) for image in images)
    return Bundle(called, images, cache, output, failed_list, access(settings), jobs(settings), asked, lock_file)


def _referrers(settings: Settings) -> ArtifactTypes | None:
    types = bundle.parse_artifact_types(settings.text("referrer-types"))
    if settings.switch("referrers"):
        return types
    if types.patterns:
        log.warning("-referrer-types has no effect without -referrers")
    return None


def refuse_device(flag: str, path: Path) -> None:
    """``-o /dev/null`` would, as root, take it from the whole machine: results are renamed into place, or removed."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UsageError(f"{flag} {path} is no file: it would be replaced or removed\nTIP: name a file")


def platforms(settings: Settings) -> PlatformFilter:
    chosen = bundle.parse_platforms(settings.text("arch"), settings.text("os"))
    for name in bundle.unknown_architectures(chosen):
        log.warning("'%s' is no architecture that images are usually made for", name)
    return chosen


def source(settings: Settings) -> str:
    return check_source(settings.text("source"))


def check_source(text: str) -> str:
    return reference.parse_source(text) if text else ""


def check_jobs(number: int) -> None:
    if number < 1:
        raise UsageError(f"invalid value {number} for -j: use a number from 1 to {bundle.MAX_JOBS}")


def jobs(settings: Settings) -> int:
    number = settings.number("jobs")
    check_jobs(number)
    if number > bundle.MAX_JOBS:
        log.warning("-j %d is more than the maximum; using %d", number, bundle.MAX_JOBS)
    return min(number, bundle.MAX_JOBS)


def _output(settings: Settings, cache: Path, name: str) -> Output:
    compression = bundle.parse_compression(settings.text("compress"))
    part_size = _part_size(settings, compression)
    if settings.given("destination"):
        destination = settings.path("destination")
    elif compression is Compression.DIR:
        destination = cache
    else:
        default = bundle.DEFAULT_DESTINATIONS[compression]
        destination = settings.path("destination", default.replace("saved-images", name) if name else default)
    _check_destination(destination, compression, cache)
    return Output(compression, destination, part_size, _level(settings, compression))


def _part_size(settings: Settings, compression: Compression) -> int | None:
    if not settings.switch("part"):
        if settings.given("part-size"):
            bundle.parse_size(settings.text("part-size"))
            log.warning("-part-size has no effect without -part")
        return None
    if compression is Compression.DIR:
        raise UsageError("-part does not go with -compress=dir: a folder is not cut\nTIP: use -compress=gzip or zstd")
    return bundle.parse_size(settings.text("part-size"))


def _level(settings: Settings, compression: Compression) -> int | None:
    if not settings.given("compress-level"):
        return None
    level = settings.number("compress-level")
    highest = {Compression.GZIP: 9, Compression.ZSTD: 19, Compression.DIR: 0}[compression]
    if not 1 <= level <= highest:
        hint = f"use a number from 1 to {highest}" if highest else "a folder is not compressed"
        raise UsageError(f"invalid value {level} for -compress-level with {compression.value}: {hint}")
    return level


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
    refuse_device("-d", destination)
    if destination.is_dir():
        raise UsageError(f"-d {destination} is a folder\nTIP: name a file, e.g. -d {destination / 'saved-images.tar.gz'}")
    if destination.is_relative_to(cache):
        raise UsageError(f"-d {destination} lies in the cache, which is what is packed\nTIP: name a file elsewhere with -d")
    if re.fullmatch(r".+\.part[0-9]+", destination.name, re.DOTALL):
        raise UsageError(f"-d {destination} has the name of a volume", tip="leave .partN out: -part adds it")
    other = {Compression.GZIP: (".zst", ".zstd"), Compression.ZSTD: (".gz", ".tgz")}[compression]
    if destination.name.endswith(other):
        log.warning("-d %s: the file will be %s, whatever its name says", destination.name, compression.value)


def access(settings: Settings) -> Access:
    retries = settings.number("retry")
    if retries < 0:
        raise UsageError(f"invalid value {retries} for -retry: use 0 or more")
    authfile = settings.optional_path("authfile")
    if authfile is not None and not authfile.is_file():
        login = f"skopeo login --authfile {authfile} REGISTRY"
        raise UsageError(f"-authfile {authfile}: there is no such file\nTIP: log in with '{login}'")
    cert_dir = settings.optional_path("cert-dir")
    if cert_dir is not None and not cert_dir.is_dir():
        raise UsageError(f"-cert-dir {cert_dir}: there is no such folder")
    policy = settings.optional_path("require-signed")
    if policy is not None:
        _check_policy(policy)
    return Access(authfile, cert_dir, settings.switch("tls-verify"), retries, policy)


def _check_policy(path: Path) -> None:
    """Raises UsageError for what is no policy, or one that nothing can fail to satisfy."""
    document = files.read_json(path)
    problem = ""
    if not path.is_file():
        problem = "there is no such file"
    elif not isinstance(document, dict) or not isinstance(document.get("default"), list):
        problem = "it is no policy: it holds no JSON object with 'default'"
    elif set(_requirement_types(document)) <= {"insecureAcceptAnything"}:
        problem = "this policy accepts everything, signed or not"
    if problem:
        raise UsageError(f"-require-signed {path}: {problem}\nTIP: see containers-policy.json(5)")


def _requirement_types(document: object) -> Iterator[str]:
    for part in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from _requirement_types(part)
    if isinstance(document, dict) and isinstance(document.get("type"), str):
        yield document["type"]
