"""``image-tools export SOURCE -for RUNTIME -d PLACE``: archives that container runtimes import, without a registry."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.arguments import DEBUG, ONLY, one_source, print_lines, source
from pipeline.cli.command import Body
from pipeline.cli.go_flags import Given
from pipeline.cli.lists import input_files
from pipeline.cli.signals import stopping
from pipeline.config.flag import Flag, either
from pipeline.core import bundle
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import EXIT_OK, InputError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.reference import matches
from pipeline.reader.contents import BundledImage, Contents, open_contents
from pipeline.reader.export import Export, Exporter, Target
from pipeline.storage import locks

_HOW = {
    Target.CONTAINERD: "ctr -n k8s.io images import {}",
    Target.K3S: "cp {} /var/lib/rancher/k3s/agent/images/    # k3s imports it as it starts",
    Target.RKE2: "cp {} /var/lib/rancher/rke2/agent/images/    # rke2 imports it as it starts",
    Target.DOCKER: "docker load -i {}",
    Target.PODMAN: "podman load -i {}",
}
_TARGETS = tuple(each.value for each in Target)
_COMPRESSED = (".gz", ".tgz", ".zst", ".zstd", ".xz")


def _run(given: Given, operands: tuple[str, ...]) -> int:
    saved = one_source(operands, "export")
    if not given.text("for") or not given.text("d"):
        lacking = "-for is missing: containerd, k3s, rke2, docker or podman" if not given.text("for") else "-d is missing"
        raise UsageError(lacking, tip="see 'image-tools export -h'")
    target, place = Target(given.text("for")), _place(given)
    platforms = bundle.parse_platforms(given.text("a"), given.text("os")) if given.text("a") or given.text("os") else None
    interruption = Interruption()
    with stopping(interruption), locks.reading(saved, sleep=interruption.sleep):
        contents = open_contents(saved, interruption.check)
        made = Exporter(contents, target, platforms, interruption).run(_chosen(given, contents, saved), place)
    print_lines(*_lines(made, target))
    return EXIT_OK


def _place(given: Given) -> Path:
    """Where it goes. Raises UsageError for what the target does not write."""
    target, place = Target(given.text("for")), source(given.text("d"))
    if not target.takes_many:
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file, and each image gets an archive", tip="name a folder", setting="d")
        return place
    if place.name.endswith(_COMPRESSED):
        raise UsageError(
            f"{place}: the archive is a plain tar, as its layers are compressed", tip="end it in .tar", setting="d"
        )
    return place / f"images-{target.value}.tar" if place.is_dir() else place


def _chosen(given: Given, contents: Contents, saved: Path) -> list[BundledImage]:
    """The images that -f names, or all; what refers to them is for registries. Raises InputError."""
    images = [image for image in contents.bundled if image.subject is None]
    if patterns := given.texts("only"):
        images = [image for image in images if matches(image.reference, patterns)]
        if not images:
            raise InputError([f"{saved} holds no image that is called {' or '.join(patterns)}"])
    if not given.texts("f"):
        return images
    wanted = {line.reference for line in input_files.read(given.texts("f"), input_files.reading_options(given)).lines}
    if lacking := sorted(str(name) for name in wanted - {image.reference for image in images}):
        raise InputError([f"{saved} does not hold {name}" for name in lacking])
    return [image for image in images if image.reference in wanted]


def _lines(made: Export, target: Target) -> Iterator[str]:
    for each in made.archives:
        count = len(each.images)
        yield f"wrote {each.path}: {count} image{'' if count == 1 else 's'}, {bytes_text(each.size)}"
    yield from made.notes
    path = shlex.quote(str(made.archives[0].path)) if len(made.archives) == 1 else "FILE"
    yield f"there: {_HOW[target].format(path)}"


BODY = Body(
    run=_run,
    flags=(
        Flag("a", "", "architecture list of images, separate with ',' (default: all that SOURCE has)", long="arch"),
        Flag("d", "", "file to write, or folder", place="file", long="destination"),
        DEBUG,
        Flag("f", "", "export only the images in this list file", place="file", adds_up=True, long="file"),
        *input_files.READING_FLAGS,
        Flag("for", "", f"what imports it, can be {either(*map(repr, _TARGETS))}", choices=_TARGETS),
        ONLY,
        Flag("os", "", "operating system list of images, separate with ','"),
    ),
    about="""
image-tools export SOURCE writes archives that container runtimes import, for machines without a
registry. Nothing is unpacked. For podman each image gets an archive of its own, in the folder -d.
""",
    examples=(
        "image-tools export saved-images.tar.gz -for k3s -a amd64 -d images.tar",
        "image-tools export saved-images.tar.gz -for podman -d archives",
    ),
    takes_files=True,
)
