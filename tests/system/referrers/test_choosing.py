"""What comes along: with which platforms, what refers to what refers, which types, and what is told of the rest."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from pipeline.config.definition import load
from pipeline.core.bundle import ArtifactTypes, name_of, parse_artifact_types
from pipeline.core.oci import ORAS_MANIFEST
from pipeline.registry import referrer_lists
from pipeline.steps import referrers
from tests.support.images import OCI_INDEX, Content, Image, image, index, layer
from tests.support.push import push
from tests.support.registry import Registry
from tests.support.signatures import COSIGN_SIGNATURE, SPDX, attached, cosign_tag, push_image, push_referrer, referrer
from tests.system.load.loading import Bundle, json_of
from tests.system.referrers.api_registry import Answer, ApiRegistry, odd
from tests.system.referrers.signed import ALL, NOTATION, ON_AMD64, Signed, brought, descriptor, push_small
from tests.system.save.saving import ARCHIVE, FAILED, command, save, saved, unpack

DRY = ("-referrers", "-dry-run", "-retry", "0")


def found(output: str) -> int:
    """The number of referrers that a plan tells."""
    rows = dict(line.split(maxsplit=1) for line in output.splitlines() if line.startswith("referrers "))
    return int(rows.get("referrers", "0"))


# Platforms


def test_a_subset_leaves_behind_what_is_about_the_index(subset: Bundle, signed: Signed) -> None:
    assert brought(subset.path) == signed.names(*ON_AMD64)
    cache = ("-cache", subset.cache)
    result = saved([signed.image], *DRY, "-a", "amd64", *cache)
    assert found(result.stdout) == len(ON_AMD64)
    pinned = signed.image.pinned
    left = f"  {signed.image.reference}: 2 signatures; -a all would keep it, or {pinned} in the list\n"
    assert "left behind" in result.stdout and left in result.stdout
    for images in ([pinned], [signed.image]):
        whole = saved(images, *DRY, "-a", "amd64" if images == [pinned] else "all", *cache)
        assert found(whole.stdout) == len(ALL)
        assert "left behind" not in whole.stdout


def test_a_subset_of_what_nobody_signed(whole: Bundle, signed: Signed) -> None:
    """Nothing is left behind, so nothing is said; the platforms' own signatures come along."""
    result = saved([signed.image], *DRY, "-a", "amd64", "-referrer-types", SPDX, "-cache", whole.cache)
    assert "left behind" not in result.stdout
    assert found(result.stdout) == 1
    assert f"{signed.image.reference}: -referrer-types leaves out 1 that refer to it" in result.stderr, "the SBOM's signature"


def test_sigstore_bundles(registry: Registry) -> None:
    """What cosign 3 makes: signatures and attestations of one type, which only their predicate tells apart."""
    pushed = push(registry, "referrers/bundles", "v1", image("linux/amd64", [layer("bundles", 100)]))
    bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
    predicates = {"https://sigstore.dev/cosign/sign/v1": "signature", "https://slsa.dev/provenance/v1": "attestation"}
    with registry.client() as client:
        for predicate in predicates:
            annotations = {"dev.sigstore.bundle.predicateType": predicate}
            made = referrer(descriptor(pushed.raw), bundle, [Content(bundle, predicate.encode())], annotations)
            push_referrer(client, pushed.repository, pushed.digest, made)
    saved([pushed], "-referrers", "-referrer-types", "application/vnd.dev.sigstore.bundle.*")
    listed = [line.split()[0] for line in command("ls", "-v", ARCHIVE).stdout.splitlines() if line.startswith("    ")]
    assert sorted({"signature", "attestation"} & set(listed)) == sorted(predicates.values())
    [shown] = json_of("ls", ARCHIVE)["images"]
    assert {each["predicateType"] for each in shown["referrers"]} == set(predicates)


def test_the_summary_of_a_save(small: Signed, registry: Registry) -> None:
    result = saved([small.image], "-referrers")
    assert "saved 1 of 1 images: 1 image/arches, 2 referrers," in result.stdout
    assert "2 signatures and other referrers found, in " in result.stderr


# What refers to what refers


def chain(api: ApiRegistry, length: int, tag: str = "v1") -> None:
    """An image, what refers to it, what refers to that, and so on."""
    made: Image = image("linux/amd64", [layer("chain", 100)])
    api.put(made, tag)
    for number in range(length):
        made = referrer(made.manifest.descriptor(), NOTATION, [Content(NOTATION, f"level {number}".encode())])
        api.put(made)


