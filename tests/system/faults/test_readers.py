"""Who reads a cache is protected from who removes from it: ``serve``, ``load`` and ``verify`` beside ``cache prune``."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.support.kinds import push_kind
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import skopeo, spawn
from tests.system.save.saving import CACHE, REF_NAME, cached, command, save, saved, spawn_save


@pytest.fixture(scope="session")
def image(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-single", "readers/image")


def test_prune_waits_for_serve(image: PushedImage) -> None:
    """Without -wait it is refused, and says by whom; the registry gives every blob until it ends."""
    saved([image])
    layer = image.platforms[0].layers[0]
    with spawn("serve", CACHE, "-listen", "127.0.0.1:0") as server:
        server.wait_for("until Ctrl-C")
        [host] = re.findall(r"at http://(\S+), until", server.stdout)
        refused = command("cache", "prune", "-forget", "saved-images.tar.gz")
        assert refused.code == 3, refused
        assert f"is being read by process {server.pid} (" in refused.stderr
        assert f"serve {CACHE}" in refused.stderr
        assert "-wait" in refused.stderr
        assert command("cache", "prune", "-dry-run").code == 0, "that removes nothing"
        with spawn("cache", "prune", "-forget", "saved-images.tar.gz", "-wait") as pruning:
            pruning.wait_for("waiting: ")
            pulled = skopeo("copy", "--src-tls-verify=false", f"docker://{host}/{image.repository}:v1", "dir:pulled")
            assert pulled.code == 0, pulled
            assert pruning.running
            assert cached(layer).exists()
            server.signal(signal.SIGINT)
            assert server.wait(5).code == 0
            assert pruning.wait(10).code == 0
    assert not cached(layer).exists()


def test_a_save_goes_on_beside_readers(image: PushedImage) -> None:
    """It adds blobs and removes none."""
    saved([image])
    with spawn("serve", CACHE, "-listen", "127.0.0.1:0") as server:
        server.wait_for("until Ctrl-C")
        saved([image], "-d", "other.tar.gz")
        saved([image], "-compress=dir")
        assert command("verify", CACHE).code == 0, "readers are many"
        assert command("ls", CACHE).code == 0


def test_a_folder_that_is_served_is_not_replaced(registry: Registry, image: PushedImage) -> None:
    """The new one waits beside it: for the same command once more, or with -wait until nobody reads."""
    other = push_kind(registry, "oci-single", "readers/other")
    saved([image], "-compress=dir", "-d", "bundle")
    saved([image], "-compress=dir", "-d", "bundle", "-verify")
    with spawn("serve", "bundle", "-listen", "127.0.0.1:0") as server:
        server.wait_for("until Ctrl-C")
        assert "unchanged" in saved([image], "-compress=dir", "-d", "bundle").stdout, "nothing is in the way of that"
        refused = save([other], "-compress=dir", "-d", "bundle")
        assert refused.code == 3, refused
        assert f"bundle is being read by process {server.pid} (" in refused.stderr
        assert command("verify", "bundle").code == 0
        with spawn_save([other], "-compress=dir", "-d", "bundle", "-wait") as saving:
            saving.wait_for("waiting: ")
            server.signal(signal.SIGINT)
            assert server.wait(5).code == 0
            assert saving.wait(20).code == 0
    [entry] = json.loads(Path("bundle/index.json").read_bytes())["manifests"]
    assert entry["annotations"][REF_NAME] == other.reference
    assert command("verify", "bundle").code == 0


def test_a_killed_reader_is_none(image: PushedImage) -> None:
    saved([image])
    with spawn("serve", CACHE, "-listen", "127.0.0.1:0") as server:
        server.wait_for("until Ctrl-C")
        server.signal(signal.SIGKILL)
        server.wait(5)
    start = time.monotonic()
    assert command("cache", "prune", "-wait").code == 0
    assert time.monotonic() - start < 5
