"""Everything that can be said about how a bundle is saved: one row per setting.

Flags, keys of definitions, the JSON Schema, ``bundle show``, ``graph``, completion and the manual read ``SETTINGS``. A value
that its setting cannot be raises ``UsageError`` with the key of the setting; whoever shows it calls it by its flag, or by its
key and its place in the definition. ``bundle_maker`` checks what rows alone cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from pipeline.config.flag import Flag, Value
from pipeline.core import amounts, bundle, reference
from pipeline.core.bundle import Bundle, BundleImage, Compression
from pipeline.core.errors import InputError, UsageError
from pipeline.core.log import log


@dataclass(frozen=True)
class Setting(Flag):
    """One row. ``key`` is its name in definitions and in ``Settings``; without one, that of the flag."""

    _: KW_ONLY
    key: str = ""
    parse_text: Callable[[str], object] = str
    """Raises UsageError or InputError for a text that it cannot be."""
    is_path: bool = False
    is_list: bool = False
    """In a definition, a list of words, too; of paths, where it is one."""
    may_be_number: bool = False
    """In a definition, a number without quotes, too: the architecture 386, a size in bytes."""
    pattern: str = ""
    """What an editor holds its text to."""
    examples: tuple[Any, ...] = ()
    dump: Callable[[Bundle], Value | None] | None = None
    """What a bundle says of it, as a definition would; None or an empty text where it says nothing."""
    dump_image: Callable[[BundleImage], str | None] | None = None
    """Likewise, of what each image may have for itself."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its key in definitions is its long name on a command line."""
        return (self.name, self.key) if self.key else (self.name,)

    @property
    def setting(self) -> str:
        return self.key or self.name

    def check(self, value: Value) -> None:
        """Raises UsageError for what this setting cannot be, whatever the others are."""
        super().check(value)
        try:
            if isinstance(value, str) and value not in self.choices:
                self.parse_text(value)
        except (UsageError, InputError) as error:
            raise UsageError(error.message, tip=error.tip, setting=self.setting) from error


def _architectures(text: str) -> None:
    chosen = bundle.parse_platforms(text, "")
    for name in bundle.unknown_architectures(chosen):
        log.warning("'%s' is no architecture that images are usually made for", name)


def _unless_empty(parse: Callable[[str], object]) -> Callable[[str], object]:
    return lambda text: parse(text) if text else None


def _source_of(image: BundleImage) -> str | None:
    if image.source == image.reference:
        return None
    path = image.source.repository.removesuffix(image.reference.repository).rstrip("/")
    return f"{image.source.registry}/{path}".rstrip("/")


