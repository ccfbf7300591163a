"""The embedded registry, asked by real skopeo and by hand."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from pipeline.core.errors import EnvironmentProblem, InputError
from pipeline.core.oci import DOCKER_LIST, OCI_INDEX, REF_NAME, Digest
from pipeline.reader.serve import LayoutFolder, RegistryServer
from tests.support.client import RegistryClient
from tests.support.images import Content, Image, Index, artifact, digest_of, image, index, layer
from tests.support.kinds import KINDS

NGINX = index(image("linux/amd64", [layer("amd64"), layer("all")]), image("linux/arm64", [layer("arm64"), layer("all")]))
DOCKER = index(image("linux/amd64", [layer("docker")], docker=True), docker=True)
SIGNATURE = artifact(
    [Content("text/plain", b"signed")],
    artifact_type="application/vnd.tests.signature",
    subject=NGINX.images()[0],
    annotations={"by": "tests"},
)
SBOM = artifact([Content("text/plain", b"contents")], artifact_type="application/vnd.tests.sbom", subject=NGINX.images()[0])
BIG = Content("application/octet-stream", layer("big", 300_000).data)

NAMES: dict[str, Image | Index] = {
    "docker.io/library/nginx:1.25": NGINX,
    "docker.io/library/nginx:1.26": NGINX,
    "docker.io/library/nginx:signature": SIGNATURE,
    "docker.io/library/nginx:sbom": SBOM,
    "quay.io/library/nginx:1.25": DOCKER,
    "127.0.0.1:5000/demo/web:1": DOCKER,
    f"ghcr.io/pinned/image@{DOCKER.content.digest}": DOCKER,
}


def write_layout(folder: Path, images: dict[str, Image | Index], blobs: str = "blobs") -> Path:
    """An image layout with these images under these names."""
    store = folder / blobs / "sha256"
    store.mkdir(parents=True)

    def put(content: Content) -> None:
        (store / content.digest.removeprefix("sha256:")).write_bytes(content.data)

    for made in images.values():
        for each in made.images() if isinstance(made, Index) else (made,):
            for content in (each.manifest, each.config, *each.layers):
                put(content)
        if isinstance(made, Index):
            put(made.content)
            for entry in made.entries:
                if isinstance(entry, Index):
                    put(entry.content)
    put(BIG)
    descriptors = [top(made).descriptor(annotations={REF_NAME: name} if name else {}) for name, made in images.items()]
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": descriptors}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder


def top(made: Image | Index) -> Content:
    return made.content if isinstance(made, Index) else made.manifest


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> LayoutFolder:
    return LayoutFolder(write_layout(tmp_path_factory.mktemp("served"), NAMES))


@pytest.fixture(scope="module")
def server(source: LayoutFolder) -> Iterator[RegistryServer]:
    with RegistryServer(source) as started:
        yield started


@pytest.fixture
def client(server: RegistryServer) -> Iterator[RegistryClient]:
    with RegistryClient(server.host) as connected:
        yield connected


def skopeo(*arguments: str) -> bytes:
    return subprocess.run(["skopeo", *arguments], check=True, capture_output=True, timeout=60).stdout


def error_code(body: bytes) -> str:
    (error,) = json.loads(body)["errors"]
    assert error["message"]
    return str(error["code"])


# What skopeo sees


@pytest.fixture(scope="module")
def kinds_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    images = {f"docker.io/kinds/{kind}:v1": make() for kind, make in KINDS.items()}
    with RegistryServer(LayoutFolder(write_layout(tmp_path_factory.mktemp("kinds"), images))) as started:
        yield started


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_copied_bit_for_bit(kind: str, kinds_server: RegistryServer, tmp_path: Path) -> None:
    made = KINDS[kind]()
    name = f"docker://{kinds_server.host}/kinds/{kind}:v1"
    assert skopeo("inspect", "--raw", "--tls-verify=false", name) == top(made).data
    if kind == "nested-index":
        return  # skopeo cannot copy an index in an index
    skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", name, f"dir:{tmp_path}/copied")
    assert (tmp_path / "copied" / "manifest.json").read_bytes() == top(made).data
    for each in made.images() if isinstance(made, Index) else (made,):
        for content in each.layers:
            if content.digest not in each.foreign:
                assert (tmp_path / "copied" / content.digest.removeprefix("sha256:")).read_bytes() == content.data


def test_skopeo_lists_tags_and_reads_by_digest(server: RegistryServer) -> None:
    name = f"docker://{server.host}/library/nginx"
    listed = json.loads(skopeo("list-tags", "--tls-verify=false", name))
    assert listed["Tags"] == ["1.25", "1.26", "sbom", "signature"]
    for each in NGINX.images():
        assert skopeo("inspect", "--raw", "--tls-verify=false", f"{name}@{each.manifest.digest}") == each.manifest.data


def test_parallel_copies(server: RegistryServer, tmp_path: Path) -> None:
    command = ["skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{server.host}/library/nginx:1.25"]
    running = [subprocess.Popen([*command, f"dir:{tmp_path}/{number}"], stdout=subprocess.DEVNULL) for number in range(8)]
    assert [process.wait(60) for process in running] == [0] * 8


# Names


@pytest.mark.parametrize(
    "name, tag, made",
    [
        ("library/nginx", "1.25", NGINX),
        ("docker.io/library/nginx", "1.25", NGINX),
        ("quay.io/library/nginx", "1.25", DOCKER),
        ("demo/web", "1", DOCKER),
        ("pinned/image", DOCKER.content.digest, DOCKER),
        ("ghcr.io/pinned/image", DOCKER.content.digest, DOCKER),
    ],
)
def test_names(client: RegistryClient, name: str, tag: str, made: Index) -> None:
    answer = client.manifest(name, tag)
    assert (answer.status, answer.body) == (200, made.content.data)


def test_containerd_says_whose_mirror_we_are(client: RegistryClient) -> None:
    for registry, made in {"docker.io": NGINX, "quay.io": DOCKER}.items():
        answer = client.request("GET", f"/v2/library/nginx/manifests/1.25?ns={registry}")
        assert answer.body == made.content.data
    assert client.request("GET", "/v2/library/nginx/manifests/1.25?ns=elsewhere.example").status == 404


def test_names_of_foreign_layouts(tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "My Images", {"v1": NGINX, "": DOCKER})
    with RegistryServer(LayoutFolder(folder)) as server, RegistryClient(server.host) as client:
        assert client.manifest("my-images", "v1").body == NGINX.content.data
        assert client.manifest("my-images", DOCKER.content.digest).body == DOCKER.content.data
        assert json.loads(client.request("GET", "/v2/my-images/tags/list").body)["tags"] == ["v1"]


def test_our_cache_without_its_link(tmp_path: Path) -> None:
    """FAT holds no links: then the blobs are in ``share`` only."""
    folder = write_layout(tmp_path / "cache", {"docker.io/library/nginx:1.25": NGINX}, blobs="share")
    with RegistryServer(LayoutFolder(folder)) as server, RegistryClient(server.host) as client:
        assert client.manifest("library/nginx", "1.25").body == NGINX.content.data


def test_not_a_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an OCI image layout"):
        LayoutFolder(tmp_path)


# Manifests and blobs


def test_base(client: RegistryClient) -> None:
    for path in ("/v2/", "/v2"):
        answer = client.request("GET", path)
        assert (answer.status, answer.headers["docker-distribution-api-version"]) == (200, "registry/2.0")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("made, media_type", [(NGINX, OCI_INDEX), (DOCKER, DOCKER_LIST)])
def test_manifest(client: RegistryClient, method: str, made: Index, media_type: str) -> None:
    digest = made.content.digest
    name = "library/nginx" if made is NGINX else "demo/web"
    for reference in ("1.25" if made is NGINX else "1", digest):
        answer = client.request(method, f"/v2/{name}/manifests/{reference}", headers={"Accept": "text/plain"})
        assert answer.status == 200
        assert answer.headers["content-type"] == media_type
        assert answer.headers["docker-content-digest"] == digest
        assert answer.headers["etag"] == f'"{digest}"'
        assert answer.headers["content-length"] == str(len(made.content.data))
        assert answer.body == (made.content.data if method == "GET" else b"")


def test_blob(client: RegistryClient) -> None:
    for method, body in {"GET": BIG.data, "HEAD": b""}.items():
        answer = client.request(method, f"/v2/library/nginx/blobs/{BIG.digest}")
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-length"] == str(len(BIG.data))
        assert answer.headers["docker-content-digest"] == BIG.digest
        assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    "wanted, start, stop",
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-99", 10, 100),
        ("bytes=65530-200000", 65530, 200001),
        ("bytes=-5", len(BIG.data) - 5, len(BIG.data)),
        ("bytes=100-", 100, len(BIG.data)),
        ("bytes=0-999999999", 0, len(BIG.data)),
    ],
)
def test_range(client: RegistryClient, wanted: str, start: int, stop: int) -> None:
    answer = client.request("GET", f"/v2/library/nginx/blobs/{BIG.digest}", headers={"Range": wanted})
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(BIG.data)}"
    assert answer.body == BIG.data[start:stop]


def test_range_that_is_not_there(client: RegistryClient) -> None:
    headers = {"Range": f"bytes={len(BIG.data)}-"}
    answer = client.request("GET", f"/v2/library/nginx/blobs/{BIG.digest}", headers=headers)
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(BIG.data)}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,4-5"},
        {"Range": "lines=0-1"},
        {"Range": "nonsense"},
        {"Range": "bytes=0-1", "If-Range": '"another"'},
        {"Range": "bytes=0-1", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
)
def test_what_is_no_single_range_gets_the_whole(client: RegistryClient, headers: dict[str, str]) -> None:
    answer = client.request("GET", f"/v2/library/nginx/blobs/{BIG.digest}", headers=headers)
    assert (answer.status, len(answer.body)) == (200, len(BIG.data))


def test_if_range_that_matches(client: RegistryClient) -> None:
    headers = {"Range": "bytes=0-1", "If-Range": f'"{BIG.digest}"'}
    assert client.request("GET", f"/v2/library/nginx/blobs/{BIG.digest}", headers=headers).body == BIG.data[:2]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditional(client: RegistryClient, method: str) -> None:
    places = {f"blobs/{BIG.digest}": BIG.digest, "manifests/1.25": NGINX.content.digest}
    for place, digest in places.items():
        for value, status in {f'"{digest}"': 304, f'"x", "{digest}"': 304, "*": 304, '"x"': 200}.items():
            answer = client.request(method, f"/v2/library/nginx/{place}", headers={"If-None-Match": value})
            assert answer.status == status
            assert status == 200 or answer.body == b""


# What is not there, and what is not allowed


@pytest.mark.parametrize(
    "path, status, code",
    [
        ("/v2/nobody/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/nobody/tags/list", 404, "NAME_UNKNOWN"),
        (f"/v2/nobody/blobs/{BIG.digest}", 404, "NAME_UNKNOWN"),
        ("/v2/library/nginx/manifests/9", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/library/nginx/manifests/{digest_of(b'none')}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/library/nginx/manifests/{BIG.digest}", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/nginx/manifests/sha256:abc", 400, "DIGEST_INVALID"),
        (f"/v2/library/nginx/blobs/{digest_of(b'none')}", 404, "BLOB_UNKNOWN"),
        (f"/v2/library/nginx/blobs/{Digest.of(b'none', 'sha512')}", 404, "BLOB_UNKNOWN"),
        ("/v2/library/nginx/blobs/latest", 400, "DIGEST_INVALID"),
        ("/v2/library/nginx/blobs/sha256:../../index.json", 404, "UNSUPPORTED"),
        ("/v2/library/nginx/referrers/latest", 400, "DIGEST_INVALID"),
        ("/v2/library/nginx/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"),
        ("/", 404, "UNSUPPORTED"),
        ("/v1/search", 404, "UNSUPPORTED"),
    ],
)
def test_errors(client: RegistryClient, path: str, status: int, code: str) -> None:
    answer = client.request("GET", path)
    assert (answer.status, error_code(answer.body)) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert client.request("HEAD", path).status == status


def test_writing_is_refused(client: RegistryClient) -> None:
    writes = {
        "POST": "/v2/library/nginx/blobs/uploads/",
        "PUT": "/v2/library/nginx/manifests/new",
        "PATCH": "/v2/library/nginx/blobs/uploads/1",
        "DELETE": f"/v2/library/nginx/blobs/{BIG.digest}",
    }
    for method, path in writes.items():
        answer = client.request(method, path, b"{}")
        assert (answer.status, answer.headers["allow"], error_code(answer.body)) == (405, "GET, HEAD", "UNSUPPORTED")
    # What was sent has not put the connection out of step.
    assert client.request("GET", "/v2/").status == 200


def test_damaged_manifest_is_not_served(tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "layout", {"docker.io/library/nginx:1.25": NGINX})
    manifest = folder / "blobs" / "sha256" / NGINX.content.digest.removeprefix("sha256:")
    manifest.write_bytes(NGINX.content.data.replace(b"linux", b"minix"))
    with RegistryServer(LayoutFolder(folder)) as server, RegistryClient(server.host) as client:
        assert client.manifest("library/nginx", "1.25").status == 500


# Discovery


def test_catalog(client: RegistryClient) -> None:
    answer = client.request("GET", "/v2/_catalog")
    assert json.loads(answer.body)["repositories"] == [
        "demo/web",
        "docker.io/library/nginx",
        "ghcr.io/pinned/image",
        "library/nginx",
        "pinned/image",
        "quay.io/library/nginx",
    ]


@pytest.mark.parametrize("path, key, count", [("/v2/_catalog", "repositories", 6), ("/v2/library/nginx/tags/list", "tags", 4)])
@pytest.mark.parametrize("number", [1, 2, 4, 100])
def test_pages(client: RegistryClient, path: str, key: str, count: int, number: int) -> None:
    whole = json.loads(client.request("GET", path).body)[key]
    assert len(whole) == count
    seen: list[str] = []
    next_page = f"{path}?n={number}"
    while next_page:
        answer = client.request("GET", next_page)
        page = json.loads(answer.body)[key]
        assert 0 < len(page) <= number
        seen += page
        link = answer.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        next_page = link[1:].partition(">")[0]
    assert seen == whole


def test_pages_of_nothing(client: RegistryClient) -> None:
    for query in ("n=0", "last=zzz"):
        answer = client.request("GET", f"/v2/library/nginx/tags/list?{query}")
        assert json.loads(answer.body) == {"name": "library/nginx", "tags": []}
        assert "link" not in answer.headers


def referrers(client: RegistryClient, digest: str, query: str = "") -> list[dict[str, Any]]:
    answer = client.request("GET", f"/v2/library/nginx/referrers/{digest}{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, OCI_INDEX)
    assert answer.headers.get("oci-filters-applied") == ("artifactType" if query else None)
    return list(json.loads(answer.body)["manifests"])


def test_referrers(client: RegistryClient) -> None:
    subject = NGINX.images()[0].manifest.digest
    found = {entry["artifactType"]: entry for entry in referrers(client, subject)}
    assert found.keys() == {"application/vnd.tests.signature", "application/vnd.tests.sbom"}
    signature = found["application/vnd.tests.signature"]
    assert signature == SIGNATURE.manifest.descriptor(artifactType=SIGNATURE.artifact_type, annotations={"by": "tests"})
    assert referrers(client, subject, "?artifactType=application/vnd.tests.sbom") == [found["application/vnd.tests.sbom"]]
    assert referrers(client, subject, "?artifactType=none") == []
    assert referrers(client, NGINX.content.digest) == []


# The server


def test_requests_are_logged(source: LayoutFolder) -> None:
    seen: list[tuple[str, str, int]] = []
    with (
        RegistryServer(source, on_request=lambda *request: seen.append(request)) as server,
        RegistryClient(server.host) as client,
    ):
        client.request("GET", "/v2/?x=y")
        client.request("HEAD", "/v2/nobody/manifests/1")
        client.request("DELETE", "/v2/library/nginx/manifests/1.25")
    assert seen == [
        ("GET", "/v2/", 200),
        ("HEAD", "/v2/nobody/manifests/1", 404),
        ("DELETE", "/v2/library/nginx/manifests/1.25", 405),
    ]


def test_tls(source: LayoutFolder, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    (tmp_path / "certs").mkdir()
    authority.cert_pem.write_to_path(tmp_path / "certs" / "ca.crt")
    with RegistryServer(source, tls=(tmp_path / "server.crt", tmp_path / "server.key")) as server:
        assert server.url == f"https://{server.host}"
        context = ssl.create_default_context(cafile=str(tmp_path / "certs" / "ca.crt"))
        with RegistryClient(server.host, context) as client:
            assert client.blob("library/nginx", BIG.digest).body == BIG.data
        skopeo("inspect", "--raw", "--cert-dir", f"{tmp_path}/certs", f"docker://{server.host}/library/nginx:1.25")


def test_port_in_use(source: LayoutFolder, server: RegistryServer) -> None:
    with (
        pytest.raises(EnvironmentProblem, match="cannot listen"),
        RegistryServer(source, port=int(server.host.partition(":")[2])),
    ):
        pass


def test_nothing_is_left_when_it_stops(tmp_path: Path) -> None:
    """Not even with one client idle, one gone in the middle of a blob, and one that has stopped reading."""
    folder = write_layout(tmp_path / "layout", NAMES)
    huge = bytes(64 * 1024 * 1024)
    digest = f"sha256:{hashlib.sha256(huge).hexdigest()}"
    (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(huge)
    request = f"GET /v2/library/nginx/blobs/{digest} HTTP/1.1\r\nHost: registry\r\n\r\n".encode()
    before = set(threading.enumerate())
    with RegistryServer(LayoutFolder(folder)) as server, RegistryClient(server.host) as idle:
        host, _, port = server.host.partition(":")
        idle.request("GET", "/v2/")
        with socket.create_connection((host, int(port))) as gone:
            gone.sendall(request)
            assert gone.recv(10)
        stuck = socket.create_connection((host, int(port)))
        stuck.sendall(request)
        assert stuck.recv(10)
    stuck.close()
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) == before
    with pytest.raises(OSError):
        socket.create_connection((host, int(port)))
