"""Blobs in pieces, from where they broke off; proved, mounted and pushed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.core.bundle import Access
from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference, parse
from pipeline.registry.blobs import WrongRange
from pipeline.registry.distribution import Distribution
from tests.unit.registry.servers import Reply, Request, Server

DATA = bytes(range(256)) * 40
DIGEST = Digest.of(DATA)


def make() -> Distribution:
    return Distribution(Access(tls_verify=False, retries=0), Interruption(), connections=2)


def name(server: Server) -> Reference:
    return parse(f"{server.host}/app:v1")


def ranged(request: Request) -> Reply:
    """As registries give ranges."""
    wanted = request.headers.get("range", "")
    if not wanted:
        return 200, {}, DATA
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start, end = int(first), int(last or len(DATA) - 1)
    if start >= len(DATA):
        return 416, {"Content-Range": f"bytes */{len(DATA)}"}, b"{}"
    return 206, {"Content-Range": f"bytes {start}-{end}/{len(DATA)}"}, DATA[start : end + 1]


def read(reply: Callable[[Request], Reply], offset: int) -> tuple[int, int | None, int | None, bytes]:
    """Where the body begins, its length, the blob's, and the body."""
    with Server(reply) as server, make().open_blob(name(server), DIGEST, offset=offset) as stream:
        buffer = memoryview(bytearray(1000))
        data = b""
        while count := stream.readinto(buffer):
            data += buffer[:count]
        return stream.offset, stream.length, stream.total, data


@pytest.mark.parametrize("offset", [0, 1, 10_000, len(DATA) - 1])
def test_from_where_it_broke_off(offset: int) -> None:
    left = len(DATA) - offset
    assert read(ranged, offset) == (offset, left, len(DATA), DATA[offset:])


def test_a_registry_that_ignores_ranges() -> None:
    assert read(lambda request: (200, {}, DATA), 5000) == (0, len(DATA), len(DATA), DATA)


def test_all_is_here_already() -> None:
    """416 at full length: nothing comes, and the size is known."""
    assert read(ranged, len(DATA)) == (len(DATA), 0, len(DATA), b"")


@pytest.mark.parametrize(
    "content_range",
    [
        "",
        "bytes 0-10239/10240",
        "bytes 4999-10239/10240",
        "bytes 5000-5000/10240",
        "bytes 5000-10240/10240",
        "bytes 5000-10239/5",
        f"bytes {'9' * 5000}-10239/10240",
        "nonsense",
    ],
)
def test_a_range_that_was_not_asked_for(content_range: str) -> None:
    with pytest.raises(WrongRange, match="bytes from 5000 on were asked for"):
        read(lambda request: (206, {"Content-Range": content_range}, DATA[5000:]), 5000)


def test_an_unknown_total() -> None:
    reply = (206, {"Content-Range": "bytes 5000-10239/*"}, DATA[5000:])
    assert read(lambda request: reply, 5000) == (5000, len(DATA) - 5000, None, DATA[5000:])


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (404, Cause.NOT_FOUND),
        (401, Cause.UNAUTHORIZED),
        (403, Cause.UNAUTHORIZED),
        (500, Cause.SERVER),
        (400, Cause.UNSUPPORTED),
    ],
)
def test_refusals(status: int, cause: Cause) -> None:
    with pytest.raises(RegistryError) as caught:
        read(lambda request: (status, {}, b'{"errors": [{"message": "for a reason"}]}'), 0)
    assert caught.value.cause is cause and "for a reason" in str(caught.value)


def test_each_call_asks_the_registry_anew() -> None:
    """A redirect is good once."""
    with Server(ranged) as storage:
        number = [0]

        def reply(request: Request) -> Reply:
            number[0] += 1
            return 307, {"Location": f"http://{storage.host}/signed?{number[0]}"}, b""

        with Server(reply) as server:
            distribution = make()
            for offset in (0, 100):
                with distribution.open_blob(name(server), DIGEST, offset=offset) as stream:
                    assert stream.offset == offset
            assert storage.asked() == ["GET /signed?1", "GET /signed?2"]


def test_a_small_blob_is_checked() -> None:
    with Server(ranged) as server:
        assert make().blob(name(server), DIGEST) == DATA
        with pytest.raises(ContentError, match="do not match"):
            make().blob(name(server), Digest.of(b"other"))