SETTINGS = (
    Setting(
        "a",
        bundle.DEFAULT_ARCHITECTURES,
        "architecture list of images, separate with ','",
        key="arch",
        parse_text=_architectures,
        is_list=True,
        may_be_number=True,
        examples=("amd64", ["amd64", "arm64"], "all"),
        dump_image=lambda image: ",".join(map(str, image.platforms.architectures)) or "all",
    ),
    Setting(
        "os",
        "",
        "operating system list of images, separate with ',' (default any)",
        parse_text=lambda text: bundle.parse_platforms("all", text),
        is_list=True,
        examples=("linux", ["linux", "windows"]),
        dump_image=lambda image: ",".join(image.platforms.systems) or "all",
    ),
    Setting(
        "s",
        "",
        "override the source registry",
        key="source",
        parse_text=_unless_empty(reference.parse_source),
        examples=("registry.example.com", "registry.example.com:5000/mirror"),
        dump_image=_source_of,
    ),
    Setting(
        "j",
        1,
        f"job number, async mode if larger than 1, maximum is {bundle.MAX_JOBS}",
        key="jobs",
        choices=("auto",),
        minimum=1,
        maximum=bundle.MAX_JOBS,
        dump=lambda made: made.jobs,
    ),
    Setting(
        "cache",
        bundle.DEFAULT_CACHE,
        "cache folder, where images are downloaded to",
        is_path=True,
        place="folder",
        dump=lambda made: str(made.cache),
    ),
    Setting(
        "d",
        bundle.DEFAULT_DESTINATIONS[Compression.GZIP],
        "Output saved images into destination file (directory or tar tarball)",
        key="destination",
        is_path=True,
        place="file",
        examples=("../dist/bundle.tar.gz",),
        dump=lambda made: str(made.output.destination),
    ),
    Setting(
        "compress",
        "gzip",
        "compress format, can be 'gzip', 'zstd' or 'dir'",
        choices=tuple(compression.value for compression in Compression),
        dump=lambda made: made.output.compression.value,
    ),
    Setting(
        "compress-level",
        0,
        "level for what is not compressed already (default 6 for gzip, 3 for zstd)",
        minimum=1,
        maximum=max(compression.highest_level for compression in Compression),
        dump=lambda made: made.output.level,
    ),
    Setting("part", False, "enable segment compress"),
    Setting(
        "part-size",
        bundle.DEFAULT_PART_SIZE,
        "segment part size (a number, or a string ended with 'K','M' or 'G')",
        parse_text=amounts.parse_size,
        may_be_number=True,
        pattern="^[0-9]+[KMGTkmgt]?$",
        examples=("2G", "3900M"),
        dump=lambda made: made.output.part_size,
    ),
    Setting(
        "parity",
        "",
        "make recovery files (PAR2) of this size beside the archive, in percent of it, e.g. 10%",
        parse_text=_unless_empty(amounts.parse_percent),
        may_be_number=True,
        pattern="^[0-9]+%?$",
        examples=("10%",),
        dump=lambda made: f"{made.output.parity}%" if made.output.parity else "",
    ),
    Setting(
        "parity-blocks",
        12_000,
        "blocks that the archive is divided into for recovery files",
        minimum=100,
        maximum=30_000,
        dump=lambda made: made.output.parity_blocks,
    ),
    Setting(
        "sign",
        "",
        "sign a slip beside the archive with this SSH key (a public one, where an agent has the private one)",
        is_path=True,
        place="file",
        dump=lambda made: str(made.output.sign or ""),
    ),
    Setting(
        "base",
        "",
        "leave out the layers that this has: a receipt of load, an inventory, a lock, an earlier bundle",
        is_path=True,
        is_list=True,
        adds_up=True,
        place="file",
        examples=("../receipts/site-a.receipt.json",),
        dump=lambda made: "\n".join(map(str, made.bases)),
    ),
    Setting(
        "base-signers",
        "",
        "demand that each receipt or inventory of -base is signed by one in this file (ssh-keygen, ALLOWED SIGNERS)",
        is_path=True,
        place="file",
        dump=lambda made: str(made.base_signers or ""),
    ),
    Setting("note", "", "what the slip says in words, e.g. the number of a change request", dump=lambda made: made.output.note),
    Setting(
        "o",
        bundle.DEFAULT_FAILED_LIST,
        "file name of the save failed image list",
        key="failed-list",
        is_path=True,
        place="file",
        dump=lambda made: str(made.failed_list),
    ),
    Setting(
        "authfile",
        "",
        "file with the registry logins (default is where 'docker login' puts them)",
        is_path=True,
        place="file",
        dump=lambda made: str(made.access.authfile or ""),
    ),
    Setting(
        "cert-dir",
        "",
        "directory with the certificates (*.crt, *.cert, *.key) to reach the registry with",
        is_path=True,
        place="folder",
        dump=lambda made: str(made.access.cert_dir or ""),
    ),
    Setting("tls-verify", True, "require HTTPS and verify certificates", dump=lambda made: made.access.tls_verify),
    Setting(
        "referrers",
        False,
        "save what refers to the images, too: signatures, attestations, SBOMs; with =strict, all of it or the image fails",
        choices=("strict",),
        dump=lambda made: "strict" if made.referrers and made.referrers.is_strict else made.referrers is not None,
    ),
    Setting(
        "referrer-types",
        "",
        "artifact types of -referrers, separate with ',' (default any)",
        parse_text=bundle.parse_artifact_types,
        is_list=True,
        dump=lambda made: ",".join(made.referrers.patterns) if made.referrers else "",
    ),
    Setting(
        "require-signed",
        "",
        "policy file (containers-policy.json) that skopeo holds images to",
        is_path=True,
        place="file",
        dump=lambda made: str(made.access.policy or ""),
    ),
    Setting(
        "quota",
        "stop",
        "what to do when the quota of a registry is used up, can be 'stop' or 'wait'",
        choices=("stop", "wait"),
        dump=lambda made: "wait" if made.waits_for_quota else "stop",
    ),
    Setting(
        "retry",
        bundle.DEFAULT_RETRIES,
        "how often a failed request or copy is tried again",
        minimum=0,
        dump=lambda made: made.access.retries,
    ),
    Setting(
        "via",
        "auto",
        "who fetches layers: 'auto' is image-tools where it can, which resumes them; 'skopeo' is skopeo alone",
        choices=("auto", "skopeo"),
        dump=lambda made: made.access.via,
    ),
)
KEYS: Mapping[str, Setting] = {setting.setting: setting for setting in SETTINGS}
"""The settings by their keys."""
IMAGE_KEYS = tuple(key for key, setting in KEYS.items() if setting.dump_image)
"""What an entry of ``images`` may say for itself."""


