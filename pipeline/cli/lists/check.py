"""``image-tools check LIST``: whether all of it can be saved today, without fetching anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.cli.arguments import DEBUG, JSON, LIST, chosen, print_json, print_lines, source
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.lists import input_files
from pipeline.cli.save.options import BUNDLE, CONFIG, read_bundles, with_source
from pipeline.cli.signals import stopping
from pipeline.config import digest_lock
from pipeline.config.settings import KEYS, rows
from pipeline.core.bundle import Bundle
from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.registry.login import environment_login

if TYPE_CHECKING:
    from pipeline.acts.check_list import Finding

_SETTINGS = rows("arch", "os", "source", "authfile", "cert-dir", "tls-verify", "retry")
_JOBS = replace(KEYS["jobs"], default=4, help="how many images are asked for at once")


def _run(given: Given, operands: tuple[str, ...]) -> int:
    from pipeline.acts.check_list import ListCheck  # here, as below: help shall not wait for what asks registries
    from pipeline.registry.distribution import Distribution

    if not operands and not given.texts("f") and not given.text("config"):
        raise UsageError("no list given", tip="see 'image-tools check -h'")
    settings = chosen(with_source(given.only({"config", "j", *(row.name for row in _SETTINGS)})))
    lists = tuple(name for name in operands if source(name).is_file())
    images = [name for name in operands if name not in lists]
    bundles, _, _ = read_bundles(given, settings, images, lists)
    interruption = Interruption()
    found = []
    with stopping(interruption):
        for bundle in bundles:
            login = environment_login.login_of("SOURCE")
            with environment_login.logged_in(bundle.access, login) as access:
                jobs = max(bundle.jobs, 4)
                distribution = Distribution(access, interruption, connections=2 * jobs)
                check = ListCheck(distribution, _locked(bundle), with_platforms=bool(given.text("a") or given.text("os")))
                probable = [each.image for each in bundle.candidates if not each.tags]
                found += check.run([*bundle.images, *probable], 2 * jobs)
    if given.switch("json"):
        print_json([each.to_json() for each in found])
    else:
        print_lines(*_lines(found))
    return EXIT_SOME_FAILED if any(each.problem for each in found) else EXIT_OK


def _locked(bundle: Bundle) -> Mapping[str, Digest]:
    """What the lock beside the list or definition says; empty where there is none."""
    path = bundle.lock_file
    return digest_lock.digests(path) if path is not None and path.is_file() else {}


def _lines(found: Sequence[Finding]) -> Iterator[str]:
    """What is wrong, by problem: each said once, with the images that have it."""
    groups: dict[str, list[Finding]] = {}
    for each in found:
        if each.problem:
            groups.setdefault(each.problem, []).append(each)
    for problem, images in groups.items():
        yield f"{problem}:"
        for each in images:
            yield f"  {each.image.text}" + (f"    the nearest tag is {each.nearest}" if each.nearest else "")
    wrong = sum(bool(each.problem) for each in found)
    yield f"{len(found) - wrong} of {len(found)} images are there" + ("" if wrong else ", as they should be")


BODY = Body(
    run=_run,
    flags=(
        *_SETTINGS,
        _JOBS,
        BUNDLE,
        CONFIG,
        DEBUG,
        JSON,
        LIST,
        *input_files.READING_FLAGS,
        input_files.PROBABLE,
    ),
    takes_files=True,
    about="""
image-tools check LIST asks for every image by one HEAD: is it there, and is it what the lock beside
the list says? Of what is gone, the nearest tag is named. With -a or -os it reads indexes, too (one
GET each, which counts for quotas), and says which platforms are lacking. LIST is any file that
'save -f' takes; images may be named, too.
""",
    examples=(
        "image-tools check rancher-images.txt",
        "image-tools check -config configs/rke2.yaml -a amd64,arm64 -json",
    ),
)
