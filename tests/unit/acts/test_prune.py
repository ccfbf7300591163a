"""What belongs to no bundle goes, and nothing else: of a cache that is made here, file by file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.acts.prune import prune, take_inventory
from pipeline.core import files
from pipeline.core.bundle import Bundle, Compression, Output
from pipeline.core.errors import EnvironmentProblem, UsageError
from pipeline.core.oci import OCI_CONFIG, OCI_MANIFEST
from pipeline.storage.cache import Cache
from pipeline.storage.records import bundle as bundle_record

LAYER = "application/vnd.oci.image.layer.v1.tar"


class Made:
    """A cache with bundles of which the last archive is known (``index.json`` of their state)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = Cache(folder / "cache")
        self.cache.prepare()

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        (self.cache.share / "sha256" / digest).write_bytes(data)
        return digest

    def image(self, *layers: bytes) -> tuple[str, set[str]]:
        """The digest of its manifest, and all digests that it needs."""
        config = self.put(b"config of " + b" ".join(layers))
        held = [self.put(layer) for layer in layers]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": f"sha256:{config}", "size": self.size(config)},
            "layers": [{"mediaType": LAYER, "digest": f"sha256:{each}", "size": self.size(each)} for each in held],
        }
        manifest = self.put(json.dumps(document).encode())
        return manifest, {manifest, config, *held}

    def size(self, digest: str) -> int:
        return (self.cache.share / "sha256" / digest).stat().st_size

    def bundle(self, name: str, *manifests: str) -> Bundle:
        made = Bundle(
            name=name,
            images=(),
            cache=self.cache.root,
            output=Output(compression=Compression.GZIP, destination=self.folder / name),
            failed_list=self.folder / "failed.txt",
        )
        state = self.cache.bundle_state(made)
        bundle_record.write(state.description, made, ())
        entries = [{"mediaType": OCI_MANIFEST, "digest": f"sha256:{each}", "size": self.size(each)} for each in manifests]
        files.write_atomic(state.index, files.dump_json({"schemaVersion": 2, "manifests": entries}))
        return made

    @property
    def blobs(self) -> set[str]:
        return {path.name for path in (self.cache.share / "sha256").iterdir()}

    def prune(self, *forgotten: str) -> None:
        prune(take_inventory(self.cache.root, forgotten))


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_what_no_bundle_needs_goes(made: Made) -> None:
    manifest, needed = made.image(b"base", b"one")
    made.bundle("a.tar", manifest)
    stray, (orphan, others) = made.put(b"stray"), made.image(b"base", b"two")
    inventory = take_inventory(made.cache.root)
    assert {path.name for path in inventory.unused.blobs} == {stray, *others} - needed
    assert inventory.unused.size == sum(made.size(digest) for digest in {stray, *others} - needed)
    made.prune()
    assert made.blobs == needed
    assert orphan not in made.blobs


def test_what_two_bundles_share_stays_when_one_is_forgotten(made: Made) -> None:
    (one, needed), (two, others) = made.image(b"base", b"one"), made.image(b"base", b"two")
    made.bundle("a.tar", one)
    second = made.bundle("b.tar", two)
    inventory = take_inventory(made.cache.root)
    assert {use.id: inventory.alone(use) for use in inventory.bundles}[second.id] == sum(
        made.size(digest) for digest in others - needed
    )
    made.prune()
    assert made.blobs == needed | others
    made.prune(str(made.folder / "b.tar"))
    assert made.blobs == needed
    with pytest.raises(UsageError, match=r"there is no bundle .*b\.tar"):
        made.prune(str(made.folder / "b.tar"))


@pytest.mark.parametrize("damage", [b"", b"{", b'{"manifests": 1}'])
def test_where_something_is_damaged_nothing_goes(made: Made, damage: bytes) -> None:
    manifest, _ = made.image(b"base", b"one")
    bundle = made.bundle("a.tar", manifest)
    made.put(b"stray")
    before = made.blobs
    index = made.cache.bundle_state(bundle).index
    good = index.read_bytes()
    index.write_bytes(damage)
    made.prune()
    assert made.blobs == before
    index.write_bytes(good)
    (made.cache.share / "sha256" / manifest).write_bytes(damage)
    made.prune()
    assert made.blobs == before


def test_a_cache_without_bundles_is_not_emptied_unless_they_were_forgotten(made: Made) -> None:
    manifest, needed = made.image(b"one")
    with pytest.raises(EnvironmentProblem, match="knows of no bundle"):
        made.prune()
    assert made.blobs == needed
    bundle = made.bundle("a.tar", manifest)
    made.prune(bundle.id)
    assert made.blobs == set()
    assert not (made.cache.state / "forgotten.json").exists()


def test_a_forgetting_that_was_cut_short_is_known(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, needed = made.image(b"one")
    bundle = made.bundle("a.tar", manifest)

    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.acts.prune._remove_empty", stop)
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        with pytest.raises(KeyboardInterrupt):
            made.prune(bundle.id)
    assert take_inventory(made.cache.root).forgotten == {bundle.id: str(made.folder / "a.tar")}
    assert made.blobs == needed
    made.prune(bundle.id)
    assert made.blobs == set()


def test_what_is_not_ours_stays(made: Made) -> None:
    manifest, needed = made.image(b"one")
    made.bundle("a.tar", manifest)
    strangers = [made.cache.share / "sha256" / name for name in ("README", "a" * 63, "A" * 64)]
    for path in strangers:
        path.write_text("mine")
    made.prune()
    assert all(path.exists() for path in strangers)
    assert needed <= made.blobs


def test_there_must_be_a_cache(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no cache"):
        take_inventory(tmp_path / "none")
    assert not (tmp_path / "none").exists()