def rows(*keys: str) -> tuple[Setting, ...]:
    """The settings with these keys, as the flags of a command that has some of them."""
    return tuple(KEYS[key] for key in keys)


class Settings:
    """The given values, by key, over the defaults. Relative paths are taken from ``base``."""

    def __init__(self, given: Mapping[str, Any], base: Path) -> None:
        self._given = given
        self._base = base

    def given(self, key: str) -> bool:
        return key in self._given

    def absolute_values(self) -> dict[str, Any]:
        """What was given, with absolute paths, so that it can override a definition that lies elsewhere."""
        return {key: self._absolute(key) if KEYS[key].is_path and value else value for key, value in self._given.items()}

    def _absolute(self, key: str) -> str:
        return "\n".join(map(str, self.paths(key))) if KEYS[key].is_list else str(self.path(key))

    def text(self, key: str) -> str:
        return str(self._given.get(key, KEYS[key].default))

    def number(self, key: str) -> int:
        value = self._given.get(key, KEYS[key].default)
        return bundle.AUTO_JOBS if value == "auto" else int(value)

    def switch(self, key: str) -> bool:
        return bool(self._given.get(key, KEYS[key].default))

    def path(self, key: str, default: str | None = None) -> Path:
        text = self.text(key) if default is None or self.given(key) else default
        return absolute(text, self._base, key)

    def paths(self, key: str) -> tuple[Path, ...]:
        """Of a setting that may be several."""
        return tuple(dict.fromkeys(absolute(text, self._base, key) for text in self.text(key).split("\n") if text))

    def optional_path(self, key: str) -> Path | None:
        return self.path(key) if self.text(key) else None

    def check(self) -> None:
        """Raises UsageError for the first value that its setting cannot be."""
        for key, value in self._given.items():
            KEYS[key].check(value)


def absolute(text: str, base: Path, setting: str = "") -> Path:
    """Symbolic links resolved, so that one place has one name, whoever asks."""
    if not text or "\0" in text:
        raise UsageError("a path is empty or holds a NUL character", setting=setting)
    try:
        path = (base / Path(text).expanduser()).resolve()
        str(path).encode()  # our records are JSON, which is Unicode
        return path
    except UnicodeEncodeError as error:
        tip = "rename it, or choose another place"
        raise UsageError(f"the path {text!a} is not UTF-8", tip=tip, setting=setting) from error
    except RuntimeError as error:  # a '~name' of nobody, or symbolic links that go round in a circle
        raise UsageError(f"there is no such place as {text}: {error}", setting=setting) from error
