"""The edges by which registries are asked without skopeo, and the records of what they said, one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import digest_lock
from pipeline.core.bundle import Access, BundleImage, PlatformFilter, Referrer
from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference, parse
from pipeline.registry.distribution import Distribution
from pipeline.registry.http import client as http
from pipeline.registry.http.message import Answer
from pipeline.registry.login.auth import Site
from pipeline.registry.referrer_lists import fallback_tag
from pipeline.registry.registries_conf import Registries
from pipeline.registry.session import Session
from pipeline.storage import image_lock
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.image_lock import LockedImage
from pipeline.storage.records import referrers as referrers_record
from tests.support.images import image, layer
from tests.system.referrers.api_registry import ApiRegistry


def make_distribution(authfile: Path | None = None, retries: int = 1) -> Distribution:
    return Distribution(Access(authfile=authfile, tls_verify=False, retries=retries), Interruption(), connections=2)


def make_session() -> Session:
    return make_distribution().session


@pytest.fixture
def asker() -> Distribution:
    return make_distribution()


# HTTP


def test_a_tag_without_a_digest_in_the_answer(api: ApiRegistry, asker: Distribution) -> None:
    """The header is optional: then the bytes tell."""
    digest = api.put(image("linux/amd64", [layer("web", 100)]), "v1")
    name = parse(api.name("v1"))
    assert asker.digest_of(name) == Digest.parse(digest)
    status, _, data = api.answer("GET", "/v2/app/manifests/v1", "", b"")
    api.answers["/v2/app/manifests/v1"] = (status, {}, data)
    api.log.clear()
    assert asker.digest_of(name) == Digest.parse(digest)
    assert api.asked("/v1$") == ["HEAD /v2/app/manifests/v1", "GET /v2/app/manifests/v1"]
    assert asker.digest_of(parse(api.name("none"))) is None
    assert asker.manifest(parse(api.name("none"))) is None
    assert asker.requests >= 6


def test_redirects_take_no_login_elsewhere(api: ApiRegistry, asker: Distribution, work: Path) -> None:
    digest = api.put(image("linux/amd64", [layer("web", 100)]), "v1")
    with ApiRegistry(tokens=True) as first:
        (work / "auth.json").write_text(json.dumps({"auths": {first.host: {"auth": "dGVzdGVyOmNvcnJlY3QtaG9yc2U="}}}))
        first.answers["/v2/app/manifests/v1"] = (307, {"Location": f"http://{api.host}/v2/app/manifests/v1"}, b"")
        logged_in = make_distribution(work / "auth.json", retries=0)
        assert logged_in.digest_of(parse(first.name("v1"))) == Digest.parse(digest)
        assert [given for method, _, given in first.log if method == "HEAD"][-1].startswith("Bearer ")
        assert {given for _, _, given in api.log} == {""}
        first.answers["/v2/app/manifests/v1"] = (307, {"Location": "/v2/app/manifests/v1"}, b"")
        with pytest.raises(RegistryError, match="network error"):
            logged_in.digest_of(parse(first.name("v1")))


def test_an_answer_without_end(api: ApiRegistry, asker: Distribution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_MANIFEST_SIZE", 100)
    api.answers["/v2/app/manifests/v1"] = (200, {}, b"x" * 101)
    with pytest.raises(RegistryError, match="answers with more than any manifest has"):
        asker.manifest(parse(api.name("v1")))


def test_proxies(api: ApiRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere, by the environment."""
    monkeypatch.setenv("http_proxy", f"http://me:secret@{api.host}")
    site = Site("r.example", "r.example", scheme="http")
    assert make_session().ask("GET", site, "/v2/x", "it").status == 404
    assert api.asked("r.example") == ["GET http://r.example/v2/x"]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert make_session().ask("GET", Site(api.host, api.host, scheme="http"), "/v2/", "it").status == 200


