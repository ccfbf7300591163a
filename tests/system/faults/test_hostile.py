"""Whatever a list or a registry says: nothing is written outside the cache, no terminal is touched, no secret is told."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.registry.skopeo import client as skopeo
from pipeline.steps import fetch
from tests.support.kinds import push_kind
from tests.support.registry import PASSWORD, Registry
from tests.support.run import Result, run
from tests.system.faults.hostile import OCI_LAYER, Endless, HostileRegistry
from tests.system.save.saving import ARCHIVE, CACHE, LIST, PLAIN, command, files_below, save, unpack

ESCAPES = "\x1b[2J\x1b]0;pwned\x07\x9b31m\u202e"
GOOD = "good"


@pytest.fixture
def hostile() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        registry.image(registry.blob(b"layer"), name=GOOD)
        yield registry


def try_both(hostile: HostileRegistry, *arguments: str, bad: Sequence[str] = ("bad",)) -> Result:
    """Save what ``bad`` names beside a good image. Whatever becomes of it, the good one is saved and nothing is harmed."""
    before = files_below(Path.cwd().parent)
    result = save([f"{hostile.host}/app:{name}" for name in (*bad, GOOD)], "-retry", "0", *arguments)
    check_harmless(result)
    folder = Path.cwd().name
    new = {name.removeprefix(f"{folder}/") for name in files_below(Path.cwd().parent) - before}
    allowed = (f"{CACHE}/", f"{ARCHIVE}", "list.txt", "save-failed.txt", "report.json")
    assert all(name.startswith(allowed) for name in new), new
    for link in CACHE.rglob("*"):
        assert not link.is_symlink() or link.resolve().is_relative_to(CACHE.resolve())
    assert f"{hostile.host}/app:{GOOD}" in unpack().names
    return result


def check_harmless(result: Result) -> None:
    assert "should not happen" not in result.stderr, result
    assert "Traceback" not in result.stderr
    for text in (result.stdout, result.stderr):
        assert not set(text) & set("\x1b\x07\x9b\u202e\r\x00"), repr(text)
        assert len(text) < 50_000, "nobody reads that much"


def refused(hostile: HostileRegistry, *arguments: str) -> str:
    """The reason, from the summary."""
    result = try_both(hostile, *arguments)
    assert result.code == 1, result
    return result.stdout.split("/app:bad: ", 1)[1]


def all_refused(hostile: HostileRegistry, names: Sequence[str]) -> list[str]:
    """The reason of each, when they are saved together: one bad image takes out itself and no other."""
    assert try_both(hostile, "-report", "report.json", bad=names).code == 1
    images = json.loads(Path("report.json").read_bytes())["images"]
    reasons = {image["reference"].rpartition(":")[2]: image["reason"] for image in images if image["status"] == "failed"}
    assert set(reasons) == set(names)
    return [reasons[name] for name in names]


def manifest(**more: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [], **more}


def test_digests(hostile: HostileRegistry) -> None:
    digests = ["sha256:../../../../../../tmp/x", "sha256:" + "A" * 64, "../x", "md5:" + "0" * 32, "", 7, None]
    names = [f"bad{number}" for number in range(len(digests))]
    for name, digest in zip(names, digests, strict=True):
        hostile.image({"mediaType": OCI_LAYER, "digest": digest, "size": 5}, name=name)
    assert all("digest" in reason for reason in all_refused(hostile, names))
    assert not any(".." in path for path in hostile.paths)


def test_sizes(hostile: HostileRegistry) -> None:
    sizes = ["-1", str(2**63), "1e300", '"5"', "true", "null", "NaN", "1" + "0" * 5000]
    names = [f"bad{number}" for number in range(len(sizes))]
    for name, size in zip(names, sizes, strict=True):
        descriptor = {**hostile.blob(b"x"), "size": 4711}
        document = json.dumps(manifest(config=hostile.blob(b"{}"), layers=[descriptor]))
        hostile.manifest(document.replace("4711", size).encode(), name=name)
    assert all("size" in reason or "JSON" in reason for reason in all_refused(hostile, names))


@pytest.mark.parametrize(
    ("stated", "arguments", "reason"),
    [
        (1 << 40, [], "more than its manifest says"),
        (None, [], "more than its manifest says"),
        (100, [], "do not match"),
        (1 << 40, ["-via", "skopeo"], "more than its manifest says"),
    ],
    ids=["stated", "not stated", "denied", "by skopeo"],
)
def test_a_layer_without_end(
    hostile: HostileRegistry, stated: int | None, arguments: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off soon after the size that its manifest states: long before the disk is full. Nothing of it is kept."""
    monkeypatch.setattr(fetch, "MARGIN", 1 << 20)
    monkeypatch.setattr(skopeo, "MARGIN", 1 << 20)
    monkeypatch.setattr(skopeo, "POLL", 0.05)
    layer = {**hostile.blob(b"x" * 100), "digest": "sha256:" + "1" * 64}
    hostile.answers["/v2/app/blobs/" + layer["digest"]] = (200, "application/octet-stream", Endless(stated))
    hostile.image(layer, name="bad")
    assert reason in refused(hostile, *arguments)
    # What is sent goes through the buffers of two sockets before it is written.
    assert 0 < hostile.sent < 24 << 20
    assert all(path.stat().st_size < 1 << 20 for path in CACHE.rglob("*") if path.is_file())


