"""The tests' own support, against real skopeo: what it makes is real, what it counts is right, what it breaks is broken."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.conftest import FOREIGN_VARIABLES
from tests.support.client import RegistryClient, Response
from tests.support.images import attestation, image, layer
from tests.support.kinds import ALL_KINDS, build, push_kind
from tests.support.leftovers import Leftovers
from tests.support.messages import MESSAGES
from tests.support.proxy import Fault, FaultProxy, Reset, Slow, Stall, Status, Truncate, WrongBytes
from tests.support.push import PushedImage, push
from tests.support.registry import PASSWORD, USER, Registry, RegistryFactory
from tests.support.run import Result, run, skopeo, spawn
from tests.support.tools import require

PYTHON = (sys.executable, "-c")
PLAIN = "--tls-verify=false"
COPY_OPTIONS = ("--src-tls-verify=false", "--dest-shared-blob-dir", "share", "--dest-oci-accept-uncompressed-layers")


def copy(reference: str, place: str) -> Result:
    return skopeo("copy", "--quiet", *COPY_OPTIONS, f"docker://{reference}", f"oci:{place}")


def shared(digest: str) -> Path:
    return Path("share") / digest.replace(":", "/")


# Tools and environment


def test_a_missing_tool_fails_with_the_command_that_installs_it() -> None:
    with pytest.raises(pytest.fail.Exception, match="no-such-tool: apt-get install no-such-tool"):
        require("tar", "no-such-tool")


def test_the_environment_is_clean(tmp_path: Path) -> None:
    assert Path.home() == tmp_path / "home"
    assert Path.cwd() == tmp_path / "work"
    assert not [name for name in FOREIGN_VARIABLES if name in os.environ]
    assert os.environ["TERM"] == "dumb"


# Registries


def status(registry: Registry, reference: str, *options: str) -> int:
    return skopeo("inspect", "--raw", *options, f"docker://{registry.host}/{reference}").code


def test_tls_needs_the_authority(tls_registry: Registry) -> None:
    push(tls_registry, "support/tls", "v1", image(layers=[layer("tls")]))
    assert status(tls_registry, "support/tls:v1") == 1
    assert status(tls_registry, "support/tls:v1", "--cert-dir", str(tls_registry.cert_dir)) == 0


def test_a_login_is_needed_and_found(login_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(login_registry, "support/login", "v1", image(layers=[layer("login")]))
    certificates = ("--cert-dir", str(login_registry.cert_dir))
    assert status(login_registry, "support/login:v1", *certificates) == 1
    auth_file = login_registry.auth_file(tmp_path / "docker")
    assert status(login_registry, "support/login:v1", *certificates, "--authfile", str(auth_file)) == 0
    monkeypatch.setenv("DOCKER_CONFIG", str(auth_file.parent))
    assert status(login_registry, "support/login:v1", *certificates) == 0
    login_registry.auth_file(tmp_path / "docker", password="wrong")
    assert status(login_registry, "support/login:v1", *certificates) == 1
    assert login_registry.login == (USER, PASSWORD)


def test_a_registry_comes_back_on_its_port(fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    pushed = push_kind(registry, "oci-single")
    host = registry.host
    registry.stop()
    assert "connection refused" in skopeo("inspect", "--raw", PLAIN, f"docker://{pushed.reference}").stderr
    registry.start()
    assert registry.host == host
    assert status(registry, "kinds/oci-single:v1", PLAIN) == 0


def test_deleting_and_damaging(fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    first, second = (push_kind(registry, kind) for kind in ("oci-single", "docker-single"))
    registry.delete_tag(first.repository, first.tag)
    assert status(registry, f"{first.repository}:{first.tag}", PLAIN) == 1
    assert status(registry, f"{first.repository}@{first.digest}", PLAIN) == 0
    registry.delete_manifest(first.repository, first.digest)
    assert status(registry, f"{first.repository}@{first.digest}", PLAIN) == 1
    gone, damaged = second.platforms[0].layers
    registry.delete_blob(second.repository, gone)
    registry.blob_path(damaged).write_bytes(b"something else")
    with registry.client() as client:
        assert client.blob(second.repository, gone).status == 404
        assert client.blob(second.repository, damaged).body == b"something else"


def test_the_log_counts_what_skopeo_asked(registry: Registry) -> None:
    pushed = push(registry, "support/count", "v1", image(layers=[layer("count/1"), layer("count/2"), layer("count/3")]))
    registry.clear_requests()
    assert registry.requests() == []
    for number in range(3):
        copy(pushed.reference, f"copy{number}")
    only = pushed.platforms[0]
    assert {request.status for request in registry.requests()} == {200}
    assert [str(request) for request in registry.manifest_requests] == [
        f"GET /v2/support/count/manifests/v1 200 {len(pushed.raw)}"
    ] * 3
    gets = [request.reference for request in registry.blob_gets]
    assert sorted(gets) == sorted([*only.layers, *[only.config] * 3])
    assert {request.user_agent for request in registry.requests()} == {f"skopeo/{skopeo('--version').stdout.split()[-1]}"}
    sizes = {request.reference: request.size for request in registry.blob_gets}
    assert sizes == {digest: only.sizes[digest] for digest in (*only.layers, only.config)}
    registry.clear_requests()
    assert registry.requests() == []


def test_the_log_is_complete_at_once(registry: Registry) -> None:
    """Many clients at the same time: no line is missing when they are through."""
    registry.clear_requests()

    def ask() -> None:
        with registry.client("somebody") as client:
            for _ in range(25):
                client.manifest("support/none", "v1")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.manifest_requests) == 200


# Images


def test_the_same_seed_makes_the_same_bytes() -> None:
    for kind in ALL_KINDS:
        assert build(kind, "a/b") == build(kind, "a/b")
    assert layer("one").digest != layer("two").digest


@pytest.mark.parametrize("compression", ["gzip", "zstd", ""])
def test_layers_are_what_their_config_says(compression: str) -> None:
    made = layer("content", 50_000, compression)
    expand: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda data: zlib.decompress(data, 31),
        "zstd": zstandard.decompress,
        "": bytes,
    }
    tar = expand[compression](made.data)
    assert made.diff_id == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    assert len(made.data) > 50_000
    listed = subprocess.run(["tar", "-tf", "-"], input=tar, capture_output=True, check=True).stdout.split()
    assert listed == [b"app/", b"app/content"]


def test_text_layers_compress() -> None:
    assert len(layer("text", 50_000, text=True).data) < 5_000


def test_skopeo_reads_every_kind(every_kind: dict[str, PushedImage]) -> None:
    assert set(every_kind) == set(ALL_KINDS)
    for pushed in every_kind.values():
        shown = skopeo("inspect", "--raw", PLAIN, f"docker://{pushed.reference}")
        assert shown.code == 0, shown
        if pushed.kind == "schema1":
            # The registry signs anew each time: the payload is the same, the signature is not.
            assert json.loads(shown.stdout)["fsLayers"] == json.loads(pushed.raw)["fsLayers"]
        else:
            assert shown.stdout.encode() == pushed.raw
        for digest, data in pushed.contents.items():
            assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


MAIN_KINDS = ("oci-single", "docker-list", "windows", "attestations", "mixed-layers", "helm-chart", "oci-artifact", "schema1")


@pytest.mark.parametrize("kind", MAIN_KINDS)
def test_skopeo_copies_them(every_kind: dict[str, PushedImage], kind: str) -> None:
    pushed = every_kind[kind]
    for number, each in enumerate(pushed.platforms):
        copied = copy(f"{pushed.host}/{pushed.repository}@{each.manifest}", f"{kind}-{number}")
        assert copied.code == 0, copied
        for digest in each.fetched_layers:
            assert shared(digest).read_bytes() == pushed.contents[digest]
        assert not any(shared(digest).exists() for digest in each.foreign)
        if "oci" in each.media_type:
            assert shared(each.config).read_bytes() == each.raw_config
            assert shared(each.manifest).read_bytes() == each.raw


def test_what_a_push_tells(every_kind: dict[str, PushedImage]) -> None:
    windows = every_kind["windows"]
    newest = windows.platform("windows/amd64 10.0.20348.2322")
    assert len(newest.layers) == 2
    assert len(newest.fetched_layers) == 1
    assert newest.foreign.isdisjoint(windows.contents)
    assert newest.closure <= set(windows.contents)
    one, two = every_kind["shared-one"], every_kind["shared-two"]
    assert len(one.layers & two.layers) == 3
    assert [each.is_attestation for each in every_kind["attestations"].platforms] == [False, False, True, True]
    assert [str(each.platform) for each in every_kind["arm-variants"].platforms] == [
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/arm64/v8",
    ]
    assert b"mediaType" not in every_kind["no-media-type"].raw.partition(b'"manifests"')[0]
    assert len(every_kind["nested-index"].platforms) == 3
    assert every_kind["oci-single"].has_index is False
    assert windows.has_index is True


def test_an_attestation_names_its_image() -> None:
    about = image("linux/arm64", [layer("about")])
    made = attestation(about)
    assert made.annotations["vnd.docker.reference.digest"] == about.manifest.digest
    assert made.is_attestation


# The fault proxy


@pytest.fixture
def target(registry: Registry) -> PushedImage:
    """An image with one layer of some size, for faults to strike."""
    return push(registry, "support/target", "v1", image(layers=[layer("target", 200_000)]))


def get(proxy: FaultProxy, target: PushedImage) -> Response:
    """The target's layer, through the proxy."""
    with RegistryClient(proxy.host) as client:
        return client.blob(target.repository, target.platforms[0].layers[0])


