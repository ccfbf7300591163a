"""Runs that follow others: what is asked again, what is packed again, what is locked, kept and removed."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.support.proxy import FaultProxy, Stall
from tests.support.registry import Registry, Request
from tests.support.signatures import SPDX
from tests.system.bundles.helpers import DODO, define, doit, done
from tests.system.load.loading import Bundle
from tests.system.referrers.signed import ON_AMD64, Signed, brought, push_signed, push_small, sign_again
from tests.system.save.saving import ARCHIVE, CACHE, cached, command, identity, inside, save, saved, spawn_save, temporary_files


def ours(registry: Registry) -> list[Request]:
    """What was asked without skopeo."""
    return [request for request in registry.requests() if request.user_agent == "image-tools"]


def test_requests(registry: Registry, signed: Signed) -> None:
    """Five for each manifest at the most, the first time; on a rerun, tags and lists alone."""
    registry.clear_requests()
    saved([signed.image], "-referrers", "-a", "amd64", "-j", "4")
    subjects = {signed.image.digest, signed.image.platform("linux/amd64").manifest}
    known = subjects | {signed.along[word].digest for word in ON_AMD64}
    asked = ours(registry)
    about = Counter(
        request.path.rpartition("/")[2].partition(".")[0].replace("sha256-", "sha256:")
        for request in asked
        if "/referrers/" in request.path or "/manifests/sha256-" in request.path
    )
    assert set(about) == known
    assert max(about.values()) <= 5
    fetched = [request.reference for request in asked if request.kind == "manifests" and request.method == "GET"]
    once = [digest for digest in fetched if digest.startswith("sha256:")]
    expected = [signed.image.platform("linux/amd64").manifest, *(signed.along[word].digest for word in ON_AMD64)]
    assert sorted(once) == sorted(expected)
    before = identity(ARCHIVE), ARCHIVE.read_bytes()
    registry.clear_requests()
    result = saved([signed.image], "-referrers", "-a", "amd64", "-j", "4")
    assert "unchanged since the last run" in result.stdout
    assert (identity(ARCHIVE), ARCHIVE.read_bytes()) == before
    again = registry.requests()
    assert not [request for request in again if request.kind == "blobs" or request.reference.startswith("sha256:")]
    assert not [request for request in again if request.user_agent != "image-tools"]
    assert len(again) <= 2 + 5 * len(known)


def test_the_same_bytes_whatever_the_jobs(signed: Signed, subset: Bundle) -> None:
    """The other one was made with six, from a cache that held more."""
    saved([signed.image], "-referrers", "-a", "amd64", "-j", "1")
    assert ARCHIVE.read_bytes() == subset.path.read_bytes()


def test_a_new_signature(registry: Registry) -> None:
    """Packs again, and fetches nothing but it; one that is withdrawn is gone from the bundle."""
    signed = push_small(registry, "again/new")
    saved([signed.image], "-referrers")
    new = sign_again(registry, signed)
    registry.clear_requests()
    result = saved([signed.image], "-referrers")
    assert "written:" in result.stdout
    assert brought() == signed.names("sig", "sbom") | {new.name(f"{registry.host}/{signed.repository}")}
    blobs = {request.reference for request in registry.blob_gets}
    assert blobs <= {blob.digest for blob in (new.image.config, *new.image.layers)}
    registry.delete_tag(signed.repository, signed.along["sig"].tag)
    saved([signed.image], "-referrers")
    assert signed.names("sig").isdisjoint(brought())
    saved([signed.image])
    assert brought() == set()


def test_pruning(registry: Registry, small: Signed) -> None:
    """What refers to images is needed as long as it is asked for."""
    blobs = [each.image.layers[0].digest for each in small.along.values()]
    saved([small.image], "-referrers")
    assert command("cache", "prune").stdout == "removed nothing\n"
    assert all(cached(digest).exists() for digest in blobs)
    registry.clear_requests()
    saved([small.image], "-referrers")
    assert registry.blob_gets == []
    saved([small.image])
    assert command("cache", "prune").stdout.startswith("removed ")
    assert not any(cached(digest).exists() for digest in blobs)
    assert not [path for path in (CACHE / "images").rglob("*") if "sha256-" in path.name]
    saved([small.image])


def test_locked(registry: Registry, work: Path) -> None:
    """Byte for byte, after it was signed again and its tag has moved; not without the flag; and not with other types."""
    signed = push_signed(registry, "again/locked")
    asked = ("-referrers", "-a", "amd64", "-j", "4")
    saved([signed.image], *asked, "-lock")
    locked = ARCHIVE.read_bytes()
    [lock] = Path().glob("*.lock.yaml")
    [entry] = yaml.safe_load(lock.read_bytes())["images"]
    assert {each["digest"] for each in entry["referrers"]} == {signed.along[word].digest for word in ON_AMD64}
    new = sign_again(registry, signed)
    registry.delete_tag(signed.repository, signed.along["amd64 sig"].tag)
    elsewhere = work / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / lock.name).write_bytes(lock.read_bytes())
    with inside(elsewhere):
        saved([signed.image], *asked, "-locked")
        assert ARCHIVE.read_bytes() == locked
    saved([signed.image], *asked, "-lock")
    assert new.digest in lock.read_text() and ARCHIVE.read_bytes() != locked
    for other in (["-a", "amd64"], [*asked, "-referrer-types", SPDX]):
        result = save([signed.image], *other, "-locked")
        assert result.code == 2
        assert "is locked for amd64, with referrers: all, but amd64" in result.stderr


def test_a_lock_with_nonsense_in_it(small: Signed) -> None:
    saved([small.image], "-referrers", "-dry-run")
    saved([small.image], "-referrers", "-lock")
    [lock] = Path().glob("*.lock.yaml")
    good = lock.read_text()
    for old, new in (("subject: 'sha256:", "subject: 'md5:"), ("tag: sha256-", "tag: ../"), ("size: ", "size: x")):
        lock.write_text(good.replace(old, new))
        result = save([small.image], "-referrers", "-locked")
        assert result.code == 2 and "this is no lock of ours" in result.stderr, old


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_the_middle_of_a_signature(registry: Registry, proxy: FaultProxy, small: Signed, signum: int) -> None:
    """What had arrived is not asked for again."""
    name, blob = small.image.via(proxy.host), small.along["sig"].image.layers[0].digest
    proxy.fault(f"/blobs/{blob}", Stall(60))
    with spawn_save([name], "-referrers") as running:
        proxy.wait_for(f"/blobs/{blob}")
        running.signal(signum)
        result = running.wait(10)
    assert result.code == (130 if signum == signal.SIGINT else -signal.SIGKILL)
    assert not ARCHIVE.exists()
    proxy.clear()
    saved([name], "-referrers")
    assert brought() == small.names("sig", "sbom", host=proxy.host)
    layers = {*small.image.layers, *(each.image.layers[0].digest for each in small.along.values())} - {blob}
    again = [seen.path for seen in proxy.requests if seen.path.rpartition("/")[2] in layers]
    assert not set(again) & {f"/v2/{small.repository}/blobs/{layer}" for layer in small.image.layers}
    assert not temporary_files(Path())


def test_stopped_while_a_registry_says_nothing(proxy: FaultProxy, small: Signed) -> None:
    """Nobody waits for an answer that nobody wants any more."""
    proxy.fault(r"\.sig$", Stall(60, -1))
    with spawn_save([small.image.via(proxy.host)], "-referrers") as running:
        proxy.wait_for(r"\.sig$")
        started = time.monotonic()
        running.signal(signal.SIGINT)
        result = running.wait(10)
    assert result.code == 130
    assert time.monotonic() - started < 5
    assert "should not happen" not in result.stderr


def test_doit(registry: Registry, small: Signed) -> None:
    """The same tasks for plain doit, which finds done what the program did, and draws them before anything ran."""
    Path("dodo.py").write_text(DODO)
    define(registry, ", referrers: true", one=[f"{small.repository}:v1"])
    reference = f"docker.io/{small.repository}"
    task = f"referrers:one:{reference}:v1"
    listed = [line.split()[0] for line in doit("list", "--all").stdout.splitlines()]
    assert task in listed
    first = done(doit())
    assert task in first
    expected = {f"copy:{reference}:{small.along['sig'].tag}:unknown", f"copy:{reference}@{small.along['sbom'].digest}:unknown"}
    assert expected <= set(first)
    assert done(doit()) == [task], "signatures are made at any time"
    result = command("save", "-config", "bundle.yaml")
    assert "unchanged since the last run" in result.stdout
    graph = command("graph", "-config", "bundle.yaml").stdout
    assert "referrers" in graph


def test_doit_with_a_wildcard_where_a_signature_stays_behind(registry: Registry) -> None:
    """A wildcard holds the run to the records, of which what a subset leaves behind is a part."""
    signed = push_signed(registry, "again/wildcard")
    Path("dodo.py").write_text(DODO)
    define(registry, ", referrers: true, arch: amd64", one=[f"{signed.repository}:v1"])
    doit()
    assert done(doit("split:o*")) == [f"referrers:one:docker.io/{signed.repository}:v1"]
