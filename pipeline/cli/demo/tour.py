"""The guided tour: each step says what it does, shows the command as it would be typed, and checks what came out."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli import catalogue
from pipeline.cli.command import Body
from pipeline.cli.demo.images import RECIPES, MadeImage, make_layout
from pipeline.config.flag import Flag
from pipeline.core.amounts import bytes_text
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SIGNAL, UsageError
from pipeline.core.files import hash_file, remove
from pipeline.core.oci import REF_NAME
from pipeline.reader.serve import LayoutFolder, RegistryServer

Save = Callable[[Sequence[str]], int]

DEFAULT_FOLDER = "image-tools-demo"
MARKER = ".image-tools-demo"
"""Says that a folder is the demo's, and that its files may be replaced."""
LIST, CACHE, ARCHIVE, FAILED = "demo-images.txt", "saved-image-cache", "saved-images.tar.gz", "save-failed.txt"
CHECKSUM = f"{ARCHIVE}.sha256"
ARCHITECTURES = ("amd64", "arm64")
"""What save takes when not told otherwise."""

_REQUEST = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<what>[^/]+)")


class CheckFailed(Exception):
    """Something is not as the demo was about to say."""


class Requests:
    """What the registry was asked for, by image and by digest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        self.manifests: Counter[str] = Counter()
        self.blobs: Counter[str] = Counter()

    def count(self, method: str, path: str, status: int) -> None:
        if found := _REQUEST.fullmatch(path):
            with self._lock:
                if found["kind"] == "manifests":
                    self.manifests[f"{found['name']}:{found['what']}"] += 1
                else:
                    self.blobs[found["what"]] += 1


@dataclass(frozen=True)
class Bundle:
    """The archive as it lies on the disk."""

    sha256: str
    written: int


def run_demo(folder: Path, save: Save) -> int:
    """Run the demo with ``save``, the save command. Its exit code: 0 only when everything that it says was found true."""
    _start_fresh(folder)
    try:
        with tempfile.TemporaryDirectory(prefix="image-tools-demo-") as temporary:
            _guide(folder, Path(temporary, "images"), save)
    except CheckFailed as problem:
        print(f"\nimage-tools: the demo went wrong: {problem}", file=sys.stderr)
        return EXIT_COULD_NOT
    except KeyboardInterrupt:
        return EXIT_SIGNAL + signal.SIGINT
    return EXIT_OK


BODY = Body(
    run=lambda given, operands: run_demo(Path(given.text("d")), lambda arguments: catalogue.run(["save", *arguments])),
    flags=(Flag("d", DEFAULT_FOLDER, "folder to write to; what an earlier demo left there is replaced", place="folder"),),
    about="""
The demo needs no network: it makes up a few small images, serves them from a registry on
this machine, saves them into one bundle, looks at the result, and saves them once more to
show that nothing is done twice.
""",
)


def _guide(folder: Path, layout: Path, save: Save) -> None:
    images = [image for image in make_layout(layout) if image.platform.architecture in ARCHITECTURES]
    requests = Requests()
    _say(f"This is image-tools at work, with nothing but this machine. What it makes is in {folder}/.")
    with RegistryServer(LayoutFolder(layout), on_request=requests.count) as server:
        _heading("1. A registry")
        _say(
            f"A registry now runs at {server.host}, for as long as this demo. Its images:",
            *(f"    {recipe.name:<20}{recipe.kind}: {', '.join(map(str, recipe.platforms))}" for recipe in RECIPES),
            "Like real images they share layers: some are in all of them.",
        )

        _heading("2. The list of images to save")
        (folder / LIST).write_text("".join(f"{recipe.name}\n" for recipe in RECIPES))
        _say(f"{folder / LIST} has one image on each line, as above.")

        _heading("3. Save them into one bundle")
        command = _save_arguments(folder, server)
        _run(save, command)
        _check_fetched(requests, images)

        _heading("4. What there is now")
        bundle = _check_bundle(folder, images)

        _heading("5. The same command once more")
        requests.clear()
        _run(save, command)
        _check_nothing_repeated(requests, bundle, _bundle(folder))

    _heading("What next")
    _say_what_next(folder)


def _start_fresh(folder: Path) -> None:
    """Remove what an earlier demo wrote, and nothing else. Raises UsageError for a folder that is not the demo's."""
    if not (folder / MARKER).exists():
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise UsageError(f"{folder} is there already, and no demo made it", tip="name another folder with -d")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text("This folder belongs to 'image-tools demo', which replaces its files.\n")
    for name in (LIST, CACHE, ARCHIVE, CHECKSUM, FAILED):
        remove(folder / name)


def _save_arguments(folder: Path, server: RegistryServer) -> list[str]:
    places = {"-f": LIST, "-d": ARCHIVE, "-cache": CACHE, "-o": FAILED}
    paths = [part for flag, name in places.items() for part in (flag, str(folder / name))]
    return [*paths, "-j", "4", "-s", server.host, "-tls-verify=false"]


def _run(save: Save, arguments: Sequence[str]) -> None:
    lines = [shlex.join(arguments[start : start + 4]) for start in (0, 4)] + [shlex.join(arguments[8:])]
    _say(f"$ {_program()} save " + " \\\n      ".join(lines), "")
    code = save(arguments)
    if code == EXIT_SIGNAL + signal.SIGINT:
        raise KeyboardInterrupt
    if code != EXIT_OK:
        raise CheckFailed(f"save ended with exit code {code} (above: why)")


