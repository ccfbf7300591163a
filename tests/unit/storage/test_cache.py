"""What counts as present in the cache, and what is removed from it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from pipeline.core.errors import Interrupted
from pipeline.core.interruption import Interruption
from pipeline.core.oci import OCI_CONFIG, OCI_MANIFEST, Descriptor, Digest
from pipeline.storage.cache import Cache

LAYER = b"a layer" * 100
DIGEST = Digest("sha256", hashlib.sha256(LAYER).hexdigest())


def stated(size: int, digest: Digest = DIGEST) -> Descriptor:
    return Descriptor("application/vnd.oci.image.layer.v1.tar", digest, size)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "cache")
    made.prepare()
    made.put(LAYER, DIGEST)
    return made


def manifest(cache: Cache, size: int) -> Descriptor:
    """An image of which the layer is here, in the cache; its manifest states ``size`` for it."""
    config = b"{}"
    digest = Digest("sha256", hashlib.sha256(config).hexdigest())
    cache.put(config, digest)
    document = {
        "config": {"mediaType": OCI_CONFIG, "digest": str(digest), "size": 2},
        "layers": [{"mediaType": "x", "digest": str(DIGEST), "size": size}],
    }
    data = json.dumps(document).encode()
    own = Digest("sha256", hashlib.sha256(data).hexdigest())
    cache.put(data, own)
    return Descriptor(OCI_MANIFEST, own, len(data))


@pytest.mark.parametrize("size", [0, 699, 701, 2**62])
def test_a_right_digest_is_present_whatever_size_is_stated(cache: Cache, size: int) -> None:
    image = manifest(cache, size)
    assert cache.has(stated(size))
    assert cache.missing(image) == ()
    assert {blob.digest: blob.size for blob in cache.closure(image)}[DIGEST] == 700
    assert [(blob.digest, blob.size, true) for blob, true in cache.wrong_sizes(image)] == [(DIGEST, size, 700)]
    assert cache.wrong_sizes(manifest(cache, 700)) == []
    assert cache.sized(stated(700)) == stated(700) == cache.sized(stated(size))


def test_a_wrong_digest_is_missing_and_then_right_again(cache: Cache) -> None:
    for damaged in (b"", LAYER[:-1], LAYER + b"x"):
        cache.blob(DIGEST).write_bytes(damaged)
        assert not cache.has(stated(700))
        assert cache.sized(stated(700)).size == 700
        cache.blob(DIGEST).write_bytes(LAYER)
        assert cache.has(stated(700))
        assert cache.has(stated(1))
    cache.blob(DIGEST).unlink()
    assert not cache.has(stated(700))


def test_a_sha512_digest_is_checked_as_such(cache: Cache) -> None:
    digest = Digest("sha512", hashlib.sha512(LAYER).hexdigest())
    cache.put(LAYER, digest)
    assert cache.has(stated(1, digest))
    cache.blob(digest).write_bytes(LAYER[:-1])
    assert not cache.has(stated(700, digest))
    cache.remove_if_damaged(digest)
    assert not cache.blob(digest).exists()


def test_a_file_is_hashed_once_in_the_life_of_a_cache(cache: Cache) -> None:
    assert cache.has(stated(1))
    times = cache.blob(DIGEST).stat()
    cache.blob(DIGEST).write_bytes(bytes(700))
    os.utime(cache.blob(DIGEST), ns=(times.st_atime_ns, times.st_mtime_ns))
    assert Cache(cache.root).has(stated(1)), "by size and time, as packing hashes it again"
    os.utime(cache.blob(DIGEST), ns=(0, 0))
    assert not Cache(cache.root).has(stated(1))


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"sizes": 1}', b'{"sizes": {"x": [1, 2]}}'])
def test_a_damaged_record_is_as_good_as_none(cache: Cache, record: bytes) -> None:
    assert cache.has(stated(1))
    (cache.state / "sizes.json").write_bytes(record)
    cache = Cache(cache.root)
    assert cache.has(stated(1))


def test_only_what_is_damaged_is_removed(cache: Cache) -> None:
    cache.remove_if_damaged(DIGEST)
    assert cache.blob(DIGEST).read_bytes() == LAYER
    cache.blob(DIGEST).write_bytes(bytes(700))
    cache.remove_if_damaged(DIGEST)
    assert not cache.blob(DIGEST).exists()
    cache.remove_if_damaged(DIGEST)


def test_hashing_ends_when_the_run_is_to_stop(cache: Cache) -> None:
    interruption = Interruption()
    stopping = Cache(cache.root, interruption.check)
    interruption.request(15)
    with pytest.raises(Interrupted):
        stopping.has(stated(1))


def test_what_has_just_arrived_is_looked_at_again_only_to_pack_it(cache: Cache) -> None:
    cache.note_arrival(DIGEST)
    assert cache.arrived_size(DIGEST) == 700
    cache.blob(DIGEST).write_bytes(bytes(700))
    assert cache.has(stated(700))
    assert cache.arrived_size(DIGEST) is None
    cache.remove_if_damaged(DIGEST)
    assert not cache.has(stated(700))


def test_a_damaged_blob_is_replaced_and_a_whole_one_keeps_its_time(cache: Cache) -> None:
    os.utime(cache.blob(DIGEST), (1, 1))
    cache.put(LAYER, DIGEST)
    assert cache.blob(DIGEST).stat().st_mtime == 1
    cache.blob(DIGEST).write_bytes(bytes(700))
    cache.put(LAYER, DIGEST)
    assert cache.blob(DIGEST).read_bytes() == LAYER