@pytest.mark.parametrize(("length", "code"), [(referrers.MAX_LEVELS, 0), (referrers.MAX_LEVELS + 1, 3)])
def test_levels(api: ApiRegistry, length: int, code: int) -> None:
    chain(api, length)
    result = save([api.name("v1")], *DRY)
    if code:
        assert f"what refers to it goes more than {referrers.MAX_LEVELS} levels deep" in result.stdout
        assert "TIP: choose some with -referrer-types" in result.stdout
    else:
        assert found(result.stdout) == length


def test_numbers(api: ApiRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many are found out before they are fetched."""
    monkeypatch.setattr(referrers, "MAX_REFERRERS", 3)
    top = image("linux/amd64", [layer("numbers", 100)])
    api.put(top, "v1")
    made = [api.put(referrer(top.manifest.descriptor(), SPDX, [Content(SPDX, bytes([number]))])) for number in range(3)]
    assert found(saved([api.name("v1")], *DRY, "-cache", "first").stdout) == 3
    made.append(api.put(referrer(top.manifest.descriptor(), SPDX, [Content(SPDX, b"one more")])))
    api.log.clear()
    result = save([api.name("v1")], *DRY)
    assert "more than 3 manifests refer to it" in result.stdout
    assert not [each for each in made if api.asked(each)]
    assert found(saved([api.name("v1")], *DRY, "-referrer-types", NOTATION).stdout) == 0


def test_pages(api: ApiRegistry) -> None:
    api.page = 2
    top = image("linux/amd64", [layer("pages", 100)])
    api.put(top, "v1")
    for number in range(5):
        api.put(referrer(top.manifest.descriptor(), SPDX, [Content(SPDX, bytes([number]))]))
    assert found(saved([api.name("v1")], *DRY).stdout) == 5
    assert len(api.asked(f"/referrers/{top.manifest.digest}")) == 3


@pytest.mark.parametrize("answer", [(404, b"{}"), (200, b"<html>"), (200, b"[]")])
def test_a_page_that_is_none(api: ApiRegistry, answer: tuple[int, bytes]) -> None:
    """Half of a list is not taken for all of it, nor for a registry without the API."""
    top = image("linux/amd64", [layer("pages", 100)])
    path = f"/v2/app/referrers/{api.put(top, 'v1')}"
    api.answers[path] = (200, {"Link": '<https://elsewhere.example/next?x=1>; rel="next"'}, b'{"manifests": []}')
    api.answers["/next"] = (answer[0], {}, answer[1])
    result = save([api.name("v1")], *DRY)
    assert f"cannot be asked to the end: page 2 is no index (status {answer[0]})" in result.stdout
    assert api.asked("/next[?]x=1"), "of the same host, whatever the link says"


def test_a_list_without_end(api: ApiRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrer_lists, "MAX_PAGES", 3)
    top = image("linux/amd64", [layer("endless", 100)])
    path = f"/v2/app/referrers/{api.put(top, 'v1')}"
    api.answers[path] = (200, {"Link": f'<{path}>; rel="next"'}, b'{"manifests": []}')
    assert "lists referrers on more than 3 pages" in save([api.name("v1")], *DRY).stdout


def test_circles_and_doubles(api: ApiRegistry) -> None:
    """Tags may name anything, lists may say things twice: each comes along once."""
    one, other = (attached([Content(NOTATION, word)]) for word in (b"one", b"other"))
    top = image("linux/amd64", [layer("circles", 100)])
    api.put(top, "v1")
    api.put(top, cosign_tag(top.manifest.digest, "att"))
    api.put(one, cosign_tag(top.manifest.digest))
    api.put(other, cosign_tag(one.manifest.digest))
    api.put(one, cosign_tag(other.manifest.digest))
    sbom = referrer(top.manifest.descriptor(), SPDX, [Content(SPDX, b"sbom")])
    api.put(sbom)
    api.put(sbom, cosign_tag(top.manifest.digest, "sbom"))
    assert len(api.subjects[top.manifest.digest]) == 2, "it is listed twice"
    sign = referrer(sbom.manifest.descriptor(), NOTATION, [Content(NOTATION, b"sign")])
    api.put(sign)
    saved([api.name("v1")], "-referrers", "-j", "4", "-lock")
    repository = f"{api.host}/app"
    tags = ((top, "att"), (top, "sig"), (one, "sig"), (other, "sig"), (top, "sbom"))
    assert brought() == {
        *(f"{repository}:{cosign_tag(each.manifest.digest, kind)}" for each, kind in tags),
        *(f"{repository}@{each.manifest.digest}" for each in (sbom, sign)),
    }
    [lock] = Path().glob("*.lock.yaml")
    assert lock.read_text().count(f"digest: '{sign.manifest.digest}'") == 1
    assert lock.read_text().count(f"digest: '{sbom.manifest.digest}'") == 2, "by its tag, and by its subject"
    assert len(api.asked(cosign_tag(sbom.manifest.digest))) == 1, "asked once, though found by tag and by subject"


def test_what_several_images_have_is_carried_once(registry: Registry, small: Signed) -> None:
    """Two tags of one image; and a copy of it in another repository, which has its own."""
    again = f"{small.image.host}/{small.repository}@{small.image.digest}"
    result = saved([small.image, again], "-referrers")
    assert brought() == small.names("sig", "sbom")
    assert "2 image/arches, 2 referrers," in result.stdout
    listing = command("ls", "-v", ARCHIVE).stdout
    assert listing.count("signature ") == 2, "told of each image"
    assert "2 images and 2 referrers, 2 image/arches," in listing


def test_the_user_asks_for_a_signature_itself(small: Signed) -> None:
    """Then it is an image, in the list of images; it is there once."""
    name = f"{small.image.host}/{small.repository}:{small.along['sig'].tag}"
    saved([small.image, name], "-referrers")
    assert brought() == small.names("sbom")
    images = json_of("ls", ARCHIVE)["images"]
    assert [image["reference"] for image in images] == [small.image.reference, name]


def test_an_index_that_refers_to_an_image(api: ApiRegistry) -> None:
    """All that is in it comes along."""
    top = image("linux/amd64", [layer("bundles", 100)])
    api.put(top, "v1")
    parts = [attached([Content(NOTATION, word)]) for word in (b"one", b"two")]
    for part in parts:
        api.put(part)
    fields = {"artifactType": "x/y", "subject": top.manifest.descriptor()}
    digest = api.manifest(odd(OCI_INDEX, manifests=[part.manifest.descriptor() for part in parts], **fields))
    saved([api.name("v1")], "-referrers")
    assert brought() == {f"{api.host}/app@{digest}"}
    assert {part.manifest.digest for part in parts} <= set(unpack().blobs)
    [listed] = json_of("ls", ARCHIVE)["images"]
    assert [each["artifactType"] for each in listed["referrers"]] == ["x/y"]


def test_several_at_once(api: ApiRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two platforms is answered only once the other is asked about, too."""
    made = index(*(image(f"linux/{each}", [layer(f"parallel/{each}", 100)]) for each in ("amd64", "arm64")))
    api.put_index(made, "v1")
    tags = [cosign_tag(each.manifest.digest) for each in made.images()]
    both, answer = threading.Barrier(2, timeout=10), api.answer

    def wait(method: str, target: str, authorization: str, body: bytes) -> Answer:
        if target.endswith(tuple(tags)):
            both.wait()
        return answer(method, target, authorization, body)

    monkeypatch.setattr(api, "answer", wait)
    saved([api.name("v1")], *DRY)


# What cannot come along


def test_what_is_listed_but_cannot_come_along(api: ApiRegistry) -> None:
    """A warning for each; the image is saved, and what can come along."""
    top = image("linux/amd64", [layer("odd", 100)])
    other = image("linux/amd64", [layer("other", 100)])
    api.put(top, "v1")
    good = api.put(referrer(top.manifest.descriptor(), SPDX, [Content(SPDX, b"good")]))
    gone = Content(SPDX, b"gone").descriptor(artifactType=SPDX)
    elsewhere = referrer(other.manifest.descriptor(), SPDX, [Content(SPDX, b"of another")])
    api.put(elsewhere)
    draft = odd(ORAS_MANIFEST, artifactType=SPDX, blobs=[], subject=top.manifest.descriptor())
    api.manifest(draft)
    api.subjects[top.manifest.digest] += [gone, elsewhere.manifest.descriptor(), {"digest": "nonsense"}, {"size": 1}]
    result = saved([api.name("v1")], "-referrers")
    assert brought() == {f"{api.host}/app@{good}"}

    def warned(digest: object, reason: str) -> bool:
        return f"{api.host}/app@{digest} refers to the image, but cannot come along: {reason}" in result.stderr

    assert warned(gone["digest"], "it is listed, but not there")
    listed = f"it is listed for {top.manifest.digest}, but refers to something else"
    assert warned(elsewhere.manifest.digest, listed)
    assert warned(draft.digest, "neither an image manifest nor an index")
    assert result.stderr.count("cannot come along") == 3


def test_strict_fails_an_image_of_which_something_cannot_come_along(api: ApiRegistry) -> None:
    for name, lacks in (("whole", False), ("lacking", True)):
        top = image("linux/amd64", [layer(name, 100)])
        api.put(top, name)
        api.put(referrer(top.manifest.descriptor(), SPDX, [Content(SPDX, b"good")]))
        if lacks:
            gone = Content(SPDX, b"gone").descriptor(artifactType=SPDX)
            api.subjects[top.manifest.digest].append(gone)
    images = [api.name("whole"), api.name("lacking")]
    result = save(images, "-referrers=strict")
    assert result.code == 1
    reason = f"{api.host}/app@{gone['digest']} refers to the image, but cannot come along: it is listed, but not there"
    assert reason in result.stdout
    assert FAILED.read_text() == f"{images[1]}\n"
    assert len(brought()) == 1
    saved(images, "-referrers")
    assert len(brought()) == 2
    assert save(images, "-referrers=other").code == 2


def test_a_fallback_tag_that_is_no_list(registry: Registry) -> None:
    """An image that somebody called so lists nothing (distribution-spec); what is under cosign's tags comes along."""
    signed = push_small(registry, "choosing/taken")
    with registry.client() as client:
        push_image(client, signed.repository, signed.along["sig"].image, signed.image.digest.replace(":", "-"))
    assert found(saved([signed.image], *DRY).stdout) == 1


# Types


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ("application/vnd.dev.cosign.*", {"index sig", "amd64 sig", "amd64 att", "arm64 sig"}),
        (COSIGN_SIGNATURE, {"index sig", "amd64 sig", "arm64 sig"}),
        (f"{SPDX}, {NOTATION}", {"index notation", "amd64 sbom", "sbom notation"}),
        ("*spdx*,*.sig.*", {"amd64 sbom", "sbom sig", "index sig", "amd64 sig", "arm64 sig"}),
        ("nothing/of-that-kind", set()),
    ],
)
def test_types(whole: Bundle, signed: Signed, types: str, expected: set[str]) -> None:
    """The signature of an SBOM comes with the SBOM, or not at all."""
    result = saved([signed.image], *DRY, "-a", "all", "-referrer-types", types, "-cache", whole.cache)
    assert found(result.stdout) == len(expected)
    [record] = (whole.cache / ".state" / "bundles" / name_of(ARCHIVE.absolute())).glob("referrers/**/*.json")
    digests = {each["digest"] for each in json.loads(record.read_bytes())["referrers"]}
    assert digests == {signed.along[word].digest for word in expected}


