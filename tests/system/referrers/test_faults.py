"""A registry that does not answer is never taken for one that has nothing: what can pass is tried again, the rest fails."""

from __future__ import annotations

import re
import time

import pytest

from tests.support.images import OCI_INDEX, Content, image, layer
from tests.support.proxy import Fault, FaultProxy, Reset, Status, Truncate, WrongBytes
from tests.support.push import push
from tests.support.registry import Registry
from tests.support.signatures import SPDX, push_image, push_referrer, referrer
from tests.system.load.loading import FAILED as LOAD_FAILED
from tests.system.load.loading import Bundle, load, loaded
from tests.system.referrers.api_registry import ApiRegistry
from tests.system.referrers.signed import Signed, brought, descriptor, listed_by_tag, push_small
from tests.system.referrers.test_choosing import DRY, found
from tests.system.save.saving import ARCHIVE, FAILED, lines, save, saved

PROBES = ("tag", "api", "fallback", "manifest of a tag", "manifest of a subject", "blob")
RETRIED: dict[str, Fault] = {
    "429": Status(429, retry_after=0),
    "500": Status(500),
    "reset": Reset(-1),
    "truncated": Truncate(20),
    "wrong bytes": WrongBytes(0),
}
FINAL: dict[str, tuple[Fault, str]] = {
    "401": (Status(401), "access denied"),
    "403": (Status(403), "access denied"),
    "429": (Status(429, retry_after=0), "too many requests"),
    "500": (Status(500), "server error"),
    "400": (Status(400), ""),
}


def probe(signed: Signed, which: str) -> tuple[str, str]:
    """Method and path (a regex) of one kind of request."""
    digest = signed.image.digest.replace(":", "-")
    sig, sbom = signed.along["sig"], signed.along["sbom"]
    return {
        "tag": ("HEAD", rf"/manifests/{digest}\.sig$"),
        "api": ("GET", f"/referrers/{signed.image.digest}$"),
        "fallback": ("GET", f"/manifests/{digest}$"),
        "manifest of a tag": ("GET", f"/manifests/{sig.digest}$"),
        "manifest of a subject": ("GET", f"/manifests/{sbom.digest}$"),
        "blob": ("GET", f"/blobs/{sbom.image.layers[0].digest}$"),
    }[which]


@pytest.mark.parametrize("fault", RETRIED)
def test_what_passes_is_tried_again(proxy: FaultProxy, small: Signed, fault: str) -> None:
    """At every request at once; the result is whole."""
    to_the_end = fault in ("429", "wrong bytes")
    left_out = [] if fault in ("429", "500", "reset") else ["tag", "api"]  # their answers have no body that counts
    left_out += [] if to_the_end else ["blob"]
    rules = []
    for which in PROBES:
        method, path = probe(small, which)
        if which not in left_out:
            rules.append(proxy.fault(path, RETRIED[fault], method=method))
    result = saved([small.image.via(proxy.host)], "-referrers", "-retry", "2", *([] if to_the_end else ["-dry-run"]))
    assert [rule.used for rule in rules] == [1] * len(rules)
    if to_the_end:
        assert brought() == small.names("sig", "sbom", host=proxy.host)
    else:
        assert found(result.stdout) == 2


@pytest.mark.parametrize(
    ("which", "fault"),
    [
        *(("tag", fault) for fault in FINAL if fault != "403"),
        *((which, fault) for which in ("fallback", "manifest of a subject") for fault in ("401", "500")),
        ("api", "500"),
    ],
)
def test_what_does_not_pass(proxy: FaultProxy, small: Signed, which: str, fault: str) -> None:
    """The image is in the failed list, and nothing is packed as if nobody had signed it."""
    made, reason = FINAL[fault]
    method, path = probe(small, which)
    rule = proxy.fault(path, made, method=method, times=None)
    name = small.image.via(proxy.host)
    result = save([name], "-referrers", "-retry", "1")
    assert result.code == 3
    assert reason in result.stdout.split(name, 1)[1]
    assert FAILED.read_text() == lines([name])
    assert not ARCHIVE.exists()
    assert rule.used == (2 if fault in ("429", "500") else 1)


@pytest.mark.parametrize("status", [401, 403])
def test_an_api_that_is_denied(proxy: FaultProxy, small: Signed, status: int) -> None:
    """The fallback tag is asked, as regclient does, and that is said once: the image itself was given."""
    method, path = probe(small, "api")
    proxy.fault(path, Status(status), method=method, times=None)
    result = saved([small.image.via(proxy.host)], "-referrers", "-retry", "0")
    assert brought() == small.names("sig", "sbom", host=proxy.host)
    assert result.stderr.count("denies access to the list of referrers of an image that it gives") == 1


def test_a_signature_that_is_denied(proxy: FaultProxy, small: Signed) -> None:
    """403 of its tag, where the image itself is given, is what Artifactory says of a tag that it does not have."""
    method, path = probe(small, "tag")
    proxy.fault(path, Status(403), method=method, times=None)
    result = saved([small.image.via(proxy.host)], "-referrers", "-retry", "0")
    assert brought() == small.names("sbom", host=proxy.host)
    assert result.stderr.count("denies access to a tag of an image that it gives") == 1