def test_what_is_said_of_an_error(api: ApiRegistry) -> None:
    """The registry's words, without secrets; or its status."""
    site = Site(api.host, api.host, scheme="http")
    words = {"errors": [{"message": "go away"}, {"message": "token=abcdefghijklmnop"}]}
    api.answers["/v2/x"] = (403, {}, json.dumps(words).encode())
    with pytest.raises(RegistryError, match=r"^it: access denied \(go away; token=\*\*\*\)\nTIP: log in") as caught:
        make_session().ask("GET", site, "/v2/x", "it")
    assert caught.value.cause is Cause.UNAUTHORIZED
    api.answers["/v2/x"] = (503, {}, b"<html>")
    with pytest.raises(RegistryError, match=rf"^it: server error \(status 503 of {api.host}\)$"):
        make_session().ask("GET", site, "/v2/x", "it")
    assert len(api.asked("/v2/x")) == 1 + 2


def test_docker_hub_is_held_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that skopeo and we leave it alone together."""
    asked: list[Site] = []

    def ask(self: Session, method: str, site: Site, *more: object, **others: object) -> Answer:
        asked.append(site)
        return Answer(404, {}, b"")

    monkeypatch.setattr(Session, "ask_once", ask)
    assert make_distribution().digest_of(parse("nginx:1")) is None
    assert {(site.host, site.key) for site in asked} == {("registry-1.docker.io", "docker.io")}
    assert Registries({}).endpoints(parse("nginx:1"))[0].host == "docker.io"


def test_fallback_tags() -> None:
    """distribution-spec, "Referrers Tag Schema": at most 32 and 64 characters."""
    assert fallback_tag(Digest("sha256", "a" * 64)) == "sha256-" + "a" * 64
    assert fallback_tag(Digest("sha512", "a" * 64 + "b" * 64)) == "sha512-" + "a" * 64


# Records

digests = st.builds(lambda data: Digest.of(data), st.binary(max_size=4))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
found_referrers = st.builds(
    Referrer,
    subject=digests,
    digest=digests,
    media_type=texts,
    size=st.integers(0, 2**63 - 1),
    artifact_type=texts,
    tag=st.sampled_from(["", "sha256-0.sig", "v1", "_x"]),
)


@settings(max_examples=40, deadline=None)
@given(referrers=st.lists(found_referrers, max_size=3).map(tuple), types=texts)
def test_records_come_back(referrers: tuple[Referrer, ...], types: str) -> None:
    """The record of a look, and the lock, whatever registries call their artifacts."""
    name = Reference("r.io", "app", "v1")
    state = BundleState(Path("state").absolute())
    found = referrers_record.Found(tuple(each.subject for each in referrers), types, referrers, referrers[:1])
    referrers_record.write(
        state, BundleImage(reference=name, source=name, platforms=PlatformFilter(), text=str(name), m_id=1), found
    )
    assert referrers_record.read(state, name) == found
    digest = Digest.of(b"")
    digest_lock.write(
        Path("x.lock.yaml"),
        {
            str(name): LockedImage(
                asked="all", fetched_from=str(name), source=digest, digest=digest, platforms=(), referrers=referrers
            )
        },
    )
    assert image_lock.read(Path("x.lock.yaml")).images[str(name)].referrers == referrers


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(["subject", "digest", "media_type", "size", "artifact_type", "tag"]), texts))
def test_what_is_no_record_is_refused(data: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError, ContentError)):
        referrers_record.from_json(data)


def test_a_damaged_record_is_none(work: Path) -> None:
    name = Reference("r.io", "app", "v1")
    state = BundleState(work / "state")
    assert referrers_record.read(state, name) is None
    referrers_record.write(
        state,
        BundleImage(reference=name, source=name, platforms=PlatformFilter(), text=str(name), m_id=1),
        referrers_record.Found((), "all"),
    )
    path = state.referrers(name)
    path.write_text(path.read_text().replace("all", "alI"))
    assert referrers_record.read(state, name) is None