def body(target: PushedImage) -> bytes:
    return target.contents[target.platforms[0].layers[0]]


def test_without_faults_all_goes_through(proxy: FaultProxy, target: PushedImage) -> None:
    copied = copy(target.via(proxy.host), "copy")
    assert copied.code == 0, copied
    assert {(seen.status, seen.fault) for seen in proxy.requests} == {(200, None)}
    assert [seen.path for seen in proxy.requests][:2] == ["/v2/", "/v2/support/target/manifests/v1"]
    assert len(proxy.requests) == 4


def test_pushing_through_the_proxy_stays_on_it(proxy: FaultProxy, registry: Registry) -> None:
    """The registry's absolute ``Location`` headers are rewritten."""
    with RegistryClient(proxy.host) as client:
        opened = client.request("POST", "/v2/support/pushed/blobs/uploads/", b"")
        assert opened.headers["location"].startswith(f"http://{proxy.host}/v2/")
        digest = client.put_blob("support/pushed", b"through the proxy")
        assert client.blob("support/pushed", digest).body == b"through the proxy"
        assert client.request("HEAD", f"/v2/support/pushed/blobs/{digest}").status == 200
    source = push(registry, "support/source", "v1", image(layers=[layer("source", 100_000)]))
    there = f"docker://{proxy.host}/support/copied:v1"
    pushed = skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{source.reference}", there)
    assert pushed.code == 0, pushed
    assert {seen.method for seen in proxy.requests} >= {"POST", "PATCH", "PUT"}


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500, 502, 503])
def test_statuses(proxy: FaultProxy, target: PushedImage, code: int) -> None:
    proxy.fault("/blobs/", Status(code))
    assert get(proxy, target).status == code
    assert get(proxy, target).status == 200
    assert [seen.status for seen in proxy.requests] == [code, 200]


