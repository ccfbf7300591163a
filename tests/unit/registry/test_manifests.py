"""What a tag names, whatever HEAD and headers say."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pipeline.core import oci
from pipeline.core.bundle import Access
from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference, parse
from pipeline.registry.distribution import Distribution
from tests.unit.registry.servers import Reply, Request, Server

DATA = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": []}).encode()
OTHER = DATA.replace(b": ", b":")
DIGEST = Digest.of(DATA)
NAMED = {"Docker-Content-Digest": str(DIGEST), "Content-Type": oci.OCI_INDEX}


def make(retries: int = 1) -> Distribution:
    return Distribution(Access(tls_verify=False, retries=retries), Interruption(), connections=2)


def name(server: Server, tag: str = "v1") -> Reference:
    return parse(f"{server.host}/app:{tag}")


def answering(head: Reply | Callable[[], Reply], get: Reply = (200, NAMED, DATA)) -> Callable[[Request], Reply]:
    """``v1`` and ``v2`` are there, nothing else is; HEAD has answers of its own for what is there."""

    def reply(request: Request) -> Reply:
        if not request.path.endswith(("/v1", "/v2")):
            return 404, {}, b"{}"
        if request.method == "GET":
            return get
        return head() if callable(head) else head

    return reply


def test_a_head_that_answers() -> None:
    with Server(answering((200, {**NAMED, "Content-Length": str(len(DATA))}, b""))) as server:
        distribution = make()
        head = distribution.head(name(server))
        assert head is not None
        assert (head.digest, head.media_type, head.size) == (DIGEST, oci.OCI_INDEX, len(DATA))
        assert distribution.head(name(server, "none")) is None
        assert server.asked() == ["HEAD /v2/app/manifests/v1", "HEAD /v2/app/manifests/none"]
        assert not distribution.heads_lie


def test_head_and_get_ask_for_the_same() -> None:
    with Server(answering((200, NAMED, b""))) as server:
        distribution = make()
        distribution.head(name(server))
        distribution.manifest(name(server))
        assert len({each.headers["accept"] for each in server.seen}) == 1


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_head_that_is_not_answered(status: int) -> None:
    """Nexus and others: what is there is found by GET, which is asked from then on, and its bytes are not asked for twice."""
    with Server(answering((status, {}, b""))) as server:
        distribution = make()
        head = distribution.head(name(server))
        assert head is not None and head.digest == DIGEST
        assert distribution.heads_lie == {server.host}
        assert distribution.manifest(name(server)) == DATA
        assert distribution.head(name(server, "none")) is None
        paths = ["HEAD /v2/app/manifests/v1", "GET /v2/app/manifests/v1", "GET /v2/app/manifests/none"]
        assert server.asked() == paths


def test_a_missing_tag_is_believed_after_one_that_is_there() -> None:
    """A 404 may mean that HEAD is not answered; what a GET gave tells."""
    with Server(answering((200, NAMED, b""))) as server:
        distribution = make()
        assert distribution.manifest(name(server)) == DATA
        assert [distribution.head(name(server, tag)) for tag in ("a", "b")] == [None, None]
        assert server.asked()[1:] == [f"HEAD /v2/app/manifests/{tag}" for tag in ("a", "v1", "b")]
    with Server(answering((404, {}, b""))) as server:
        distribution = make()
        assert distribution.manifest(name(server)) == DATA
        assert distribution.head(name(server, "v2")) is not None, "HEAD says 404 of what is there"
        assert distribution.heads_lie == {server.host}


def test_a_head_without_a_digest() -> None:
    with Server(answering((200, {}, b""))) as server:
        distribution = make()
        head = distribution.head(name(server))
        assert head is not None and head.digest == DIGEST
        assert distribution.heads_lie == {server.host}
        assert distribution.head(name(server).by_digest(DIGEST)) is None


def test_a_head_that_lies() -> None:
    """It names another digest than the bytes have that GET gives."""
    with Server(answering((200, {"Docker-Content-Digest": str(Digest.of(b""))}, b""))) as server:
        distribution = make()
        head = distribution.head(name(server))
        assert head is not None and head.digest == Digest.of(b"")
        assert distribution.manifest(name(server)) == DATA
        assert distribution.heads_lie == {server.host}
        again = distribution.head(name(server, "v2"))
        assert again is not None and again.digest == DIGEST


def test_a_tag_that_moved_meanwhile() -> None:
    """HEAD said the truth then, and says it now."""
    named = [str(Digest.of(b"")), str(DIGEST)]
    with Server(answering(lambda: (200, {"Docker-Content-Digest": named.pop(0)}, b""))) as server:
        distribution = make()
        distribution.head(name(server))
        assert distribution.manifest(name(server)) == DATA
        assert not distribution.heads_lie


def test_bytes_win_over_headers() -> None:
    """The same bytes twice, under a header that says something else."""
    wrong = {**NAMED, "Docker-Content-Digest": str(Digest.of(b""))}
    with Server(answering((200, NAMED, b""), (200, wrong, DATA))) as server:
        distribution = make()
        assert distribution.manifest(name(server)) == DATA
        assert distribution.heads_lie == {server.host}
        assert server.asked() == ["GET /v2/app/manifests/v1"] * 2


def test_bytes_that_change_on_the_way_are_not_taken() -> None:
    bodies = [DATA + b" ", DATA + b"  "]
    with Server(lambda request: (200, NAMED, bodies.pop(0))) as server, pytest.raises(ContentError, match="twice"):
        make(3).manifest(name(server))


def test_bytes_are_those_of_the_digest() -> None:
    with Server(lambda request: (200, NAMED, OTHER)) as server, pytest.raises(ContentError, match="twice"):
        make(3).manifest(name(server).by_digest(DIGEST))


def test_a_busy_registry_is_not_an_empty_one() -> None:
    with Server(answering((429, {}, b""))) as server, pytest.raises(RegistryError) as caught:
        make(0).head(name(server))
    assert caught.value.cause is Cause.RATE_LIMITED
    assert server.asked() == ["HEAD /v2/app/manifests/v1"]


class Watch:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int, str]] = []

    def saw(self, registry: str, headers: dict[str, str], status: int, text: str) -> None:
        self.seen.append((registry, headers.get("ratelimit-remaining", ""), status, text))


def test_the_quota_hears_of_every_manifest() -> None:
    limit = {**NAMED, "RateLimit-Remaining": "7;w=21600"}
    with Server(answering((200, limit, b""), (429, {}, b'{"errors": [{"message": "pull rate limit"}]}'))) as server:
        watch = Watch()
        distribution = make(0)
        distribution.session.quota = watch  # type: ignore[assignment]
        distribution.head(name(server))
        with pytest.raises(RegistryError):
            distribution.manifest(name(server))
        assert watch.seen == [(server.host, "7;w=21600", 200, ""), (server.host, "", 429, "pull rate limit")]


# Writing


def put(reply: Reply) -> list[Request]:
    with Server(lambda request: reply) as server:
        make(0).put_manifest(name(server), DATA, oci.OCI_INDEX)
        return server.seen


def test_a_manifest_is_put_with_its_own_bytes() -> None:
    [request] = put((201, NAMED, b""))
    assert (request.method, request.path, request.body) == ("PUT", "/v2/app/manifests/v1", DATA)
    assert request.headers["content-type"] == oci.OCI_INDEX


def test_a_registry_that_stores_something_else() -> None:
    with pytest.raises(RegistryError, match=r"the registry stored sha256:e3b0c442.* instead of sha256:") as caught:
        put((201, {"Docker-Content-Digest": str(Digest.of(b""))}, b""))
    assert not caught.value.cause.can_pass


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (412, Cause.UNSUPPORTED),
        (403, Cause.UNAUTHORIZED),
        (409, Cause.UNSUPPORTED),
        (404, Cause.NOT_FOUND),
        (429, Cause.RATE_LIMITED),
        (502, Cause.SERVER),
    ],
)
def test_a_refusal_has_the_registrys_words_and_class(status: int, cause: Cause) -> None:
    with pytest.raises(RegistryError, match=r"app:v1 cannot be written: .*this tag is immutable") as caught:
        put((status, {}, b'{"errors": [{"code": "X", "message": "this tag is immutable"}]}'))
    assert caught.value.cause is cause
