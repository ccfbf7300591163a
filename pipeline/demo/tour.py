"""The guided tour: each step says what it does, shows the command as it would be typed, and checks what came out."""

from __future__ import annotations

import hashlib
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

from ..display import bytes_text
from ..errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SIGNAL, EnvironmentProblem, UsageError
from ..files import hash_file, remove
from ..goflags import Flag, FlagSet
from ..oci import REF_NAME, Descriptor, Digest, Index, parse
from ..serve import LayoutFolder, RegistryServer
from .images import RECIPES, make_layout

Save = Callable[[Sequence[str]], int]

FLAGS = FlagSet("demo", (Flag("d", "image-tools-demo", "folder that the demo writes to; what an earlier demo wrote is replaced"),))
ABOUT = """
The demo needs no network: it serves a few small images that it makes up itself from a
registry on this machine, saves them into one bundle, looks at the result, and saves them
once more to show that nothing is done twice.
"""

MARKER = ".image-tools-demo"
"""Says that a folder is the demo's, and its files may be replaced."""
LIST, CACHE, ARCHIVE, FAILED = "demo-images.txt", "saved-image-cache", "saved-images.tar.gz", "save-failed.txt"
ARCHITECTURES = ("amd64", "arm64")
"""What save takes when not told otherwise."""

_REQUEST = re.compile(r"/v2/(.+)/(manifests|blobs)/([^/]+)")


class CheckFailed(Exception):
    """Something is not as the demo was about to say."""


def run_demo(arguments: Sequence[str], save: Save) -> int:
    """Run the demo with ``save``, the save command. Its exit code; 0 only when everything that was checked was right."""
    if any(argument in ("-h", "--h", "-help", "--help") for argument in arguments):
        print(FLAGS.usage() + ABOUT, end="")
        return EXIT_OK
    values, rest = FLAGS.parse(arguments)
    if rest:
        raise UsageError(f"unexpected argument '{rest[0]}'\nTIP: see 'image-tools demo -h'")
    folder = Path(str(values.get("d", "image-tools-demo")))
    _start_fresh(folder)
    try:
        return _guide(folder, save)
    except CheckFailed as problem:
        print(f"\nThe demo went wrong: {problem}", file=sys.stderr)
        return EXIT_COULD_NOT
    except KeyboardInterrupt:
        return EXIT_SIGNAL + signal.SIGINT


def _guide(folder: Path, save: Save) -> int:
    requests = Requests()
    _say("image-tools demo: a list of images becomes one bundle, and nothing is done twice.", f"All of it goes to {folder}/.")
    with tempfile.TemporaryDirectory(prefix="image-tools-demo-") as temporary:
        make_layout(Path(temporary, "layout"))
        source = LayoutFolder(Path(temporary, "layout"))
        with RegistryServer(source, on_request=requests.count) as server:
            _heading("1. A registry with images")
            _show_registry(source, server)

            _heading("2. A list of the images to save")
            _write_list(folder)

            _heading("3. Save them")
            arguments = _save_arguments(folder, server)
            _run(save, arguments)
            _check_first(requests, source)

            _heading("4. What there is now")
            before = _check_bundle(folder, source)

            _heading("5. The same command again")
            requests.clear()
            _run(save, arguments)
            _check_second(requests, before, _fingerprint(folder / ARCHIVE))
    _heading("What next")
    _say_what_next(folder)
    return EXIT_OK


class Requests:
    """What the registry was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        self.manifests: Counter[str] = Counter()
        self.blobs: Counter[str] = Counter()

    def count(self, method: str, path: str, status: int) -> None:
        if (found := _REQUEST.fullmatch(path)) and status < 400:
            with self._lock:
                (self.manifests if found[2] == "manifests" else self.blobs)[f"{found[1]} {found[3]}"] += 1

    def of_blob(self, digest: Digest) -> int:
        return sum(count for key, count in self.blobs.items() if key.endswith(str(digest)))


@dataclass(frozen=True)
class Saved:
    """The layers that are to be saved, and how often the images name each."""

    manifests: tuple[Digest, ...]
    layers: dict[Descriptor, int]

    @classmethod
    def of(cls, source: LayoutFolder) -> Saved:
        manifests: list[Digest] = []
        layers: Counter[Descriptor] = Counter()
        found: dict[Digest, Descriptor] = {}
        for _, descriptor in source.images:
            for digest in _platforms(source, descriptor):
                manifests.append(digest)
                manifest = parse(b"".join(source.open_blob(digest)))
                assert not isinstance(manifest, Index) and hasattr(manifest, "layers")
                for layer in manifest.layers:
                    layers[found.setdefault(layer.digest, layer)] += 1
        return cls(tuple(manifests), dict(layers))