def test_a_size_beyond_every_disk_fails_its_image_alone(hostile: HostileRegistry) -> None:
    """Without a request for any of its layers; with ``-force`` it is tried, and cut off."""
    hostile.image(hostile.blob(b"x" * 100), name="good")
    huge = {**hostile.blob(b"y" * 100), "size": 1 << 60}
    hostile.image(huge, name="bad")
    good, bad = (f"{hostile.host}/app:{name}" for name in ("good", "bad"))
    for arguments in ([], ["-dry-run"]):
        result = save([bad, good], *arguments)
        assert f"{bad}: its manifest states 1.2 EB for {huge['digest']}, and the disk of " in result.stdout
        assert result.code == 1, result
    assert "saved 1 of 2 images" in save([bad, good]).stdout


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "depth": (lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "JSON"),
    "depth of lists": (lambda: b'{"schemaVersion":2,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "JSON"),
    "moderate depth": (lambda: b'{"a":' * 80 + b"1" + b"}" * 80, "nested"),
    "not UTF-8": (lambda: b'{"schemaVersion":2,"x":"\xff"}', "JSON"),
    "lone surrogate": (lambda: b'{"schemaVersion":2,"x":"\\ud800"}', "JSON"),
    "no object": (lambda: b"[1,2]", "JSON"),
    "many layers": (lambda: json.dumps(manifest(config={}, layers=[{}] * 10_001)).encode(), ""),
    "nothing": (lambda: b"", "JSON"),
    "a page": (lambda: b"<html>please log in</html>", "JSON"),
}


def test_bombs(hostile: HostileRegistry) -> None:
    names = [f"bad{number}" for number in range(len(BOMBS))]
    for name, (data, _) in zip(names, BOMBS.values(), strict=True):
        hostile.manifest(data(), name=name)
    started = time.monotonic()
    for reason, (_, expected) in zip(all_refused(hostile, names), BOMBS.values(), strict=True):
        assert expected in reason
    assert time.monotonic() - started < 30


def test_a_huge_manifest(hostile: HostileRegistry) -> None:
    hostile.manifest(b'{"schemaVersion":2,"x":"' + b"y" * (5 << 20) + b'"}', name="bad")
    refused(hostile)


def test_ten_thousand_entries(hostile: HostileRegistry) -> None:
    """Of which one is asked for: no slower than an ordinary index."""
    one = hostile.image(hostile.blob(b"layer"), platform={"os": "linux", "architecture": "amd64"})
    other = {"mediaType": one["mediaType"], "size": 7}
    entries = [
        {**other, "digest": f"sha256:{number:064x}", "platform": {"os": "linux", "architecture": f"a{number}"}}
        for number in range(9_999)
    ]
    hostile.index(*entries, one, name="bad")
    started = time.process_time()
    assert try_both(hostile, "-a", "amd64").code == 0
    assert time.process_time() - started < 10
    result = save([f"{hostile.host}/app:bad"], "-a", "s390x")
    assert "none of those asked for" in result.stdout or "no platform of those asked for" in result.stdout
    check_harmless(result)


def test_thousands_to_fetch(hostile: HostileRegistry) -> None:
    entries = [{"mediaType": "x", "digest": f"sha256:{number:064x}", "size": 7} for number in range(2_000)]
    hostile.index(*entries, name="bad")
    assert "more than any image has" in refused(hostile)
    assert len(hostile.paths) < 50


def test_indexes_of_indexes(hostile: HostileRegistry) -> None:
    """Four, each of which names the next thousands of times."""
    entry = hostile.image(hostile.blob(b"layer"), platform={"os": "linux", "architecture": "amd64"})
    for level in range(4):
        entry = hostile.index(*[entry] * 3_000, name="bad", annotations={"level": str(level)})
    started = time.monotonic()
    # Not unpacked and checked as others are: that would unfold it.
    result = save([f"{hostile.host}/app:bad"], "-a", "all")
    assert result.code == 0, result
    assert time.monotonic() - started < 20


def test_indexes_too_deep_or_too_many(hostile: HostileRegistry) -> None:
    entry = hostile.image(hostile.blob(b"layer"))
    for level in range(7):
        entry = hostile.index(entry, name="bad", annotations={"level": str(level)})
    assert "deep" in refused(hostile)
    many = [hostile.index(annotations={"number": str(number)}) for number in range(120)]
    hostile.index(*many, name="bad")
    assert "leads to more than 100 objects" in refused(hostile)
    assert len(hostile.paths) < 400


