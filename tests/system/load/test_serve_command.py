"""``image-tools serve``: pulling straight from the stick."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.client import RegistryClient
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import Running, skopeo, spawn
from tests.system.load.loading import Bundle, command, flip
from tests.system.load.test_damage import blob_place, only_layer

UNCOPYABLE = ("nested-index", "windows", "schema1")
"""skopeo copies no index in an index, the folder it copies to takes no foreign layer, and schema 1 was converted."""
MAX_MEMORY = 150_000
"""kB."""


@contextmanager
def serving(bundle: Bundle, *arguments: str | Path) -> Iterator[tuple[Running, str]]:
    """The running command, and the host that it serves at."""
    with spawn("serve", bundle.files[0], "-listen", "127.0.0.1:0", *arguments, cwd=Path.cwd()) as running:
        running.wait_for("until Ctrl-C")
        found = re.search(r"at https?://(\S+), until", running.stdout)
        assert found
        yield running, found[1]


def pull(host: str, image: PushedImage, folder: Path, *arguments: str) -> bool:
    """Copy with skopeo: whether every object is here, bit for bit."""
    source = f"docker://{host}/{image.repository}:{image.tag}"
    result = skopeo("copy", "--all", "--preserve-digests", "-q", *arguments, source, f"dir:{folder}")
    assert result.code == 0, result
    found = {f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in folder.iterdir() if path.name != "version"}
    return set(image.contents) <= found


def test_eight_clients_beside_each_other(volumes: Bundle, work: Path) -> None:
    images = {kind: image for kind, image in volumes.images.items() if kind not in UNCOPYABLE}
    with serving(volumes) as (running, host), ThreadPoolExecutor(8) as pool:
        pulls = {
            kind: pool.submit(pull, host, image, work / f"out-{kind}", "--src-tls-verify=false")
            for kind, image in images.items()
        }
        assert {kind: done.result() for kind, done in pulls.items()} == dict.fromkeys(images, True)
        status = Path(f"/proc/{running.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s*(\d+) kB", status)
        assert peak and int(peak[1]) < MAX_MEMORY
        running.signal(signal.SIGINT)
        result = running.wait(10)
    assert result.code == 0
    assert "Traceback" not in result.stderr


def test_every_manifest_and_blob(volumes: Bundle) -> None:
    """What skopeo cannot copy, too."""
    with serving(volumes) as (_, host), RegistryClient(host) as client:
        for kind in UNCOPYABLE[:2]:
            image = volumes.images[kind]
            assert client.manifest(image.repository, image.tag).body == image.raw
            for platform in image.platforms:
                assert client.manifest(image.repository, platform.manifest).body == platform.raw
                for digest in platform.closure - {platform.manifest}:
                    assert client.blob(image.repository, digest).body == image.contents[digest]
        assert len(json.loads(client.request("GET", "/v2/_catalog").body)["repositories"]) == len(volumes.images)


def test_tls_and_login(small: Bundle, tls_registry: Registry, work: Path) -> None:
    (work / "password.txt").write_text("open sesame\n")
    tls = ("-tls-cert", tls_registry.folder / "server.pem", "-tls-key", tls_registry.folder / "server.key")
    image = small.images["shared-one"]
    with serving(small, *tls, "-user", "reader", "-password-file", "password.txt", "-debug") as (running, host):
        certificates = f"--src-cert-dir={tls_registry.cert_dir}"
        assert pull(host, image, work / "out", certificates, "--src-creds=reader:open sesame")
        context = ssl.create_default_context(cafile=str(tls_registry.cert_dir / "ca.crt"))
        logins = (None, ("reader", "wrong"), ("other", "open sesame"), ("", ""))
        for login in logins:
            with RegistryClient(host, context, login) as client:
                for path in ("/v2/", f"/v2/{image.repository}/manifests/v1"):
                    answer = client.request("GET", path)
                    assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (401, "UNAUTHORIZED")
                    assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "open sesame" not in running.stderr
        running.signal(signal.SIGTERM)
        assert running.wait(10).code == 0


def test_damage_is_not_served_and_stands_in_the_log(small: Bundle, work: Path) -> None:
    copy = small.copied(work / "copy")
    layer = only_layer(small, "docker-list")
    flip(copy.path, blob_place(small.path, layer))
    with serving(copy) as (running, host):
        image = small.images["docker-list"]
        source = f"docker://{host}/{image.repository}:v1"
        assert skopeo("copy", "--all", "-q", "--src-tls-verify=false", source, f"dir:{work / 'out'}").code != 0
        running.wait_for(f"{layer} is damaged in ")
        other = small.images["shared-one"]
        assert pull(host, other, work / "other", "--src-tls-verify=false")
        running.signal(signal.SIGINT)
        result = running.wait(10)
    assert "Traceback" not in result.stderr


def test_a_new_bundle_in_the_place_of_the_old_one_is_taken_up(small: Bundle, slow: Bundle, work: Path) -> None:
    """Until then the old one is served on, from the file that was opened."""
    copy, [old], [new] = small.copied(work / "copy"), [small.images["shared-one"]], list(slow.images.values())[:1]
    with serving(copy) as (running, host), RegistryClient(host) as client:
        shutil.copy(slow.path, work / "new")
        (work / "new").replace(copy.path)
        for digest in old.layers:
            assert client.blob(old.repository, digest).body == old.contents[digest]
        limit = time.monotonic() + 20
        while client.manifest(new.repository, new.tag).status != 200 and time.monotonic() < limit:
            time.sleep(0.1)
        assert client.manifest(new.repository, new.tag).body == new.raw
        assert client.manifest(old.repository, old.tag).status == 404
        running.signal(signal.SIGINT)
        assert running.wait(10).code == 0


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-listen", "nowhere"], "use host:port"),
        (["-listen", "127.0.0.1:70000"], "use host:port"),
        (["-tls-cert", "a.pem"], "-tls-cert and -tls-key go together"),
        (["-tls-cert", "a.pem", "-tls-key", "b.pem"], "there is no such file"),
        (["-user", "me"], "-user and -password-file go together"),
        (["-user", "me", "-password-file", "nowhere"], "cannot read the password file"),
        (["-user", "me", "-password-file", "empty"], "is empty"),
    ],
)
def test_bad_usage(small: Bundle, arguments: list[str], words: str) -> None:
    Path("empty").write_text("\n")
    result = command("serve", small.path, *arguments)
    assert result.code == 2
    assert words in result.stderr


def test_a_port_that_is_taken(small: Bundle, registry: Registry) -> None:
    result = command("serve", small.path, "-listen", registry.host)
    assert result.code == 3
    assert f"cannot listen on {registry.host}" in result.stderr


def test_bad_certificates(small: Bundle) -> None:
    for name in ("a.pem", "b.pem"):
        Path(name).write_text("no certificate")
    result = command("serve", small.path, "-tls-cert", "a.pem", "-tls-key", "b.pem")
    assert result.code == 2
    assert "a.pem" in result.stderr
