"""``Distribution`` against ``docker-registry``: plain, with TLS and a password, with tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core import oci
from pipeline.core.bundle import Access
from pipeline.core.errors import Cause, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference, parse
from pipeline.registry.distribution import Distribution
from tests.support.images import image, layer
from tests.support.proxy import FaultProxy, Truncate
from tests.support.push import PushedImage, push
from tests.support.registry import Registry, RegistryFactory
from tests.system.registry.tokens import TokenRegistry, token_registry

DATA = bytes(range(256)) * 4096
"""A blob of 1 MiB."""
DIGEST = Digest.of(DATA)


def make(registry: Registry, work: Path | None = None, retries: int = 0) -> Distribution:
    """With the registry's login and certificate."""
    access = Access(
        authfile=registry.auth_file(work) if work else None,
        cert_dir=registry.cert_dir if registry.tls else None,
        tls_verify=registry.tls,
        retries=retries,
    )
    return Distribution(access, Interruption(), connections=2)


def named(host: str, repository: str = "session/app") -> Reference:
    return parse(f"{host}/{repository}:v1")


def read(distribution: Distribution, name: Reference, offset: int = 0) -> bytes:
    data, buffer = b"", memoryview(bytearray(100_000))
    with distribution.open_blob(name, DIGEST, offset=offset) as stream:
        assert (stream.offset, stream.length, stream.total) == (offset, len(DATA) - offset, len(DATA))
        while count := stream.readinto(buffer):
            data += buffer[:count]
    return data


def exercise(distribution: Distribution, registry: Registry) -> None:
    """All that the distribution API is used for, and one connection for it."""
    name = named(registry.host)
    config = b'{"architecture": "amd64", "os": "linux"}'
    distribution.probe(name)
    assert not distribution.has_blob(name, DIGEST, len(DATA))
    distribution.push_blob(name, DIGEST, len(DATA), lambda: iter([DATA[:1000], DATA[1000:]]))
    distribution.push_blob(name, Digest.of(config), len(config), lambda: iter([config]))
    assert distribution.has_blob(name, DIGEST, len(DATA))
    assert not distribution.has_blob(name, DIGEST, len(DATA) + 1)
    assert read(distribution, name) == DATA
    assert read(distribution, name, 1_000_000) == DATA[1_000_000:]
    with distribution.open_blob(name, DIGEST, offset=len(DATA)) as stream:
        assert (stream.length, stream.readinto(memoryview(bytearray(1)))) == (0, 0)
    assert distribution.blob(name, Digest.of(config)) == config
    with pytest.raises(RegistryError) as caught:
        distribution.blob(name, Digest.of(b"nobody has this"))
    assert caught.value.cause is Cause.NOT_FOUND
    other = named(registry.host, "session/other")
    assert distribution.mount_blob(other, DIGEST, name)
    assert read(distribution, other) == DATA
    assert not distribution.mount_blob(other, Digest.of(b"nobody has this"), name)
    descriptors = [
        f'{{"mediaType": "{kind}", "digest": "{Digest.of(data)}", "size": {len(data)}}}'
        for kind, data in ((oci.OCI_CONFIG, config), ("application/vnd.oci.image.layer.v1.tar", DATA))
    ]
    manifest = (
        f'{{"schemaVersion": 2, "mediaType": "{oci.OCI_MANIFEST}", "config": {descriptors[0]}, "layers": [{descriptors[1]}]}}'
    ).encode()
    distribution.put_manifest(name, manifest, oci.OCI_MANIFEST)
    head = distribution.head(name)
    assert head is not None
    assert (head.digest, head.media_type, head.size) == (Digest.of(manifest), oci.OCI_MANIFEST, len(manifest))
    assert distribution.manifest(name) == distribution.manifest(name.by_digest(Digest.of(manifest))) == manifest
    assert distribution.manifest(name.by_tag("none")) is None and distribution.head(name.by_tag("none")) is None
    assert not distribution.heads_lie