def test_platforms(hostile: HostileRegistry) -> None:
    """Their names become folders, and are shown."""
    names = ["../../../../tmp/x", f"a{ESCAPES}b", "a/b", ".", "..", "", "a\nb", "x" * 5000, "index.json", "blobs", ".tmp-1-x"]
    names += ["*", "-rf", "a:b", "oci-put-blob1", " "]
    entries = []
    for number, name in enumerate(names):
        platform = {"os": name, "architecture": name, "variant": name, "os.version": name, "os.features": [name]}
        layer = hostile.blob(f"layer {number}".encode())
        entries.append(hostile.image(layer, platform=platform, annotations={name or "x": name}))
    hostile.index(*entries, name="bad", annotations={"org.opencontainers.image.ref.name": f"../{ESCAPES}"})
    result = try_both(hostile, "-a", "all", "-debug", "-j", "4")
    assert result.code == 0, result
    folders = [path.name for path in (CACHE / "images" / hostile.host.replace(":", "+") / "app+bad").iterdir() if path.is_dir()]
    assert len([name for name in folders if name != "blobs"]) == len(names)
    check_harmless(command("cache", "info"))
    assert save([f"{hostile.host}/app:bad", f"{hostile.host}/app:{GOOD}"], "-a", "all").code == 0


def test_configs(hostile: HostileRegistry) -> None:
    odd = {"created": ESCAPES, "architecture": [], "os": {"a": 1}}
    for config in (b"[" * 50_000, b"{}", odd, {"created": "9999-99-99T99:99:99Z"}):
        hostile.image(hostile.blob(b"layer"), config=config, name="bad")
        assert try_both(hostile).code in (0, 1)


@pytest.mark.parametrize("media_type", [OCI_LAYER, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"])
def test_addresses_of_layers_are_not_followed(hostile: HostileRegistry, media_type: str) -> None:
    """Neither what a foreign layer names, nor what an ordinary one does: it may be anywhere in our network."""
    urls = [f"http://{hostile.host}/secret", "file:///etc/passwd", "http://169.254.169.254/latest"]
    for number, url in enumerate(urls):
        layer = {**hostile.blob(f"elsewhere {number}".encode(), media_type), "urls": [url]}
        hostile.image(layer, name=f"bad{number}")
    try_both(hostile, bad=[f"bad{number}" for number in range(len(urls))])
    assert "/secret" not in hostile.paths


SECRET = "hunter2-hunter2-hunter2"


@pytest.mark.parametrize("status", [400, 403, 500])
def test_what_a_registry_says_in_an_error(hostile: HostileRegistry, status: int) -> None:
    words = (
        f"{ESCAPES} Authorization: Bearer {SECRET} see https://user:{SECRET}@cdn.example/x?X-Amz-Signature={SECRET}&y=1 "
        f'token={SECRET} {{"password": "{SECRET}"}} \nINFO forged line'
    )
    body = json.dumps({"errors": [{"code": "DENIED", "message": words}]}).encode()
    hostile.refuse("/v2/app/manifests/bad", status, body)
    result = try_both(hostile, "-debug")
    assert SECRET not in result.stdout + result.stderr
    assert "\nINFO" not in result.stderr
    assert all(SECRET.encode() not in path.read_bytes() for path in CACHE.rglob("*") if path.is_file())


LINES = [
    "../../etc/passwd:1",
    "-rf:1",
    "--help",
    "a b",
    "$(touch x):1",
    f"app:{ESCAPES}",
    "app@sha256:../../x",
    "app:tag/../../x",
    "registry.example.com/app:1\x00x",
    "oci:/etc",
    f"https://user:{SECRET}@registry.example.com/app:1",
    f"user:{SECRET}@registry.example.com/app:1",
    "x" * 100_000,
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_lists(hostile: HostileRegistry, line: str) -> None:
    result = save([f"{hostile.host}/app:{GOOD}", line])
    assert result.code == 2, result
    check_harmless(result)
    assert SECRET not in result.stdout + result.stderr
    assert not hostile.paths
    assert list(Path().iterdir()) == [LIST]


@pytest.mark.parametrize(
    "source", [f"user:{SECRET}@registry.example.com", f"https://user:{SECRET}@r.example", "-x", "a/../b", ESCAPES]
)
def test_sources(source: str) -> None:
    result = save(["nginx"], f"-s={source}")
    assert result.code == 2, result
    assert SECRET not in result.stdout + result.stderr
    check_harmless(result)


def test_no_secret_in_arguments(login_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other users of the machine see."""
    one = push_kind(login_registry, "oci-single", "hostile/secret")
    login_registry.auth_file(Path("logins"))
    Path("bin").mkdir()
    Path("bin/skopeo").write_text(f'#!/bin/sh\necho "$@" >> {Path.cwd()}/arguments\nexec /usr/bin/skopeo "$@"\n')
    Path("bin/skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path.cwd()}/bin:{os.environ['PATH']}")
    LIST.write_text(f"{one.reference}\n")
    arguments = ("-cert-dir", login_registry.cert_dir, "-authfile", "logins/config.json", "-debug")
    result = run("save", "-f", LIST, *arguments)
    assert result.code == 0, result
    seen = Path("arguments").read_text()
    assert "copy" in seen
    for secret in (PASSWORD, json.loads(Path("logins/config.json").read_text())["auths"][login_registry.host]["auth"]):
        assert secret not in seen + result.stdout + result.stderr
    assert PLAIN not in seen