def _check_fetched(requests: Requests, images: Sequence[MadeImage]) -> None:
    sizes = {digest: size for image in images for digest, size in image.layers.items()}
    repeated = [str(digest) for digest in sizes if requests.blobs[str(digest)] != 1]
    if repeated:
        raise CheckFailed(f"these layers were not fetched exactly once: {', '.join(repeated)}")
    named = [size for image in images for size in image.layers.values()]
    _say(
        "",
        f"The registry was asked for {len(sizes)} layers ({bytes_text(sum(sizes.values()))}), and for each of them once.",
        f"One image after the other would have been {len(named)} layers ({bytes_text(sum(named))}).",
        "What is for arm/v7 stayed behind: -a chooses architectures, amd64,arm64 when it is not given.",
    )


def _check_bundle(folder: Path, images: Sequence[MadeImage]) -> Bundle:
    bundle = _bundle(folder)
    if (folder / CHECKSUM).read_text().split()[0] != bundle.sha256:
        raise CheckFailed(f"{folder / CHECKSUM} does not match {folder / ARCHIVE}")
    names = _check_archive(folder / ARCHIVE, images)
    _say(
        f"    {LIST:<30}the list",
        f"    {ARCHIVE:<30}the bundle, {bytes_text((folder / ARCHIVE).stat().st_size)}: this is what travels",
        f"    {CHECKSUM:<30}its checksum: cd {folder} && sha256sum -c {CHECKSUM}",
        f"    {CACHE + '/':<30}what was fetched; it makes the next run short, and may be deleted",
        f"The bundle is a plain tar.gz: tar -tzf {folder / ARCHIVE} lists {len(names)} entries.",
        *(f"    {name}" for name in [*names[:5], "...", names[-1]]),
        "It was read through just now: it holds every image of the list, and each blob has the digest that the registry gave.",
    )
    return bundle


def _check_archive(archive: Path, images: Sequence[MadeImage]) -> list[str]:
    """Whether it holds the images and only intact blobs. The names of its members."""
    names, blobs, index = [], set(), b'{"manifests": []}'
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            names.append(f"{member.name}/" if member.isdir() else member.name)
            folder, _, name = member.name.rpartition("/")
            content = tar.extractfile(member) if member.isreg() else None
            if content and member.name == f"{CACHE}/index.json":
                index = content.read()
            elif content and folder == f"{CACHE}/share/sha256":
                blobs.add(name)
                if hash_file(content)[0] != name:
                    raise CheckFailed(f"{member.name} in {archive} does not match its digest")
    saved = {entry["annotations"][REF_NAME] for entry in json.loads(index)["manifests"]}
    if saved != {f"docker.io/{recipe.name}" for recipe in RECIPES}:
        raise CheckFailed(f"{archive} holds {', '.join(sorted(saved)) or 'no image'}")
    expected = {digest.hex for image in images for digest in (image.manifest, *image.layers)}
    if expected - blobs:
        raise CheckFailed(f"{archive} lacks {', '.join(sorted(expected - blobs))}")
    return names


def _bundle(folder: Path) -> Bundle:
    try:
        with (folder / ARCHIVE).open("rb") as file:
            return Bundle(hash_file(file)[0], (folder / ARCHIVE).stat().st_mtime_ns)
    except OSError as error:
        raise CheckFailed(f"there is no bundle: {error}") from error


def _check_nothing_repeated(requests: Requests, before: Bundle, after: Bundle) -> None:
    if requests.blobs:
        raise CheckFailed(f"{requests.blobs.total()} blobs were asked for again")
    if requests.manifests != Counter(recipe.name for recipe in RECIPES):
        raise CheckFailed(f"not one manifest for each tag was asked for: {dict(requests.manifests)}")
    if before != after:
        raise CheckFailed("the bundle was written again")
    _say(
        "",
        f"This time the registry was asked for {requests.manifests.total()} manifests, as each tag could have moved,",
        "and for no blob. The bundle was not written again.",
        "It is the same after a failure: the same command goes on where the first one stopped.",
    )


def _say_what_next(folder: Path) -> None:
    program = _program()
    _say(
        "Look at an image: the folder, here and in the bundle, is one that all OCI tools read.",
        f"    skopeo inspect oci:{folder / CACHE}:docker.io/demo/migrate:2.3.1",
        "Save images of your own:",
        "    echo rancher/rancher:v2.7.0 > my-images.txt",
        f"    {program} save -f my-images.txt -dry-run    # what would be fetched, and whether there is room",
        f"    {program} save -f my-images.txt -j 4",
        f"    {program} save -h                           # everything else",
        "Remove what the demo made:",
        f"    rm -r {shlex.quote(str(folder))}",
    )


def _program() -> str:
    """How the user called us: the launcher of a checkout says so, else it is the installed command."""
    return os.environ.get("IMAGE_TOOLS_COMMAND") or "image-tools"


def _heading(text: str) -> None:
    _say("", text, "-" * len(text))


def _say(*lines: str) -> None:
    # save logs on standard error meanwhile: what was said first shall be seen first.
    print(*lines, sep="\n", flush=True)