def test_others_go_on(proxy: FaultProxy, small: Signed, signed: Signed) -> None:
    """And an earlier bundle stays, rather than one without signatures."""
    name = small.image.via(proxy.host)
    saved([name], "-referrers")
    before = ARCHIVE.read_bytes()
    proxy.fault(r"\.sig$", Status(500), times=None)
    result = save([name, signed.image], "-referrers", "-referrer-types", "*.sig.*", "-retry", "0")
    assert result.code == 1
    assert "stays as it was" in result.stdout
    assert ARCHIVE.read_bytes() == before
    forced = save([name, signed.image], "-referrers", "-referrer-types", "*.sig.*", "-retry", "0", "-force")
    assert forced.code == 1
    assert brought() == signed.names("amd64 sig", "arm64 sig", "index sig")


def test_wrong_bytes_for_ever(proxy: FaultProxy, small: Signed) -> None:
    proxy.fault(f"/manifests/{small.along['sbom'].digest}$", WrongBytes(0), times=None)
    result = save([small.image.via(proxy.host)], *DRY[:2], "-retry", "3")
    assert "the registry served, twice, bytes that do not match their digest" in result.stdout
    assert found(result.stdout) == 0


def test_a_page_instead_of_a_list(proxy: FaultProxy, api: ApiRegistry) -> None:
    """A registry keeps no such thing under a tag: somebody else has answered."""
    digest = api.put(image("linux/amd64", [layer("page", 100)]), "v1")
    for path in (f"referrers/{digest}", f"manifests/{digest.replace(':', '-')}"):
        api.answers[f"/v2/app/{path}"] = (200, {"Content-Type": "text/html"}, b"<html>log in, please</html>")
    result = save([api.name("v1")], *DRY)
    assert f"{api.name(digest.replace(':', '-'))}: not valid JSON" in result.stdout


@pytest.mark.parametrize("status", [400, 406, 501])
def test_a_registry_that_knows_no_such_path(api: ApiRegistry, status: int) -> None:
    """4xx: it has no API, so the fallback tag is asked. 5xx: it may have."""
    top = image("linux/amd64", [layer("path", 100)])
    digest = api.put(top, "v1")
    sbom = referrer(top.manifest.descriptor(), SPDX, [Content(SPDX, b"x")])
    api.put(sbom)
    listed = b'{"schemaVersion": 2, "manifests": [%s]}' % str(sbom.manifest.descriptor()).replace("'", '"').encode()
    api.manifest(Content(OCI_INDEX, listed), digest.replace(":", "-"))
    api.answers[f"/v2/app/referrers/{digest}"] = (status, {}, b"{}")
    result = save([api.name("v1")], *DRY)
    assert found(result.stdout) == (1 if status < 500 else 0)
    assert ("server error" in result.stdout) == (status >= 500)


def test_a_pause_that_a_registry_asks_for(proxy: FaultProxy, small: Signed) -> None:
    """Nobody asks it in between, skopeo neither; one that is too long is a failure at once."""
    rule = proxy.fault(r"\.sig$", Status(429, retry_after=1))
    result = saved([small.image.via(proxy.host)], *DRY[:2], "-retry", "1")
    assert found(result.stdout) == 2 and rule.used == 1
    [warning] = [line for line in result.stderr.splitlines() if "trying again" in line]
    assert warning.count("cannot be asked for: too many requests") == warning.count("cannot be asked for") == 1
    [refused] = [seen.at for seen in proxy.requests if seen.status == 429]
    assert min(seen.at for seen in proxy.requests if seen.at > refused + 0.05) > refused + 0.95
    proxy.fault(r"\.sig$", Status(429, retry_after=3600))
    started = time.monotonic()
    result = save([small.image.via(proxy.host)], *DRY)
    assert "it asks to wait for 3600 s" in result.stdout
    assert time.monotonic() - started < 10


def test_a_signature_that_cannot_be_copied(proxy: FaultProxy, small: Signed) -> None:
    """Fails its image, by its name; the next run fetches what is missing alone."""
    sig = small.along["sig"]
    name = small.image.via(proxy.host)
    proxy.fault(f"/blobs/{sig.image.layers[0].digest}", Status(404), times=None)
    result = save([name], "-referrers", "-retry", "0")
    assert result.code == 3
    reason = f"{name}: {sig.name(f'{proxy.host}/{small.repository}')}, which refers to it: "
    assert reason in result.stdout
    assert "cannot be fetched: not found (manifest unknown)" in result.stdout
    assert not ARCHIVE.exists()
    proxy.clear()
    saved([name], "-referrers")
    assert brought() == small.names("sig", "sbom", host=proxy.host)
    blobs = [seen.path for seen in proxy.requests if "/blobs/" in seen.path]
    assert {path.rpartition("/")[2] for path in blobs} == {sig.image.layers[0].digest}