@pytest.mark.parametrize("after", [1, "Wed, 21 Oct 2037 07:28:00 GMT", None])
def test_retry_after(proxy: FaultProxy, target: PushedImage, after: int | str | None) -> None:
    proxy.fault("/blobs/", Status(429, retry_after=after))
    assert get(proxy, target).headers.get("retry-after") == (str(after) if after else None)


@pytest.mark.parametrize("after", [-1, 0, 1000, 150_000])
def test_reset(proxy: FaultProxy, target: PushedImage, after: int) -> None:
    proxy.fault("/blobs/", Reset(after))
    with pytest.raises(ConnectionResetError):
        get(proxy, target)
    assert get(proxy, target).body == body(target)


@pytest.mark.parametrize("after", [0, 1000, 150_000])
def test_truncate(proxy: FaultProxy, target: PushedImage, after: int) -> None:
    proxy.fault("/blobs/", Truncate(after))
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(proxy, target)
    assert caught.value.partial == body(target)[:after]


@pytest.mark.parametrize("at", [0, 100_000, -1])
def test_wrong_bytes(proxy: FaultProxy, target: PushedImage, at: int) -> None:
    proxy.fault("/blobs/", WrongBytes(at))
    got, right = get(proxy, target).body, body(target)
    assert len(got) == len(right)
    assert [number for number, (a, b) in enumerate(zip(got, right, strict=True)) if a != b] == [at % len(right)]


def test_stall(proxy: FaultProxy, target: PushedImage) -> None:
    proxy.fault("/blobs/", Stall(0.3, after=1000))
    start = time.monotonic()
    assert get(proxy, target).body == body(target)
    assert time.monotonic() - start >= 0.3


def test_a_stall_can_be_released(proxy: FaultProxy, target: PushedImage) -> None:
    proxy.fault("/blobs/", Stall(60, after=-1))
    got: list[Response] = []
    thread = threading.Thread(target=lambda: got.append(get(proxy, target)))
    thread.start()
    proxy.wait_for("/blobs/")
    assert thread.is_alive()
    proxy.release()
    thread.join(5)
    assert got[0].body == body(target)


def test_slow(proxy: FaultProxy, target: PushedImage) -> None:
    proxy.fault("/blobs/", Slow(400_000))
    start = time.monotonic()
    assert get(proxy, target).body == body(target)
    assert time.monotonic() - start >= 0.4


