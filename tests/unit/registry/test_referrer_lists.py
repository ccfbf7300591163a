"""What refers to an image, from registries that have another idea of how to say 'nothing'."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from pipeline.core import oci
from pipeline.core.bundle import Access
from pipeline.core.errors import RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.core.reference import parse
from pipeline.registry.distribution import Distribution
from pipeline.registry.pages import next_link
from pipeline.registry.referrer_lists import fallback_tag
from tests.unit.registry.servers import Reply, Request, Server

IMAGE = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": []}).encode()
SUBJECT = Digest.of(IMAGE)
ENTRY = {"mediaType": oci.OCI_MANIFEST, "digest": str(Digest.of(b"x")), "size": 1}
LIST = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": [ENTRY]}).encode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ('</v2/a?n=2>; rel="next"', "/v2/a?n=2"),
        ("</v2/a?n=2>;rel=next", "/v2/a?n=2"),
        ('</v2/a?n=2>; title="a; b, <c>"; rel="next"', "/v2/a?n=2"),
        ('</v2/a?n=2>; type="x"; REL = "prev next"', "/v2/a?n=2"),
        ('</first>; rel="first", </v2/a?last=x,y>; n=2; rel="next"', "/v2/a?last=x,y"),
        ('</last>; rel="last"', None),
        ("nonsense; rel=next", None),
        ("</open; rel=next", None),
    ],
)
def test_links(header: str, expected: str | None) -> None:
    """RFC 8288, section 3."""
    assert next_link(header) == expected


def serve(answers: Mapping[str, Reply]) -> Server:
    """A registry with an image; ``answers`` by the end of the path."""

    def reply(request: Request) -> Reply:
        for end, answer in {**answers, f"/manifests/{SUBJECT}": (200, {}, IMAGE)}.items():
            if request.path.endswith(end):
                return answer
        return 404, {}, b"{}"

    return Server(reply)


def make(strict: bool = False) -> Distribution:
    return Distribution(Access(tls_verify=False, retries=0), Interruption(), connections=2, strict=strict)


API, TAG, SIG = f"/referrers/{SUBJECT}", f"/manifests/{fallback_tag(SUBJECT)}", f"/manifests/{fallback_tag(SUBJECT)}.sig"


def test_pages() -> None:
    second = {**ENTRY, "digest": str(Digest.of(b"y"))}
    next_page = {"Link": f'<http://elsewhere.example{API}?page=2>; title="more, of it"; rel="next"'}
    more = json.dumps({"manifests": [second]}).encode()
    with serve({API: (200, next_page, LIST), f"{API}?page=2": (200, {}, more)}) as server:
        listed = make().referrers(parse(f"{server.host}/app:v1"), SUBJECT)
        assert listed.entries == (ENTRY, second) and listed.by_api


@pytest.mark.parametrize("link", ["<http://[::1>; rel=next", "<http://a]b/>; rel=next"])
def test_a_link_that_leads_nowhere(link: str) -> None:
    with serve({API: (200, {"Link": link}, LIST)}) as server, pytest.raises(RegistryError, match="is not an address"):
        make().referrers(parse(f"{server.host}/app:v1"), SUBJECT)


@pytest.mark.parametrize("status", [401, 403])
def test_an_api_that_is_denied(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """The image can be read: so the tag is asked, and that is said once."""
    with serve({API: (status, {}, b"{}"), TAG: (200, {}, LIST)}) as server:
        distribution = make()
        for _ in range(2):
            listed = distribution.referrers(parse(f"{server.host}/app:v1"), SUBJECT)
            assert listed.entries == (ENTRY,) and not listed.by_api
        assert len([each for each in server.asked() if "/referrers/" in each]) == 1
        strict = make(strict=True)
        with pytest.raises(RegistryError, match="access denied"):
            strict.referrers(parse(f"{server.host}/app:v1"), SUBJECT)


def test_an_image_that_is_denied_as_well() -> None:
    with Server(lambda request: (403, {}, b"{}")) as server, pytest.raises(RegistryError, match="access denied"):
        make().referrers(parse(f"{server.host}/app:v1"), SUBJECT)


def test_a_tag_that_is_denied_may_be_missing() -> None:
    """Artifactory says 403 of a tag that it does not have; of a 401, nothing is known."""
    with serve({SIG: (403, {}, b"{}"), API: (404, {}, b""), TAG: (403, {}, b"")}) as server:
        name = parse(f"{server.host}/app:v1")
        assert make().tagged(name, SUBJECT, SIG.rpartition("/")[2]) is None
        assert make().referrers(name, SUBJECT).entries == ()
        strict = make(strict=True)
        with pytest.raises(RegistryError, match="access denied"):
            strict.tagged(name, SUBJECT, SIG.rpartition("/")[2])
    with serve({SIG: (401, {}, b"{}")}) as server, pytest.raises(RegistryError, match="access denied"):
        make().tagged(parse(f"{server.host}/app:v1"), SUBJECT, SIG.rpartition("/")[2])


def test_a_signature_that_head_does_not_find() -> None:
    """HEAD is not answered (Nexus): the signature is not lost."""

    def reply(request: Request) -> Reply:
        if request.method == "HEAD" or not request.path.endswith(SIG):
            return 404, {}, b"{}"
        return 200, {}, IMAGE

    with Server(reply) as server:
        assert make().tagged(parse(f"{server.host}/app:v1"), SUBJECT, SIG.rpartition("/")[2]) == SUBJECT


def test_a_fallback_tag_that_is_the_image_itself() -> None:
    """GitLab: it lists nothing, and nothing is written over it."""
    with serve({TAG: (200, {}, IMAGE)}) as server:
        name = parse(f"{server.host}/app:v1")
        listed = make().referrers(name, SUBJECT)
        assert listed.entries == () and listed.is_foreign
        with pytest.raises(RegistryError, match="and is not replaced"):
            make().ensure_listed(name, SUBJECT, [ENTRY])
        assert not [each for each in server.asked() if each.startswith("PUT")]
