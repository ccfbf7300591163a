"""Four nested indexes of 500 entries each would unfold to 62 billion: whatever reads them reads each object once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import Interrupted
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Descriptor, Digest
from pipeline.core.oci.walk import MAX_DEPTH
from pipeline.reader.contents import Contents
from pipeline.reader.contents.stores import TreeStore
from pipeline.reader.contents.trees import FolderTree
from pipeline.reader.listing import make_listing
from pipeline.reader.serve.app import RegistryApp
from pipeline.reader.verify import check
from tests.support.images import Content, Image, Index, image, index, layer

ENTRIES = 500
AMD64, ARM64 = image("linux/amd64", [layer("a")]), image("linux/arm64", [layer("b")])


def hostile() -> Index:
    made = index(AMD64, ARM64)
    for _ in range(MAX_DEPTH - 1):
        made = index(*[made] * ENTRIES)
    return made


def write_layout(folder: Path, made: Index) -> Path:
    """An OCI image layout of one image, as any tool might write it."""
    blobs: dict[str, bytes] = {}

    def add(what: Index | Image) -> None:
        content: list[Content] = [what.content] if isinstance(what, Index) else [what.manifest, what.config, *what.layers]
        if content[0].digest not in blobs:
            blobs.update((each.digest, each.data) for each in content)
            for entry in what.entries if isinstance(what, Index) else ():
                add(entry)

    add(made)
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for digest, data in blobs.items():
        (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(data)
    name = {"org.opencontainers.image.ref.name": "r.io/app:v1"}
    document = {"schemaVersion": 2, "manifests": [made.content.descriptor(annotations=name)]}
    (folder / "index.json").write_text(json.dumps(document))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder


class CountingStore(TreeStore):
    def __init__(self, path: Path) -> None:
        super().__init__(FolderTree(path))
        self.opened = 0

    def open_blob(self, digest: Digest, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        self.opened += 1
        return super().open_blob(digest, offset, length)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "layout", hostile())


def test_ls_lists_it(place: Path) -> None:
    store = CountingStore(place)
    listing = make_listing(Contents(store))
    assert [each.platform for each in listing.images[0].platforms] == ["linux/amd64", "linux/arm64"]
    assert (listing.blobs, listing.size) == (
        MAX_DEPTH + 6,
        sum(path.stat().st_size for path in (place / "blobs" / "sha256").iterdir()),
    )
    assert store.opened == MAX_DEPTH + 2, "indexes and manifests, each once"


def test_verify_finds_it_whole_and_names_what_is_missing(place: Path) -> None:
    report = check(place, 1, Interruption())
    assert (report.faults, report.blobs) == ((), MAX_DEPTH + 6)
    (place / "blobs" / "sha256" / AMD64.layers[0].digest.removeprefix("sha256:")).unlink()
    (fault,) = check(place, 1, Interruption()).faults
    assert (fault.what, fault.problem, fault.breaks) == (AMD64.layers[0].digest, "is missing", ("r.io/app:v1",))


def test_serve_looks_for_referrers_in_it(place: Path) -> None:
    store = CountingStore(place)
    app = RegistryApp(Contents(store))
    answered = threading.Event()
    body = app(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": f"/v2/app/referrers/{AMD64.manifest.digest}",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
        },
        lambda status, headers: answered.set(),
    )
    assert json.loads(b"".join(body))["manifests"] == []
    assert answered.is_set()
    assert store.opened == MAX_DEPTH + 2


def test_a_walk_ends_when_the_run_is_to_stop(place: Path) -> None:
    interruption = Interruption()
    contents = Contents(CountingStore(place), interruption.check)
    top: Descriptor = contents.bundled[0].descriptor
    interruption.request(15)
    for follow in (contents.closure, contents.platforms):
        with pytest.raises(Interrupted):
            follow(top)
