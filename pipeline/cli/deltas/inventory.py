"""``image-tools inventory SOURCE | -registry REGISTRY``: what a bundle, a lock or a registry has, in one small file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli.arguments import ACCESS, DEBUG, LIST, LOG_FORMAT, chosen, one_source, print_lines
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.harbor_flags import PROJECT, default_project
from pipeline.cli.lists import input_files
from pipeline.cli.signals import stopping
from pipeline.config import bundle_maker
from pipeline.config.flag import Flag
from pipeline.config.inputs import Options
from pipeline.config.settings import absolute, rows
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.reference import Reference, parse_source
from pipeline.reader import inventories
from pipeline.reader.targets import reference_in_registry
from pipeline.registry.distribution import Distribution
from pipeline.registry.harbor import Harbor
from pipeline.registry.login import environment_login
from pipeline.storage import inventory, locks
from pipeline.storage.inventory import Inventory

JOBS = 4


def _run(given: Given, operands: tuple[str, ...]) -> int:
    registry = given.text("registry")
    if bool(registry) == bool(operands):
        what = "SOURCE and -registry exclude each other" if registry else "no SOURCE given, and no -registry"
        raise UsageError(what, tip="see 'image-tools inventory -h'")
    target = absolute(given.text("o"), Path.cwd(), "o") if given.text("o") not in ("", "-") else None
    problems: list[str] = []
    interruption = Interruption()
    with stopping(interruption):
        if registry:
            found = _of_registry(given, registry, interruption, problems)
        else:
            source = one_source(operands, "inventory")
            with locks.reading(source, sleep=interruption.sleep):
                found = inventories.of_source(source, interruption.check)
    for problem in problems:
        log.warning("%s", problem)
    if target is None:
        sys.stdout.write(inventory.dump(found).decode())
    else:
        inventory.write(target, found)
        size = sum(blob.size for blob in found.blobs.values())
        print_lines(f"{len(found.images)} images, {len(found.blobs)} blobs, {bytes_text(size)}: {target.name}")
    return EXIT_SOME_FAILED if problems else EXIT_OK


def _of_registry(given: Given, registry: str, interruption: Interruption, problems: list[str]) -> Inventory:
    settings = chosen(given.only({*(row.name for row in ACCESS), "j"}))
    jobs = settings.number("jobs") if settings.given("jobs") else JOBS
    where = parse_source(registry)
    with environment_login.logged_in(bundle_maker.access(settings), environment_login.login_of("DEST")) as access:
        distribution = Distribution(access, interruption, connections=2 * jobs, mirrors=False)
        project = default_project(given)
        names = _listed(given.texts("f"), where, project)
        if not names:
            known = Harbor(where, distribution.session, given.switch("harbor-https")).repositories() if project else None
            names = distribution.catalogue(where, known)
        return inventories.of_registry(distribution, where, names, jobs, problems)


def _listed(lists: Sequence[str], registry: str, project: str) -> list[Reference]:
    """The images of ``-f``, as ``load`` names them there."""
    lines = input_files.read(lists, Options()).lines if lists else ()
    return [reference_in_registry(line.reference, registry, project) for line in lines]


BODY = Body(
    run=_run,
    flags=(
        *ACCESS,
        DEBUG,
        LIST,
        *rows("jobs"),
        LOG_FORMAT,
        Flag("harbor-https", True, "use HTTPS for the API of Harbor"),
        Flag("o", "", "file to write to (default standard output)", place="file"),
        PROJECT,
        Flag("registry", "", "look at what this registry has: host, host:port or host/path, as -d of load"),
        Flag(
            "repo-type",
            "",
            "repository type, can be 'harbor': -f has the names that load gives them there; without it, all is listed",
            choices=("harbor",),
        ),
    ),
    about="""
image-tools inventory SOURCE says in one file what SOURCE has: an archive, volumes, a folder, a
cache (the bundle saved last) or a lock. With -registry it asks a registry, for the images of -f or for all it lists; nothing
is fetched but manifests. 'image-tools save -base FILE' leaves out what an inventory has.
""",
    examples=(
        "image-tools inventory saved-images.tar.gz -o may.json",
        "image-tools inventory -registry registry.internal:5000 -f rancher-images.txt -o site.json",
    ),
    takes_files=True,
)
