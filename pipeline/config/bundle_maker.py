"""Settings become a ``Bundle`` with absolute paths, or the first of all that does not fit together.

``problems`` finds what a row of ``SETTINGS`` alone cannot: settings that exclude each other, and files that are not there. Each
is a ``UsageError`` with the key of its setting; whoever shows it calls it by its flag, or by its place in the definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.config.flag import limits_text
from pipeline.config.settings import Settings
from pipeline.core import amounts, bundle, files
from pipeline.core.bundle import Access, ArtifactTypes, Bundle, BundleImage, Candidate, Compression, Output, PlatformFilter
from pipeline.core.errors import UsageError
from pipeline.core.log import log
from pipeline.storage.bundle_state import IMAGES_LIST
from pipeline.storage.image_layout import LAYOUT_FILE


def make_bundle(settings: Settings, images: tuple[BundleImage, ...], name: str = "", lock_file: Path | None = None) -> Bundle:
    """A complete bundle. Without a ``name`` it is called by its destination. Raises the first of ``problems``."""
    for problem in problems(settings, name):
        raise problem
    made = _output(settings, name)
    types = _referrers(settings)
    _warn(settings, made)
    return Bundle(
        name=name or bundle.name_of(made.destination),
        images=tuple(replace(image, referrers=types) for image in images),
        cache=settings.path("cache"),
        output=made,
        failed_list=_failed_list(settings, name),
        access=access(settings),
        jobs=settings.number("jobs"),
        referrers=types,
        waits_for_quota=settings.text("quota") == "wait",
        lock_file=lock_file,
        bases=settings.paths("base"),
        base_signers=settings.optional_path("base-signers"),
    )


def with_candidates(made: Bundle, candidates: Iterable[Candidate]) -> Bundle:
    """The bundle with what its registries are still to be asked for."""
    return replace(
        made,
        candidates=tuple(replace(each, image=replace(each.image, referrers=made.referrers)) for each in candidates),
    )


def problems(settings: Settings, name: str = "") -> Iterator[UsageError]:
    """Everything about the settings of a bundle that does not fit together, or names what is not there.

    Each value is one that its setting can have (``Setting.check``).
    """
    output = _output(settings, name)
    if settings.switch("part") and not output.is_archive:
        tip = "use gzip or zstd, or no volumes"
        yield UsageError("dir makes a folder, which is not cut into volumes", tip=tip, setting="compress")
    if output.parity and not output.is_archive:
        tip = "use gzip or zstd, or leave 'parity' out"
        yield UsageError("a folder has no recovery files", tip=tip, setting="parity")
    if output.sign and not output.is_archive:
        yield UsageError("a folder has no slip", tip="use gzip or zstd, or leave 'sign' out", setting="sign")
    if output.sign and not output.sign.is_file():
        tip = "ssh-keygen -t ed25519 -f KEY makes one"
        yield UsageError(f"{output.sign}: there is no such file", tip=tip, setting="sign")
    yield from _base_problems(settings, output)
    highest = output.compression.highest_level
    if output.level is not None and output.level > highest:
        valid = f"use {limits_text(1, highest)}" if highest else "a folder is not compressed"
        message = f"invalid value {output.level} for {output.compression.value}: {valid}"
        yield UsageError(message, setting="compress-level")
    yield from _destination_problems(output, settings.path("cache"))
    yield from device_problem(_failed_list(settings, name), "failed-list")
    yield from _access_problems(settings)


def _base_problems(settings: Settings, output: Output) -> Iterator[UsageError]:
    bases = settings.paths("base")
    if bases and not output.is_archive:
        yield UsageError("a folder carries everything", tip="use gzip or zstd, or leave 'base' out", setting="base")
    for base in bases:
        from pipeline.storage.archive import volumes_beside  # here: most saves have no base

        if not base.exists() and not volumes_beside(base):
            tip = "name a receipt, an inventory, a lock, or a bundle"
            yield UsageError(f"{base}: there is no such file", tip=tip, setting="base")
    signers = settings.optional_path("base-signers")
    if signers is not None and not signers.is_file():
        tip = "see ssh-keygen(1), ALLOWED SIGNERS"
        yield UsageError(f"{signers}: there is no such file", tip=tip, setting="base-signers")


def output(settings: Settings) -> Output:
    """What is made, and where. Raises the first UsageError of what does not fit together."""
    for problem in problems(settings):
        raise problem
    return _output(settings, "")


def access(settings: Settings) -> Access:
    """How registries are reached. Raises UsageError."""
    for problem in _access_problems(settings):
        raise problem
    return Access(
        authfile=settings.optional_path("authfile"),
        cert_dir=settings.optional_path("cert-dir"),
        tls_verify=settings.switch("tls-verify"),
        retries=settings.number("retry"),
        policy=settings.optional_path("require-signed"),
        via=settings.text("via"),
    )


def platforms(settings: Settings) -> PlatformFilter:
    return bundle.parse_platforms(settings.text("arch"), settings.text("os"))


def device_problem(path: Path, setting: str) -> Iterator[UsageError]:
    """``-o /dev/null`` would, as root, take it from the whole machine: results are renamed into place, or removed."""
    if path.exists() and not path.is_file() and not path.is_dir():
        yield UsageError(f"{path} is not a file: it would be replaced or removed", tip="name a file", setting=setting)


def _referrers(settings: Settings) -> ArtifactTypes | None:
    types = bundle.parse_artifact_types(settings.text("referrer-types"))
    if settings.switch("referrers"):
        return replace(types, is_strict=settings.text("referrers") == "strict")
    if types.patterns:
        log.warning("-referrer-types has no effect without -referrers")
    return None


def _warn(settings: Settings, output: Output) -> None:
    if settings.given("part-size") and not output.part_size:
        log.warning("-part-size has no effect without -part")
    endings = {Compression.GZIP: (".zst", ".zstd"), Compression.ZSTD: (".gz", ".tgz")}
    name = output.destination.name
    if name.endswith(endings.get(output.compression, ())):
        log.warning("-d %s: the file will be %s, whatever its name says", name, output.compression.value)


def _failed_list(settings: Settings, name: str) -> Path:
    return settings.path("failed-list", f"{name}-failed.txt" if name else None)


def _output(settings: Settings, name: str) -> Output:
    compression = Compression(settings.text("compress"))
    if settings.given("destination"):
        destination = settings.path("destination")
    elif compression is Compression.DIR:
        destination = settings.path("cache")
    else:
        default = bundle.DEFAULT_DESTINATIONS[compression]
        destination = settings.path("destination", default.replace("saved-images", name) if name else default)
    part_size = amounts.parse_size(settings.text("part-size")) if settings.switch("part") else None
    level = settings.number("compress-level") if settings.given("compress-level") else None
    text = settings.text("parity")
    parity = amounts.parse_percent(text) if text else None
    return Output(
        compression=compression,
        destination=destination,
        part_size=part_size,
        level=level,
        parity=parity,
        parity_blocks=settings.number("parity-blocks"),
        sign=settings.optional_path("sign"),
        note=settings.text("note"),
    )


def _destination_problems(output: Output, cache: Path) -> Iterator[UsageError]:
    problem = _folder_problem(output.destination, cache) if not output.is_archive else _file_problem(output.destination, cache)
    if problem:
        yield UsageError(problem[0], tip=problem[1], setting="destination")
    elif output.is_archive:
        yield from device_problem(output.destination, "destination")


def _folder_problem(destination: Path, cache: Path) -> tuple[str, str] | None:
    """What happened, and what to do."""
    if destination == cache:
        return None
    if destination.is_relative_to(cache) or cache.is_relative_to(destination):
        return f"{destination} and the cache {cache} lie in each other", "name another folder"
    if destination.exists() and not destination.is_dir():
        return f"{destination} is a file, but -compress=dir makes a folder", "name another one"
    ours = (destination / LAYOUT_FILE).exists() and (destination / IMAGES_LIST).exists()
    if destination.is_dir() and not ours and any(destination.iterdir()):
        return f"the folder {destination} holds other files", "name a new or an empty folder"
    return None


def _file_problem(destination: Path, cache: Path) -> tuple[str, str] | None:
    if destination.is_dir():
        return f"{destination} is a folder", f"name a file, e.g. {destination / 'saved-images.tar.gz'}"
    if destination.is_relative_to(cache):
        return f"{destination} lies in the cache, which is what is packed", "name a file elsewhere"
    if re.fullmatch(r".+\.part[0-9]+", destination.name, re.DOTALL):
        return f"{destination} has the name of a volume", "leave .partN out: -part adds it"
    return None


def _access_problems(settings: Settings) -> Iterator[UsageError]:
    authfile = settings.optional_path("authfile")
    if authfile is not None and not authfile.is_file():
        tip = f"log in with 'skopeo login --authfile {authfile} REGISTRY'"
        yield UsageError(f"{authfile}: there is no such file", tip=tip, setting="authfile")
    cert_dir = settings.optional_path("cert-dir")
    if cert_dir is not None and not cert_dir.is_dir():
        yield UsageError(f"{cert_dir}: there is no such folder", setting="cert-dir")
    policy = settings.optional_path("require-signed")
    problem = _policy_problem(policy) if policy is not None else ""
    if problem:
        yield UsageError(f"{policy}: {problem}", tip="see containers-policy.json(5)", setting="require-signed")


def _policy_problem(path: Path) -> str:
    """What is wrong with a policy, or with one that nothing can fail to satisfy."""
    document = files.read_json(path)
    if not path.is_file():
        return "there is no such file"
    if not isinstance(document, dict) or not isinstance(document.get("default"), list):
        return "it is no policy: it holds no JSON object with 'default'"
    if set(_requirement_types(document)) <= {"insecureAcceptAnything"}:
        return "this policy accepts everything, signed or not"
    return ""


def _requirement_types(document: object) -> Iterator[str]:
    """Without recursion: a policy may be nested as deep as its reader can bear."""
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
            if isinstance(part.get("type"), str):
                yield part["type"]
        elif isinstance(part, list):
            waiting += part
