"""Attestations in an index that its registry has lost (a clean-up took them for untagged): the image is saved without."""

from __future__ import annotations

import json

from tests.support.images import Content, Image, Index, attestation, image, index, layer
from tests.system.referrers.api_registry import ApiRegistry
from tests.system.save.saving import ARCHIVE, FAILED, save, saved, unpack

AMD64, ARM64 = (image(f"linux/{name}", [layer(f"lost/{name}", 100)]) for name in ("amd64", "arm64"))
LOST, KEPT = attestation(AMD64), attestation(ARM64)


def put(api: ApiRegistry, made: Index, without: Image) -> None:
    for each in made.images():
        if each is not without:
            api.put(each)
    api.manifest(Content(made.content.media_type, made.content.data), "v1")


def test_an_attestation_that_is_lost_is_left_out_and_named(api: ApiRegistry) -> None:
    made = index(AMD64, ARM64, LOST, KEPT)
    put(api, made, LOST)
    name = api.name("v1")
    first = saved([name])
    warning = f"{name}: the registry does not have its attestation {LOST.manifest.digest}; it is left out"
    assert warning in first.stderr
    bundle = unpack()
    bundle.check()
    manifests = json.loads(made.content.data)["manifests"]
    assert json.loads(bundle.raw(name))["manifests"] == [*manifests[:2], manifests[3]], "verbatim"
    data = ARCHIVE.read_bytes()
    api.log.clear()
    again = saved([name])
    assert warning in again.stderr, "in each run"
    assert api.asked(LOST.manifest.digest) == [], "but it is not asked for in each run"
    assert ARCHIVE.read_bytes() == data


def test_what_the_image_cannot_do_without_still_fails_it(api: ApiRegistry) -> None:
    made = index(AMD64, ARM64, LOST, KEPT)
    put(api, made, LOST)
    strict = save([api.name("v1")], "-referrers=strict")
    assert strict.code == 3, "it is the only one"
    assert f"the registry does not have its attestation {LOST.manifest.digest}" in strict.stdout
    assert FAILED.read_text() == f"{api.name('v1')}\n"
    pinned = f"{api.host}/app@{made.content.digest}"
    assert f"{LOST.manifest.digest}, and a digest names all of an index" in save([pinned]).stdout
    lacking = image("linux/arm64", [layer("lost/another", 100)])
    put(api, index(AMD64, lacking), lacking)
    assert save([api.name("v1")]).code == 3, "a platform is not an attestation"