def test_plain(fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    exercise(make(registry), registry)


def test_tls_and_a_password(fresh_registry: RegistryFactory, tmp_path: Path) -> None:
    registry = fresh_registry(tls=True, login=True)
    distribution = make(registry, tmp_path)
    exercise(distribution, registry)
    assert distribution.session.http.connected <= 4, "a request that breaks a connection off needs another one"


@pytest.fixture
def with_tokens(tmp_path: Path) -> Iterator[TokenRegistry]:
    with token_registry(tmp_path) as registry:
        yield registry


def test_tokens(with_tokens: TokenRegistry) -> None:
    """Each with the scope that the registry asks for, and each used as long as it is good."""
    auth = with_tokens
    access = Access(authfile=_login(auth), tls_verify=False, retries=0)
    exercise(Distribution(access, Interruption(), connections=2), auth)
    scopes = [" ".join(each) for each in auth.server.asked]
    assert len(scopes) == len(set(scopes)) <= 8, scopes
    assert "repository:session/app:pull" in scopes


def test_tokens_that_are_refused_are_asked_for_anew(with_tokens: TokenRegistry) -> None:
    access = Access(authfile=_login(with_tokens), tls_verify=False, retries=0)
    name = named(with_tokens.host)
    Distribution(access, Interruption(), connections=2).push_blob(name, DIGEST, len(DATA), lambda: iter([DATA]))
    with_tokens.server.asked.clear()
    with_tokens.server.expired = 1
    distribution = Distribution(access, Interruption(), connections=2)
    with pytest.raises(RegistryError) as caught:
        read(distribution, name)
    assert caught.value.cause is Cause.UNAUTHORIZED, "the fresh one was refused"
    assert read(distribution, name) == DATA
    assert len(with_tokens.server.asked) == 2


def test_who_is_nobody_may_not_push(with_tokens: TokenRegistry) -> None:
    distribution = Distribution(Access(tls_verify=False, retries=0), Interruption(), connections=2)
    with pytest.raises(RegistryError, match="access denied") as caught:
        distribution.push_blob(named(with_tokens.host), DIGEST, len(DATA), lambda: iter([DATA]))
    assert caught.value.cause is Cause.UNAUTHORIZED


def test_a_wrong_password(fresh_registry: RegistryFactory, tmp_path: Path) -> None:
    registry = fresh_registry(tls=True, login=True)
    access = Access(authfile=registry.auth_file(tmp_path, password="wrong"), cert_dir=registry.cert_dir, retries=3)
    with pytest.raises(RegistryError, match="access denied") as caught:
        Distribution(access, Interruption(), connections=2).probe(named(registry.host))
    assert caught.value.cause is Cause.UNAUTHORIZED
    assert [each.status for each in registry.requests()] == [401, 401]


@pytest.mark.parametrize("how", ["plain", "no certificate"])
def test_a_probe_says_what_is_wrong(registry: Registry, tls_registry: Registry, how: str) -> None:
    host = registry.host if how == "plain" else tls_registry.host
    with pytest.raises(RegistryError) as caught:
        Distribution(Access(retries=3), Interruption(), connections=2).probe(named(host))
    assert caught.value.cause is Cause.CERTIFICATE
    expected = "answers with plain HTTP where TLS was expected" if how == "plain" else "unable to get local issuer certificate"
    assert expected in caught.value.message


@pytest.fixture(scope="module")
def small(registry: Registry) -> PushedImage:
    return push(registry, "session/small", "v1", image("linux/amd64", [layer("session", 300_000)]))


def test_a_blob_that_breaks_off_goes_on(proxy: FaultProxy, small: PushedImage) -> None:
    """Every byte that came before is kept."""
    digest = Digest.parse(next(iter(small.layers)))
    name = parse(f"{proxy.host}/session/small:v1")
    distribution = Distribution(Access(tls_verify=False, retries=0), Interruption(), connections=2)
    whole = distribution.blob(name, digest)
    proxy.fault(r"/blobs/", Truncate(100_000))
    data, buffer = b"", memoryview(bytearray(1 << 20))
    with pytest.raises(RegistryError, match="breaks off") as caught, distribution.open_blob(name, digest) as stream:
        while count := stream.readinto(buffer):
            data += buffer[:count]
    assert caught.value.cause is Cause.NETWORK
    assert len(data) == 100_000
    with distribution.open_blob(name, digest, offset=len(data)) as stream:
        while count := stream.readinto(buffer):
            data += buffer[:count]
    assert data == whole


def test_a_registry_that_claims_to_have_what_it_lost(fresh_registry: RegistryFactory) -> None:
    """As after a garbage collection: HEAD says 200."""
    registry = fresh_registry()
    pushed = push(registry, "session/lost", "v1", image("linux/amd64", [layer("lost", 50_000)]))
    name = parse(f"{registry.host}/session/lost:v1")
    distribution = make(registry)
    digest = Digest.parse(next(iter(pushed.layers)))
    size = registry.blob_path(str(digest)).stat().st_size
    assert distribution.has_blob(name, digest, size)
    registry.blob_path(str(digest)).unlink()
    assert not distribution.has_blob(name, digest, size)


def _login(registry: TokenRegistry) -> Path:
    registry.login = ("tester", "correct-horse")
    return registry.auth_file(registry.folder)