def test_rules_count_and_choose(proxy: FaultProxy, target: PushedImage) -> None:
    rule = proxy.fault("/blobs/", Status(503), method="GET", times=2, skip=1)
    proxy.fault("/manifests/", Status(500), times=None)
    assert [get(proxy, target).status for _ in range(4)] == [200, 503, 503, 200]
    assert rule.used == 2
    with RegistryClient(proxy.host) as client:
        assert [client.manifest("support/target", "v1").status for _ in range(3)] == [500] * 3
        proxy.clear()
        assert proxy.requests == []
        assert client.manifest("support/target", "v1").status == 200


def test_two_faults_in_a_row(proxy: FaultProxy, target: PushedImage) -> None:
    proxy.fault("/blobs/", Status(503))
    proxy.fault("/blobs/", Status(429, retry_after=0))
    assert [get(proxy, target).status for _ in range(3)] == [503, 429, 200]


def test_closing_ends_everything(registry: Registry, target: PushedImage) -> None:
    before = threading.active_count()
    proxy = FaultProxy(registry.host)
    proxy.fault("/blobs/", Stall(60, after=1000), times=None)
    idle = RegistryClient(proxy.host)
    assert idle.request("GET", "/v2/").status == 200
    with spawn(
        "copy", "--quiet", *COPY_OPTIONS, f"docker://{target.via(proxy.host)}", "oci:copy", command=("skopeo",)
    ) as copying:
        proxy.wait_for(target.platforms[0].layers[0])
        start = time.monotonic()
        proxy.close()
        assert time.monotonic() - start < 1
        assert copying.wait(10).code in (0, 1)
    proxy.close()
    idle.close()
    assert threading.active_count() == before


SEEN_BY_SKOPEO: list[tuple[Fault, str]] = [
    (Status(403), "403 (Forbidden)"),
    (Status(500), "500 (Internal Server Error)"),
    (Reset(1000), "connection reset by peer"),
    (Truncate(1000), "unexpected EOF"),
    (WrongBytes(1000), "Digest did not match"),
]


@pytest.mark.parametrize(("fault", "text"), SEEN_BY_SKOPEO)
def test_skopeo_sees_faults(proxy: FaultProxy, target: PushedImage, fault: Fault, text: str) -> None:
    proxy.fault(target.platforms[0].layers[0], fault)
    copied = copy(target.via(proxy.host), "copy")
    assert copied.code == 1
    assert text in copied.stderr


def test_the_collected_messages() -> None:
    causes = {"NOT_FOUND", "UNAUTHORIZED", "CERTIFICATE", "RATE_LIMITED", "QUOTA", "SERVER", "NETWORK", "UNKNOWN", "CONTENT"}
    assert causes | {"PLATFORM"} <= {message.cause for message in MESSAGES}
    assert all(message.text for message in MESSAGES)


# Running the command line


def test_run() -> None:
    script = (
        "import sys, os; print(sys.argv[1], sys.stdin.read(), os.getcwd()); print(os.environ['X'], file=sys.stderr); exit(3)"
    )
    result = run("argument", stdin="input", env={"X": "set"}, command=(*PYTHON, script))
    assert result == Result(3, f"argument input {Path.cwd()}\n", "set\n")


def test_a_run_has_a_time_limit() -> None:
    with pytest.raises(AssertionError, match=r"still ran after 0\.5 s"):
        run(timeout=0.5, command=(*PYTHON, "import time; time.sleep(60)"))


def test_signals() -> None:
    script = "import time; print('ready', flush=True); time.sleep(60)"
    for send, signum in (("signal", signal.SIGTERM), ("signal_group", signal.SIGKILL)):
        with spawn(command=(*PYTHON, script)) as running:
            running.wait_for("ready")
            getattr(running, send)(signum)
            assert running.wait(5).code == -signum


def test_waiting_for_a_text_that_never_comes() -> None:
    with spawn(command=(*PYTHON, "print('done')")) as running, pytest.raises(AssertionError, match="it ended without 'ready'"):
        running.wait_for("ready")


def test_orphans_are_found(leftovers: Leftovers) -> None:
    """A grandchild whose parent has gone is still seen, and ended."""
    if not Path("/proc").is_dir():
        return
    before = leftovers.snapshot()
    script = "import subprocess; print(subprocess.Popen(['sleep', '61']).pid, flush=True)"
    # What it prints is the orphan's number; the warning about it goes nowhere.
    pid = int(run(command=(sys.executable, "-W", "ignore", "-c", script)).stdout)
    left = Leftovers(grace=0.1).since(before)
    assert left == [f"{pid}: sleep 61 "]
    assert leftovers.since(before) == []
