"""The typed values of the OCI specification, and that nothing a registry sends does more than raise ``ContentError``."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core import oci
from pipeline.core.errors import ContentError
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, Platform, Schema1, parse
from tests.support.images import foreign_layer, helm_chart, image, index, layer
from tests.support.kinds import ALL_KINDS, build
from tests.support.schema1 import schema1

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def descriptor(digest: str = A, size: int = 1, **more: Any) -> dict[str, Any]:
    return {"mediaType": oci.OCI_MANIFEST, "digest": digest, "size": size, **more}


def dump(document: Any) -> bytes:
    return json.dumps(document).encode()


def refused(data: bytes, why: str = ".") -> None:
    with pytest.raises(ContentError, match=why):
        parse(data)


# Digests


def test_a_digest_is_read_and_written() -> None:
    for text in (A, f"sha512:{'0' * 128}"):
        assert str(Digest.parse(text)) == text
    assert str(Digest.of(b"")) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Digest.of(b"", "sha512").hex.startswith("cf83e1357eefb8bd")
    assert Digest.parse(A).short == "a" * 12


def test_anything_else_is_no_digest() -> None:
    texts: list[Any] = [
        "",
        "sha256",
        "sha256:",
        A[:-1],
        A + "a",
        A.upper(),
        A.replace("a" * 64, "A" * 64),
        A.replace("a" * 64, "g" * 64),
        f" {A}",
        f"{A}\n",
        f"sha512:{'a' * 64}",
        f"sha384:{'a' * 96}",
        f"md5:{'a' * 32}",
        f"sha256:../../../etc/{'a' * 50}",
        f"sha256:{'a' * 63}/",
        f"sha256:{'a' * 63}\0",
        f"sha256:{'٠' * 64}",
        "a" * 1_000_000,
        None,
        256,
        [A],
    ]
    for text in texts:
        with pytest.raises(ContentError, match="not a valid digest") as caught:
            Digest.parse(text)
        assert len(str(caught.value)) < 200


# Kinds of manifests


def test_every_kind_that_a_registry_holds_is_told_apart() -> None:
    kinds = {name: type(parse(_bytes_of(build(name, "library/a")))).__name__ for name in ALL_KINDS}
    assert set(kinds.values()) == {"Manifest", "Index", "Schema1"}
    assert {name for name, kind in kinds.items() if kind == "Schema1"} == {name for name in ALL_KINDS if "schema1" in name}


def _bytes_of(what: Any) -> bytes:
    for name in ("signed", "content", "manifest"):
        if hasattr(what, name):
            found = getattr(what, name)
            return found if isinstance(found, bytes) else bytes(found.data)
    raise AssertionError(what)


def test_a_docker_list_and_an_oci_index() -> None:
    for docker, media_type in ((False, oci.OCI_INDEX), (True, oci.DOCKER_LIST)):
        images = (image("linux/amd64", docker=docker), image("linux/arm/v7", docker=docker))
        parsed = parse(index(*images, docker=docker).content.data)
        assert isinstance(parsed, Index)
        assert parsed.media_type == media_type
        assert [d.platform for d in parsed.manifests] == [Platform("linux", "amd64"), Platform("linux", "arm", "v7")]


def test_a_docker_manifest_and_an_oci_manifest() -> None:
    for docker, media_type in ((False, oci.OCI_MANIFEST), (True, oci.DOCKER_MANIFEST)):
        made = image(layers=[layer("a"), layer("b")], docker=docker)
        parsed = parse(made.manifest.data)
        assert isinstance(parsed, Manifest)
        assert parsed.media_type == media_type
        assert str(parsed.config.digest) == made.config.digest
        assert [str(blob.digest) for blob in parsed.blobs] == [made.config.digest, *(each.digest for each in made.layers)]


def test_a_manifest_that_does_not_say_what_it_is() -> None:
    for docker in (False, True):
        parsed = parse(image(docker=docker, media_type=False).manifest.data)
        assert isinstance(parsed, Manifest)
        assert parsed.media_type == (oci.DOCKER_MANIFEST if docker else oci.OCI_MANIFEST)
    assert isinstance(parse(index(image(), media_type=False).content.data), Index)


def test_a_kind_is_told_by_what_it_holds_not_by_its_label() -> None:
    assert isinstance(parse(dump({"mediaType": oci.OCI_MANIFEST, "manifests": []})), Index)
    assert isinstance(parse(dump({"mediaType": oci.OCI_INDEX, "config": descriptor()})), Manifest)
    assert isinstance(parse(dump({"mediaType": "text/html", "manifests": []})), Index)


def test_an_artifact_and_its_subject() -> None:
    parsed = parse(helm_chart("chart").manifest.data)
    assert isinstance(parsed, Manifest)
    assert parsed.config.media_type == "application/vnd.cncf.helm.config.v1+json"
    named = parse(dump({"config": descriptor(), "artifactType": "text/x", "subject": descriptor(B)}))
    assert isinstance(named, Manifest)
    assert (named.artifact_type, named.subject and str(named.subject.digest)) == ("text/x", B)
    refused(dump({"config": descriptor(), "subject": "x"}), "not a JSON object")


def test_foreign_layers_are_named_not_needed() -> None:
    foreign = foreign_layer("base")
    parsed = parse(image(layers=[foreign, layer("top")], docker=True).manifest.data)
    assert isinstance(parsed, Manifest)
    assert parsed.layers[0].is_foreign
    assert parsed.layers[0].urls == foreign.urls
    assert str(parsed.layers[0].digest) not in {str(blob.digest) for blob in parsed.blobs}


def test_urls_alone_make_no_layer_foreign() -> None:
    assert not Descriptor.from_json(descriptor(urls=["https://cdn.example.com/a"])).is_foreign
    assert not Descriptor.from_json({**descriptor(), "mediaType": "application/x.nondistributable"}).is_foreign


def test_a_layer_that_comes_twice_is_needed_once() -> None:
    parsed = parse(dump({"config": descriptor(A), "layers": [descriptor(B), descriptor(C), descriptor(B)]}))
    assert isinstance(parsed, Manifest)
    assert [str(blob.digest) for blob in parsed.blobs] == [A, B, C]


def test_what_is_no_manifest_is_refused() -> None:
    documents: list[Any] = [
        {},
        {"manifests": {}},
        {"config": []},
        {"schemaVersion": 2},
        {"layers": [descriptor()]},
        {"manifests": ["x"]},
        {"manifests": [{}]},
        {"manifests": [descriptor("sha256:1")]},
        {"manifests": [{**descriptor(), "digest": None}]},
        {"config": descriptor(), "layers": [None]},
        *({"manifests": [{**descriptor(), "size": size}]} for size in (None, "1", 1.0, True, -1, 2**63, 10**400)),
    ]
    for document in documents:
        refused(dump(document))


def test_what_is_no_json_is_refused() -> None:
    for data in (b"", b"\x00", b"<html>", b"{", b"[]", b"1", b'"x"', b"null", b'{"manifests":[]'):
        refused(data)
    for data in (b"\xff\xfe{\x00}\x00", b'\xef\xbb\xbf{"manifests":[]}', b'{"manifests":[],"a":"\xff"}'):
        refused(data, "not valid JSON")


def test_text_that_could_never_be_written_again_is_refused() -> None:
    """A lone surrogate: JSON may spell it, UTF-8 cannot, and an index of ours would have to hold it."""
    for spelled in (b"\\ud800", b"\\uDFFF", b"\xed\xa0\x80"):
        refused(b'{"manifests":[],"annotations":{"a":"' + spelled + b'"}}', "not valid JSON")
    assert isinstance(parse(b'{"manifests":[],"annotations":{"a":"\\ud83d\\udc33 \\u00e9"}}'), Index)


# Limits


def test_a_manifest_may_be_four_mib_and_no_larger() -> None:
    data = dump({"manifests": []})
    assert isinstance(parse(data + b" " * (oci.MAX_MANIFEST_SIZE - len(data))), Index)
    refused(data + b" " * (oci.MAX_MANIFEST_SIZE - len(data) + 1), "larger than any")


def test_ten_thousand_entries_and_no_more() -> None:
    for key in ("manifests", "layers"):
        more = {"config": descriptor()} if key == "layers" else {}
        refused(dump({key: [descriptor()] * (oci.MAX_DESCRIPTORS + 1), **more}), "more than any image has")
    assert parse(dump({"manifests": [descriptor()] * oci.MAX_DESCRIPTORS}))


def test_a_size_is_an_int64() -> None:
    assert Descriptor.from_json(descriptor(size=2**63 - 1)).size == 2**63 - 1
    assert Descriptor.from_json(descriptor(size=0)).size == 0


def test_deep_nesting_is_refused_before_it_breaks_the_stack() -> None:
    for depth in (oci.MAX_NESTING + 1, 300, 900, 5_000, 500_000):
        for opening, closing in ((b'{"a":', b"}"), (b"[", b"]")):
            nested = opening * depth + b"1" + closing * depth
            refused(b'{"manifests":[],"x":' + nested + b"}")


def test_what_is_nested_as_allowed_can_be_written_again() -> None:
    depth = oci.MAX_NESTING - 1
    parsed = parse(b'{"manifests":[],"x":' + b"[" * depth + b"]" * depth + b"}")
    assert isinstance(parsed, Index)
    assert parse(parsed.subset(()))


# Platforms


def test_a_platform() -> None:
    cases: list[tuple[Any, str, bool]] = [
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64", True),
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, "linux/arm/v7", True),
        ({"os": "windows", "architecture": "amd64", "os.version": "10.0.1"}, "windows/amd64 10.0.1", True),
        ({"architecture": "amd64"}, "unknown/amd64", True),
        ({"os": "unknown", "architecture": "unknown"}, "unknown/unknown", False),
        ({"os": "linux", "architecture": "unknown"}, "linux/unknown", False),
        ({"os": "unknown", "architecture": "amd64"}, "unknown/amd64", False),
        ({"os": "linux"}, "linux/unknown", False),
        ({}, "unknown/unknown", False),
        (None, "unknown/unknown", False),
        ({"os": 1, "architecture": ["amd64"]}, "unknown/unknown", False),
        ({"os": "linux", "architecture": "x86_64"}, "linux/amd64", True),
        ({"os": "linux", "architecture": "aarch64", "variant": "v8"}, "linux/arm64/v8", True),
        ({"os": "linux", "architecture": "armhf"}, "linux/arm/v7", True),
    ]
    for data, text, known in cases:
        platform = Platform.from_json(data)
        assert (str(platform), platform.is_known) == (text, known)


def test_features_tell_platforms_apart() -> None:
    with_features = Platform.from_json({"os": "windows", "architecture": "amd64", "os.features": ["win32k"]})
    assert with_features.os_features == ("win32k",)
    assert with_features != Platform("windows", "amd64")
    assert Platform.from_json({"os.features": "win32k"}).os_features == ()


# Referrers


def test_a_referrer_is_listed_without_what_it_does_not_say() -> None:
    subject = {**descriptor(B), "mediaType": oci.OCI_MANIFEST}
    own = Digest.parse(C)
    data = dump({"manifests": [], "subject": subject})
    assert oci.referrer_entry(own, data) == {"mediaType": oci.OCI_INDEX, "digest": C, "size": len(data)}
    data = dump({"config": {**descriptor(), "mediaType": "text/x"}, "subject": subject, "annotations": {"a": "b"}})
    expected = {"mediaType": oci.OCI_MANIFEST, "digest": C, "size": len(data), "artifactType": "text/x"}
    assert oci.referrer_entry(own, data) == {**expected, "annotations": {"a": "b"}}


# Subsets


def test_a_subset_keeps_descriptors_verbatim_and_all_other_fields() -> None:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": oci.DOCKER_LIST,
        "x-vendor": {"a": [1, 2.5, None, "é☃"]},
        "manifests": [
            descriptor(A, platform={"architecture": "amd64", "os": "linux", "x": 1}, own={"deep": ["kept"]}),
            descriptor(B, annotations={"k": "v", "number": 1}, data="e30="),
            descriptor(C),
        ],
        "annotations": {"org": "kept"},
    }
    parsed = parse(dump(document))
    assert isinstance(parsed, Index)
    made = parsed.subset((parsed.manifests[1], parsed.manifests[0]))
    again = json.loads(made)
    assert list(again) == list(document)
    assert again == {**document, "manifests": [document["manifests"][1], document["manifests"][0]]}
    assert parsed.subset((parsed.manifests[1], parsed.manifests[0])) == made
    reread = parse(made)
    assert isinstance(reread, Index)
    assert (reread.media_type, reread.manifests) == (oci.DOCKER_LIST, (parsed.manifests[1], parsed.manifests[0]))


def test_a_descriptor_is_written_as_it_was_read() -> None:
    data = descriptor(A, 5, platform={"os": "linux"}, anything=["else"])
    assert Descriptor.from_json(data).to_json() == data
    made = Descriptor(oci.OCI_MANIFEST, Digest.parse(A), 5)
    assert made.to_json() == {"mediaType": oci.OCI_MANIFEST, "digest": A, "size": 5}


def test_an_attestation_is_known_by_its_annotation() -> None:
    marked = Descriptor.from_json(descriptor(annotations={oci.ATTESTATION_TYPE: "attestation-manifest"}))
    assert marked.is_attestation
    assert not Descriptor.from_json(descriptor(annotations={oci.ATTESTATION_TYPE: "other"})).is_attestation
    assert not Descriptor.from_json(descriptor(annotations="no mapping")).is_attestation


# Schema 1


def test_the_digest_of_schema_1_is_that_of_what_was_signed() -> None:
    made = schema1("library/old", "v1", [layer("one"), layer("two")], "arm64")
    parsed = parse(made.signed)
    assert parsed == Schema1(oci.DOCKER_SCHEMA1_SIGNED, Digest.parse(made.digest), Platform("linux", "arm64"))
    assert parsed.digest != Digest.of(made.signed)


def test_schema_1_without_a_signature() -> None:
    made = schema1("library/old", "v1", [layer("one")])
    assert parse(made.payload) == Schema1(oci.DOCKER_SCHEMA1, Digest.of(made.payload), Platform("linux", "amd64"))


def _protected(document: Any) -> str:
    return base64.urlsafe_b64encode(document if isinstance(document, bytes) else dump(document)).decode().rstrip("=")


def test_a_broken_signature_is_refused() -> None:
    broken: list[Any] = [
        "text",
        {"0": {}},
        [1],
        [{}],
        [{"protected": 1}],
        [{"protected": "é"}],
        [{"protected": "!!!!"}],
        [{"protected": _protected(b"no json")}],
        [{"protected": _protected([])}],
        [{"protected": _protected({"formatLength": 1})}],
        [{"protected": _protected({"formatLength": "x", "formatTail": ""})}],
        [{"protected": _protected({"formatLength": None, "formatTail": ""})}],
        [{"protected": _protected({"formatLength": 1, "formatTail": 1})}],
        [{"protected": _protected(b'{"formatLength":1e999,"formatTail":""}')}],
        [{"protected": _protected(b"[" * 100_000)}],
    ]
    for signatures in broken:
        refused(dump({"schemaVersion": 1, "signatures": signatures}), "signature of a schema 1 manifest")


# Properties

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([A, B, "sha256:x", oci.OCI_INDEX, oci.OCI_MANIFEST, "unknown", "linux", _protected({"formatLength": 1})])
)
KEYS = st.sampled_from(
    "mediaType digest size platform annotations urls os architecture variant os.version os.features config layers manifests "
    "schemaVersion signatures protected formatLength formatTail subject artifactType data".split()
)


def _nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)


ANYTHING = st.recursive(SCALARS, _nest, max_leaves=6)
DESCRIPTORS = st.fixed_dictionaries(
    {"digest": st.sampled_from([A, B, C]) | SCALARS, "size": st.integers(0, 9) | SCALARS},
    optional={"mediaType": SCALARS, "platform": ANYTHING, "annotations": ANYTHING, "urls": ANYTHING},
)
DOCUMENTS = ANYTHING | st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": st.sampled_from([1, 2]) | SCALARS,
        "mediaType": SCALARS,
        "manifests": st.lists(DESCRIPTORS, max_size=3) | ANYTHING,
        "config": DESCRIPTORS | ANYTHING,
        "layers": st.lists(DESCRIPTORS, max_size=3) | ANYTHING,
        "subject": DESCRIPTORS | ANYTHING,
        "signatures": st.lists(st.fixed_dictionaries({"protected": SCALARS}), max_size=2) | ANYTHING,
    },
)


def _parse_all(data: bytes) -> None:
    try:
        parsed = parse(data)
    except ContentError as error:
        assert len(str(error)) < 500
        return
    if isinstance(parsed, Index):
        again = parse(parsed.subset(parsed.manifests))
        assert isinstance(again, Index)
        assert again.manifests == parsed.manifests
    if isinstance(parsed, Manifest):
        assert len({blob.digest for blob in parsed.blobs}) == len(parsed.blobs)


@given(st.binary())
@example(b'{"schemaVersion":1,"signatures":[{"protected":"e30="}]}')
def test_any_bytes_are_a_manifest_or_a_content_error(data: bytes) -> None:
    _parse_all(data)


@settings(max_examples=80)
@given(DOCUMENTS)
def test_any_document_is_a_manifest_or_a_content_error(document: Any) -> None:
    _parse_all(json.dumps(document).encode())


TOKENS = [*(bytes([c]) for c in b"{}[]:,"), b'"manifests"', b'"config"', b"1", b"1e999", b"NaN", b'"\\ud800"']


@given(st.lists(st.sampled_from(TOKENS)))
def test_any_tokens_are_a_manifest_or_a_content_error(tokens: Sequence[bytes]) -> None:
    _parse_all(b"".join(tokens))


def test_a_real_manifest_that_lost_or_gained_bytes() -> None:
    data = index(image("linux/amd64"), image("linux/arm64")).content.data
    for position in range(0, len(data), 7):
        _parse_all(data[:position])
        _parse_all(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        _parse_all(data[:position] + bytes([data[position] ^ 0x01]) + data[position + 1 :])