# The other side


def test_a_list_that_cannot_be_written(subset: Bundle, signed: Signed, other_registry: Registry) -> None:
    """What nobody would find counts as failed, by its name; the next load puts it right, and sends nothing else."""
    sboms = [each for each in signed.along.values() if not each.tag and each.subject == signed.image.platforms[0].manifest]
    fallback = f"/manifests/{sboms[0].subject.replace(':', '-')}$"
    with FaultProxy(other_registry.host) as proxy:
        rule = proxy.fault(fallback, Status(403), method="PUT", times=None)
        to = f"{proxy.host}/listing"
        result = load(subset, to, "-retry", "1", "-j", "4")
        assert (result.code, rule.used) == (1, 1)
        [name] = signed.names("amd64 sbom")
        assert LOAD_FAILED.read_text() == f"{name}\n"
        assert re.search(rf"{name}: \S+:\S+ cannot be written: access denied", result.stdout)
        assert "loaded 1 of 1 images and 4 of 5 referrers" in result.stdout
        proxy.clear()
        proxy.fault(fallback, Status(500), method="PUT")
        assert "1 of 1 images and 5 of 5 referrers" in loaded(subset, to).stdout
        sent = [seen.path for seen in proxy.requests if seen.method not in ("GET", "HEAD")]
        assert len(sent) == 2 and all(re.search(fallback, path) for path in sent)
    assert not LOAD_FAILED.exists()


def test_a_list_that_is_somebodys_image(other_registry: Registry, small: Signed, registry: Registry) -> None:
    """It is not replaced (distribution-spec, "Pushing Manifests with Subject")."""
    saved([small.image], "-referrers")
    taken = small.image.digest.replace(":", "-")
    with other_registry.client() as client:
        push_image(client, f"taken/{small.repository}", small.along["sig"].image, taken)
        result = load(ARCHIVE.absolute(), f"{other_registry.host}/taken", "-retry", "0")
        assert result.code == 1
        place = f"{other_registry.host}/taken/{small.repository}:{taken}"
        assert f"{place} is no list of what refers to {small.image.digest}, and is not replaced" in result.stdout
        assert client.manifest(f"taken/{small.repository}", taken).body == small.along["sig"].raw


def test_a_registry_that_should_list_but_does_not(api: ApiRegistry, small: Signed) -> None:
    """One with the API lists by itself, or something is wrong. (That it takes nothing, as it has all, spares a push.)"""
    saved([small.image], "-referrers")
    top, sig, sbom = small.image, small.along["sig"], small.along["sbom"]
    place = f"/v2/{small.repository}"
    for each, tag in ((sig.image, sig.tag), (sbom.image, "")):
        api.put(each, tag)
        for blob in (each.config, *each.layers):
            api.answers[f"{place}/blobs/{blob.digest}"] = (200, {}, blob.data)
    api.manifest(Content(top.media_type, top.raw), "v1")
    for platform in top.platforms:
        api.manifest(Content(platform.media_type, platform.raw))
        for digest in (platform.config, *platform.fetched_layers):
            api.answers[f"{place}/blobs/{digest}"] = (200, {}, top.contents[digest])
    for kind in ("manifests", "referrers"):
        for reference in ("v1", top.digest, sig.tag, sbom.digest, *(platform.manifest for platform in top.platforms)):
            if (answer := api.answer("GET", f"/v2/app/{kind}/{reference}", "", b""))[0] == 200:
                api.answers[f"{place}/{kind}/{reference}"] = answer
    to = api.host
    assert "3 were there already" in loaded(ARCHIVE.absolute(), to).stdout
    api.answers[f"/v2/{small.repository}/referrers/{top.digest}"] = (200, {}, b'{"manifests": []}')
    result = load(ARCHIVE.absolute(), to)
    assert result.code == 1
    assert f"the registry does not list {sbom.digest}, which refers to it" in result.stdout


def test_what_an_older_list_names_is_gone(other_registry: Registry, registry: Registry) -> None:
    """``docker-registry`` takes no list that names it, so it is left out; what is there stays."""
    signed = push_small(registry, "faults/gone")
    saved([signed.image], "-referrers")
    with other_registry.client() as client:
        older = referrer(descriptor(signed.image.raw), SPDX, [Content(SPDX, b"older")])
        push(other_registry, signed.repository, "other", image("linux/amd64", [layer("faults/gone/other", 100)]))
        push_referrer(client, signed.repository, signed.image.digest, older)
        there = referrer(descriptor(signed.image.raw), SPDX, [Content(SPDX, b"there")])
        push_referrer(client, signed.repository, signed.image.digest, there)
        client.delete(signed.repository, "manifests", older.manifest.digest)
        result = load(ARCHIVE.absolute(), other_registry.host, "-retry", "0")
        listed = [entry["digest"] for entry in listed_by_tag(client, signed.repository, signed.image.digest)]
    assert result.code == 0, result
    assert listed == [there.manifest.digest, signed.along["sbom"].digest]