def test_types_that_are_listed_without_one(api: ApiRegistry) -> None:
    """Old registries and clients list no artifact type: the manifest tells."""
    top = image("linux/amd64", [layer("untyped", 100)])
    api.put(top, "v1")
    for artifact_type in (SPDX, NOTATION):
        api.put(referrer(top.manifest.descriptor(), artifact_type, [Content(artifact_type, b"x")]))
    for entry in api.subjects[top.manifest.digest]:
        del entry["artifactType"]
    assert found(saved([api.name("v1")], *DRY, "-referrer-types", SPDX).stdout) == 1


@pytest.mark.parametrize("text", ["a b", ",", "application/x,,", "ä/b", "a;b", "[x]"])
def test_types_that_are_none(small: Signed, text: str) -> None:
    result = save([small.image], "-referrers", "-referrer-types", text)
    assert result.code == 2
    assert f'-referrer-types: invalid value "{text}": use media types' in result.stderr


def test_types_without_referrers(small: Signed) -> None:
    result = saved([small.image], "-dry-run", "-referrer-types", SPDX)
    assert "-referrer-types has no effect without -referrers" in result.stderr
    assert found(result.stdout) == 0


def test_patterns() -> None:
    assert parse_artifact_types("") == ArtifactTypes() and ArtifactTypes().matches("") and ArtifactTypes().matches("any/thing")
    types = parse_artifact_types(" a/b , application/vnd.* ,a/b")
    assert types.patterns == ("a/b", "application/vnd.*")
    assert types.matches("a/b") and types.matches("application/vnd.x+json")
    assert not types.matches("A/B") and not types.matches("a/bc") and not types.matches("")


def test_keys_of_definitions() -> None:
    def asked(types: str) -> ArtifactTypes | None:
        path = Path("bundle.yaml")
        path.write_text(f"bundles: {{one: {{images: [nginx:1], referrers: true, referrer-types: {types}}}}}")
        return load(path).bundles[0].images[0].referrers

    assert asked("[a/b, 'c/*']") == asked("'a/b,c/*'") == ArtifactTypes(("a/b", "c/*"))
    assert asked("''") == ArtifactTypes()
    with pytest.raises(Exception, match=r"1:\d+: 'referrer-types': invalid value \"a b\""):
        asked("[a b]")
