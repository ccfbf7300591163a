"""From a registry into a bundle, and out of it into another registry: every signature is there, bit for bit, and is found.

Registries without the referrers API and with it, on either side.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from pipeline.reader.serve import RegistryServer
from tests.support.client import RegistryClient
from tests.support.images import Content
from tests.support.registry import Registry
from tests.support.signatures import SPDX, push_referrer, referrer
from tests.system.load.loading import Bundle, command, loaded, sent
from tests.system.referrers.signed import (
    ALL,
    NOTATION,
    ON_AMD64,
    ON_ARM64,
    Signed,
    brought,
    descriptor,
    entries,
    listed_by_api,
    listed_by_tag,
)
from tests.system.save.saving import SUBJECT, saved, unpack


def assert_found(client: RegistryClient, signed: Signed, *words: str, by_api: bool = False) -> None:
    """Each is there with its bytes, its blobs too; cosign's by tag, the others where one asks for referrers."""
    look = listed_by_api if by_api else listed_by_tag
    for each in (signed.along[word] for word in words):
        answer = client.manifest(signed.repository, each.target)
        assert (answer.status, answer.body) == (200, each.raw)
        for blob in (each.image.config, *each.image.layers):
            assert client.blob(signed.repository, blob.digest).body == blob.data
        listed = [entry["digest"] for entry in look(client, signed.repository, each.subject)]
        assert listed.count(each.digest) == (0 if each.tag else 1)


def test_what_a_bundle_holds(whole: Bundle, signed: Signed) -> None:
    """Each is an image of its own in the layout: what it is, and what it refers to, stands in the index."""
    assert brought(whole.path) == signed.names(*ALL)
    for each in signed.along.values():
        entry = entries(whole.path)[each.name(f"{signed.image.host}/{signed.repository}")]
        assert (entry["digest"], entry["annotations"][SUBJECT]) == (each.digest, each.subject)
        assert entry["artifactType"] == each.artifact_type
    unpacked = unpack(whole.path)
    assert [item["Tag"] for item in unpacked.images_list["List"]] == ["v1"], "other loaders see the images alone"
    assert {each.raw for each in signed.along.values()} <= set(unpacked.blobs.values())


def test_to_a_registry_without_the_api(subset: Bundle, signed: Signed, other_registry: Registry) -> None:
    """Its list is ours to keep: what stands in it stays, nothing comes twice, and one that is lost comes back."""
    amd64 = signed.image.platform("linux/amd64")
    with other_registry.client() as client:
        older = referrer(descriptor(amd64.raw), SPDX, [Content(SPDX, b"of somebody else")])
        push_referrer(client, signed.repository, amd64.manifest, older)
        result = loaded(subset, other_registry.host)
        assert "loaded 1 of 1 images and 5 of 5 referrers" in result.stdout
        assert_found(client, signed, *ON_AMD64)
        listed = listed_by_tag(client, signed.repository, amd64.manifest)
        sbom = signed.along["amd64 sbom"]
        assert [entry["digest"] for entry in listed] == [older.manifest.digest, sbom.digest]
        assert listed[1] == sbom.image.manifest.descriptor(artifactType=SPDX)
        other_registry.clear_requests()
        assert "6 were there already" in loaded(subset, other_registry.host).stdout
        assert sent(other_registry) == []
        other_registry.delete_tag(signed.repository, amd64.manifest.replace(":", "-"))
        loaded(subset, other_registry.host)
        assert_found(client, signed, *ON_AMD64)
    result = command("verify", subset.path, "-registry", other_registry.host, "-tls-verify=false")
    assert (result.code, result.stdout) == (0, "all is there, bit for bit: 1 images and 5 referrers\n")


def test_from_a_registry_with_the_api(served: RegistryServer, signed: Signed, other_registry: Registry) -> None:
    """What ``serve`` lists is saved, and loaded once more."""
    name = f"{served.host}/{signed.repository}:v1"
    result = saved([name], "-referrers", "-a", "arm64", "-j", "4", "-debug")
    assert brought() == signed.names(*ON_ARM64, host=served.host)
    lists = re.findall(r"GET \S*/(referrers/sha256:\w+|manifests/sha256-\w+): (\d+)", result.stderr)
    expected = [signed.image.digest, signed.image.platform("linux/arm64").manifest, signed.along["arm64 sig"].digest]
    assert sorted(lists) == sorted((f"referrers/{digest}", "200") for digest in expected), "no fallback tag is looked for"
    loaded(unpack().root, f"{other_registry.host}/again", "-j", "4")
    with other_registry.client() as client:
        arm64 = signed.along["arm64 sig"]
        assert client.manifest(f"again/{signed.repository}", arm64.tag).body == arm64.raw


def test_serve_answers_tags_and_referrers(served: RegistryServer, signed: Signed) -> None:
    with RegistryClient(served.host) as client:
        assert_found(client, signed, *ALL, by_api=True)
        sbom = signed.along["amd64 sbom"]
        [entry] = listed_by_api(client, signed.repository, sbom.subject, f"?artifactType={quote(SPDX)}")
        assert entry == sbom.image.manifest.descriptor(artifactType=SPDX)
        assert listed_by_api(client, signed.repository, sbom.subject, f"?artifactType={quote(NOTATION)}") == []
        assert listed_by_api(client, signed.repository, signed.along["arm64 sig"].digest) == []
        tags = json.loads(client.request("GET", f"/v2/{signed.repository}/tags/list").body)["tags"]
        assert set(tags) == {"v1"} | {each.tag for each in signed.along.values() if each.tag}