# Proofs


def has(reply: Callable[[Request], Reply], size: int = len(DATA)) -> bool:
    with Server(reply) as server:
        return make().has_blob(name(server), DIGEST, size)


def test_the_last_byte_proves_it() -> None:
    seen: list[Request] = []

    def reply(request: Request) -> Reply:
        seen.append(request)
        return ranged(request)

    assert has(reply)
    assert [(each.method, each.headers["range"]) for each in seen] == [("GET", "bytes=10239-10239")]


@pytest.mark.parametrize(
    "reply",
    [
        (404, {}, b"{}"),
        (416, {"Content-Range": "bytes */5"}, b"{}"),
        (206, {"Content-Range": "bytes 10239-10239/99999"}, b"x"),
        (206, {"Content-Range": "bytes 0-0/10240"}, b"x"),
        (200, {}, b"x"),
    ],
)
def test_what_does_not_prove_it(reply: Reply) -> None:
    assert not has(lambda request: reply)


def test_a_whole_answer_of_that_size_proves_it() -> None:
    assert has(lambda request: (200, {}, DATA))


def test_a_locked_registry_proves_nothing() -> None:
    with pytest.raises(RegistryError):
        has(lambda request: (403, {}, b"{}"))


# Writing


def test_a_mount() -> None:
    with Server(lambda request: (201, {}, b"")) as server:
        assert make().mount_blob(name(server), DIGEST, parse(f"{server.host}/other/one:v1"))
        assert server.asked() == [f"POST /v2/app/blobs/uploads/?mount=sha256%3A{DIGEST.hex}&from=other%2Fone"]


def test_a_mount_that_begins_an_upload_is_cancelled() -> None:
    def reply(request: Request) -> Reply:
        return (202, {"Location": "/v2/app/blobs/uploads/7"}, b"") if request.method == "POST" else (204, {}, b"")

    with Server(reply) as server:
        assert not make().mount_blob(name(server), DIGEST, parse(f"{server.host}/other:v1"))
        assert server.asked()[1:] == ["DELETE /v2/app/blobs/uploads/7"]


@pytest.mark.parametrize("data", [DATA, DATA[:-1] + b"x"])
def test_a_copy_within_the_registry_is_checked_and_leaves_no_upload_open(data: bytes) -> None:
    """Of a registry that refuses mounts: what it gives is streamed into the upload that it opened."""
    taken: list[bytes] = []

    def reply(request: Request) -> Reply:
        if request.method == "POST":
            return 202, {"Location": "/v2/app/blobs/uploads/1?state=x"}, b""
        if request.method == "PUT":
            taken.append(request.body)
            return 201, {}, b""
        return (200, {}, data) if request.method == "GET" else (204, {}, b"")

    with Server(reply) as server:
        place = parse(f"{server.host}/other:v1")
        if data == DATA:
            make().copy_blob(name(server), DIGEST, len(DATA), place)
            assert taken == [DATA]
        else:
            with pytest.raises(ContentError, match="do not match"):
                make().copy_blob(name(server), DIGEST, len(DATA), place)
            assert "DELETE /v2/app/blobs/uploads/1?state=x" in server.asked()


def test_a_push() -> None:
    def reply(request: Request) -> Reply:
        return (202, {"Location": "/v2/app/blobs/uploads/7?state=x"}, b"") if request.method == "POST" else (201, {}, b"")

    with Server(reply) as server:
        make().push_blob(name(server), DIGEST, len(DATA), lambda: iter([DATA[:5000], DATA[5000:]]))
        _, put = server.seen
        assert (put.method, put.path) == ("PUT", f"/v2/app/blobs/uploads/7?state=x&digest=sha256%3A{DIGEST.hex}")
        assert put.body == DATA and put.headers["content-length"] == str(len(DATA))


def test_a_push_that_is_refused() -> None:
    with Server(lambda request: (400, {}, b'{"errors": [{"message": "no room"}]}')) as server:
        with pytest.raises(RegistryError, match="cannot be written: no room") as caught:
            make().push_blob(name(server), DIGEST, len(DATA), lambda: iter([DATA]))
        assert caught.value.cause is Cause.UNSUPPORTED
