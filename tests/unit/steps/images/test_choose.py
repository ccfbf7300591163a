"""Which manifests of an image are asked for, and what index it gets: the rules of docs/formats.md, "Digests"."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import oci, reference
from pipeline.core.bundle import ArtifactTypes, BundleImage, parse_platforms
from pipeline.core.errors import EXIT_SOME_FAILED, ContentError, PlatformError
from pipeline.core.files import dump_json, dump_sealed
from pipeline.core.oci import Descriptor, Digest, Platform
from pipeline.core.oci.walk import MAX_DEPTH
from pipeline.steps.images import choose as choice_module
from pipeline.steps.images.choose import Choice, choose, slug
from pipeline.storage.cache import Cache
from pipeline.storage.image_layout import BLOBS, INDEX, LAYOUT_FILE
from pipeline.storage.records import resolved as resolved_record
from pipeline.storage.records.resolved import Resolved
from tests.support.images import Content, Image, Index, attestation, helm_chart, image, index, layer, platform

AMD64, ARM64, V6, V7, S390X = (image(f"linux/{name}") for name in ("amd64", "arm64", "arm/v6", "arm/v7", "s390x"))


@pytest.fixture
def cache(clean_environment: Path) -> Cache:
    made = Cache(clean_environment / "cache")
    made.prepare()
    return made


def put(cache: Cache, what: Image | Index) -> Resolved:
    """What the tag names, and what ``choose`` reads, in the cache."""
    for content in _contents(what):
        cache.put(content.data, Digest.of(content.data))
    top = what.content if isinstance(what, Index) else what.manifest
    return Resolved(Descriptor(top.media_type, Digest.of(top.data), len(top.data)))


def _contents(what: Image | Index) -> Iterator[Content]:
    if isinstance(what, Index):
        yield what.content
        for entry in {id(entry): entry for entry in what.entries}.values():
            yield from _contents(entry)
    else:
        yield from (what.manifest, what.config)


def wanted(a: str = "amd64,arm64", os: str = "", pin: bool = False) -> BundleImage:
    name = reference.parse("r.io/app@sha256:" + "0" * 64 if pin else "r.io/app:v1")
    return BundleImage(reference=name, source=name, platforms=parse_platforms(a, os), text=str(name), m_id=1)


def chosen(cache: Cache, what: Image | Index, a: str = "amd64,arm64", os: str = "", pin: bool = False) -> Choice:
    return choose(cache, wanted(a, os, pin), put(cache, what))


def digests(*images: Image | Index) -> list[str]:
    return [(each.content if isinstance(each, Index) else each.manifest).digest for each in images]


def digests_of(choice: Choice) -> list[str]:
    return [str(each.descriptor.digest) for each in choice.platforms]


def entries(choice: Choice) -> list[dict[str, Any]]:
    assert choice.index is not None
    found: list[dict[str, Any]] = json.loads(choice.index)["manifests"]
    return found


# All that was asked for


@pytest.mark.parametrize("docker", [False, True])
def test_an_index_is_the_same_to_the_bit_when_all_its_platforms_were_asked_for(cache: Cache, docker: bool) -> None:
    images = [image(f"linux/{name}", docker=docker) for name in ("amd64", "arm64")]
    made = index(*images, docker=docker, annotations={"a": "b"})
    for a in ("amd64,arm64", "arm64,amd64", "all", "arm64,s390x,amd64"):
        choice = chosen(cache, made, a)
        assert choice.index == made.content.data
        assert not choice.is_subset
        assert digests_of(choice) == digests(*images)
        assert str(choice.top.digest) == made.content.digest
        assert [(each.slug, each.img_id) for each in choice.platforms] == [("linux-amd64", 1), ("linux-arm64", 2)]


def test_attestations_are_no_platforms_and_come_along(cache: Cache) -> None:
    made = index(AMD64, ARM64, attestation(AMD64), attestation(ARM64))
    choice = chosen(cache, made)
    assert choice.index == made.content.data
    assert digests_of(choice) == digests(*made.images())
    assert choice.notes == ()


def test_one_operating_system_of_one_is_all(cache: Cache) -> None:
    made = index(AMD64, ARM64)
    assert not chosen(cache, made, os="linux").is_subset
    assert not chosen(cache, made, a="all", os="linux,windows").is_subset


# A subset


@pytest.mark.parametrize("docker", [False, True])
def test_a_subset_is_a_new_index_of_the_chosen_descriptors_verbatim(cache: Cache, docker: bool) -> None:
    images = [image(f"linux/{name}", docker=docker) for name in ("amd64", "s390x", "arm64", "arm/v7")]
    made = index(*images, docker=docker, annotations={"kept": "yes"})
    choice = chosen(cache, made)
    source = json.loads(made.content.data)
    assert json.loads(choice.index or b"") == {**source, "manifests": [source["manifests"][0], source["manifests"][2]]}
    assert choice.is_subset
    assert str(choice.top.digest) == made.content.digest, "the source's, to be recorded beside the new one"
    assert choice.top.media_type == made.content.media_type
    assert digests_of(choice) == digests(images[0], images[2])
    assert [each.img_id for each in choice.platforms] == [1, 2]


def test_attestations_ride_with_their_subject_and_only_with_it(cache: Cache) -> None:
    about = [attestation(each) for each in (AMD64, ARM64, S390X)]
    orphan = attestation(V7, "orphan")
    made = index(AMD64, ARM64, S390X, *about, orphan)
    choice = chosen(cache, made, "arm64")
    assert digests_of(choice) == digests(ARM64, about[1])
    assert [entry["digest"] for entry in entries(choice)] == digests(ARM64, about[1])
    assert digests_of(chosen(cache, made, "arm64,s390x")) == digests(ARM64, S390X, about[1], about[2])


def test_what_names_no_platform_is_kept_whole(cache: Cache) -> None:
    chart, unmarked = helm_chart("chart"), replace(attestation(AMD64), annotations={})
    made = index(AMD64, chart, S390X, unmarked)
    choice = chosen(cache, made, "amd64")
    assert digests_of(choice) == digests(AMD64, chart, unmarked)
    assert choice.is_subset
    charts = chosen(cache, index(chart, unmarked), "amd64")
    assert digests_of(charts) == digests(chart, unmarked)
    assert charts.notes == (), "a chart lacks no platform"


def test_a_subset_is_the_same_whatever_the_order_it_was_asked_in(cache: Cache) -> None:
    made = index(AMD64, ARM64, S390X)
    assert chosen(cache, made, "arm64,amd64").index == chosen(cache, made, "amd64,arm64").index


def test_variants(cache: Cache) -> None:
    made = index(V6, V7, ARM64)
    assert digests_of(chosen(cache, made, "arm")) == digests(V6, V7)
    assert digests_of(chosen(cache, made, "arm/v7")) == digests(V7)
    assert digests_of(chosen(cache, made, "arm/v6,arm64")) == digests(V6, ARM64)
    assert [each.slug for each in chosen(cache, made, "all").platforms] == ["linux-arm-v6", "linux-arm-v7", "linux-arm64"]


def test_operating_systems_and_their_versions(cache: Cache) -> None:
    windows = [image(platform("windows/amd64", os_version=version)) for version in ("10.0.17763.1", "10.0.20348.2")]
    made = index(AMD64, *windows, ARM64)
    assert digests_of(chosen(cache, made, "amd64")) == digests(AMD64, *windows)
    assert digests_of(chosen(cache, made, "amd64", "windows")) == digests(*windows)
    assert digests_of(chosen(cache, made, "amd64", "linux")) == digests(AMD64)
    slugs = [each.slug for each in chosen(cache, made, "all").platforms]
    assert slugs == ["linux-amd64", "windows-amd64-10.0.17763.1", "windows-amd64-10.0.20348.2", "linux-arm64"]


def test_one_manifest_for_two_platforms_is_chosen_by_the_one_that_was_asked_for(cache: Cache) -> None:
    made = index(AMD64, replace(AMD64, platform=platform("linux/arm64")))
    choice = chosen(cache, made, "arm64")
    assert [(each.slug, str(each.platform)) for each in choice.platforms] == [("linux-arm64", "linux/arm64")]
    assert len(entries(choice)) == 1
    both = chosen(cache, made)
    assert both.index == made.content.data
    assert digests_of(both) == digests(AMD64), "it is copied once"


# What is missing


def test_a_platform_that_is_missing_is_a_note(cache: Cache) -> None:
    made = index(AMD64, S390X)
    assert chosen(cache, made, "amd64,arm64").notes == ("not made for arm64",)
    assert chosen(cache, made, "amd64,arm64,arm/v7").notes == ("not made for arm64, arm/v7",)
    assert chosen(cache, made, "amd64").notes == ()
    assert chosen(cache, made, "all").notes == ()


def test_none_of_the_platforms_is_a_failure_that_says_what_there_is(cache: Cache) -> None:
    made = index(S390X, V7, attestation(S390X))
    with pytest.raises(PlatformError) as caught:
        chosen(cache, made)
    assert caught.value.exit_code == EXIT_SOME_FAILED
    for text in ("amd64,arm64", "linux/s390x, linux/arm/v7", "-a"):
        assert text in str(caught.value)
    with pytest.raises(PlatformError, match="s390x on windows"):
        chosen(cache, made, "s390x", "windows")


def test_an_empty_index_is_a_failure(cache: Cache) -> None:
    for pin in (False, True):
        with pytest.raises(PlatformError, match="empty"):
            chosen(cache, index(), pin=pin)


# Lost attestations


def test_an_attestation_that_the_registry_lost_is_left_out_with_a_warning(cache: Cache) -> None:
    lost, kept = attestation(AMD64), attestation(ARM64)
    made = index(AMD64, ARM64, lost, kept, S390X)
    resolved = replace(put(cache, made), absent=(Digest.parse(lost.manifest.digest),))
    choice = choose(cache, wanted("all"), resolved)
    assert digests_of(choice) == digests(AMD64, ARM64, kept, S390X)
    manifests = json.loads(made.content.data)["manifests"]
    assert entries(choice) == [*manifests[:2], *manifests[3:]]
    (warning,) = choice.warnings
    assert lost.manifest.digest in warning
    without = choose(cache, wanted("arm64"), resolved)
    assert without.warnings == (), "it was not asked for"
    assert without == choose(cache, wanted("arm64"), replace(resolved, absent=()))
    with pytest.raises(ContentError, match=lost.manifest.digest):
        choose(cache, wanted("all", pin=True), resolved)
    strict = replace(wanted("all"), referrers=ArtifactTypes(is_strict=True))
    with pytest.raises(ContentError, match=lost.manifest.digest):
        choose(cache, strict, resolved)
    assert choose(cache, replace(strict, referrers=ArtifactTypes()), resolved) == choice


# Pinned


def test_an_index_that_is_pinned_is_kept_whole_and_a_note_says_what_that_adds(cache: Cache) -> None:
    made = index(AMD64, S390X, V7, attestation(S390X))
    choice = chosen(cache, made, "amd64", pin=True)
    assert choice.index == made.content.data
    assert not choice.is_subset
    assert digests_of(choice) == digests(*made.images())
    (note,) = choice.notes
    assert note.endswith("also linux/s390x, linux/arm/v7")


def test_a_pin_with_all_or_none_of_the_platforms(cache: Cache) -> None:
    made = index(AMD64, ARM64)
    assert chosen(cache, made, pin=True).notes == ()
    none = chosen(cache, made, "s390x", pin=True)
    assert none.index == made.content.data
    assert none.notes[0] == "not made for s390x"
    assert "also linux/amd64, linux/arm64" in none.notes[1]


def test_a_single_image_that_is_pinned_is_saved_as_the_digest_names_it(cache: Cache) -> None:
    choice = chosen(cache, S390X, pin=True)
    assert digests_of(choice) == digests(S390X)
    assert "linux/s390x, which was not asked for" in choice.notes[0]


# Other names of an architecture


def test_an_architecture_by_another_name_is_the_same(cache: Cache) -> None:
    """In indexes and in configs, as on the flag: uname -m says x86_64 and aarch64."""
    one, two = image(Platform("linux", "x86_64")), image(Platform("linux", "aarch64"))
    made = index(one, two)
    for a in ("amd64", "x86_64"):
        choice = chosen(cache, made, a)
        assert [str(each.platform) for each in choice.platforms] == ["linux/amd64"]
        assert entries(choice) == json.loads(made.content.data)["manifests"][:1], "verbatim"
        assert [each.slug for each in chosen(cache, one, a).platforms] == ["linux-amd64"]
    assert not chosen(cache, made, "aarch64,amd64").is_subset


# Without an index


@pytest.mark.parametrize("docker", [False, True])
def test_a_source_without_an_index_stays_without_one(cache: Cache, docker: bool) -> None:
    made = image("linux/arm/v7", [layer("a")], docker=docker)
    choice = chosen(cache, made, "arm")
    assert (choice.index, choice.is_subset, choice.notes) == (None, False, ())
    (only,) = choice.platforms
    assert (only.slug, only.img_id, only.platform) == ("linux-arm-v7", 1, Platform("linux", "arm", "v7"))
    assert only.descriptor == choice.top
    with pytest.raises(PlatformError, match="made for linux/arm/v7 only, but amd64,arm64 was asked for"):
        chosen(cache, made)


def test_an_artifact_is_kept_whole_whatever_was_asked_for(cache: Cache) -> None:
    for a in ("amd64", "all"):
        choice = chosen(cache, helm_chart("chart"), a)
        assert choice.index is None
        assert [(each.slug, each.platform.is_known) for each in choice.platforms] == [("unknown", False)]


def test_schema_1_is_a_single_image_with_a_warning(cache: Cache) -> None:
    old = Resolved(Descriptor(oci.DOCKER_SCHEMA1_SIGNED, Digest.of(b""), 1), Platform("linux", "amd64"))
    choice = choose(cache, wanted(), old)
    assert choice.index is None
    assert "digest changes" in choice.warnings[0]
    with pytest.raises(PlatformError):
        choose(cache, wanted("arm64"), old)


# Nested


NESTED = index(AMD64, index(ARM64, S390X, attestation(ARM64), attestation(S390X)))


def test_the_choice_is_among_the_manifests_of_nested_indexes(cache: Cache) -> None:
    choice = chosen(cache, NESTED, "arm64")
    assert [str(each.platform) for each in choice.platforms] == ["linux/arm64", "unknown/unknown"]
    assert digests_of(choice) == digests(ARM64, attestation(ARM64))
    ((digest, inner),) = choice.inner
    (entry,) = entries(choice)
    (nested,) = json.loads(NESTED.content.data)["manifests"][1:]
    sha256 = f"sha256:{hashlib.sha256(inner).hexdigest()}"
    assert str(digest) == sha256
    assert entry == {**nested, "digest": sha256, "size": len(inner)}
    source = json.loads(NESTED.entries[1].content.data)  # type: ignore[union-attr]
    assert json.loads(inner) == {**source, "manifests": [source["manifests"][0], source["manifests"][2]]}


def test_what_leads_to_nothing_that_was_asked_for_is_left_out(cache: Cache) -> None:
    choice = chosen(cache, NESTED, "amd64")
    assert digests_of(choice) == digests(AMD64)
    assert entries(choice) == [json.loads(NESTED.content.data)["manifests"][0]]
    assert choice.inner == ()


def test_nested_indexes_of_which_all_was_asked_for_stay_as_they_are(cache: Cache) -> None:
    whole = chosen(cache, NESTED, "amd64,arm64,s390x")
    assert (whole.index, whole.inner, whole.is_subset) == (NESTED.content.data, (), False)
    kept = chosen(cache, NESTED, "arm64,s390x")
    assert entries(kept) == json.loads(NESTED.content.data)["manifests"][1:]
    assert kept.inner == ()
    pinned = chosen(cache, NESTED, "arm64", pin=True)
    assert (pinned.index, pinned.inner) == (NESTED.content.data, ())
    assert digests_of(pinned) == digests(*NESTED.images())


def test_none_of_the_platforms_fails_at_any_depth(cache: Cache) -> None:
    for made in (index(S390X), index(index(S390X)), index(index(index(S390X)), S390X), index(index(), index(S390X))):
        with pytest.raises(PlatformError, match=r"\(amd64,arm64\); it has linux/s390x"):
            chosen(cache, made)
    assert chosen(cache, NESTED, "amd64,ppc64le").notes == ("not made for ppc64le",)
    assert chosen(cache, NESTED, "arm64").notes == ()


def test_an_index_that_lies_in_several_is_written_once(cache: Cache) -> None:
    inner = index(ARM64, S390X)
    choice = chosen(cache, index(index(inner, AMD64), index(AMD64, V7, inner), V7), "arm64")
    assert digests_of(choice) == digests(ARM64)
    assert len(choice.inner) == 3, "the shared one, and the two around it"
    by_digest = {str(digest): json.loads(data)["manifests"] for digest, data in choice.inner}
    around = [by_digest[entry["digest"]] for entry in entries(choice)]
    assert len(around) == 2
    assert around[0] == around[1]
    assert [each["digest"] for each in by_digest[around[0][0]["digest"]]] == digests(ARM64)


def test_a_manifest_that_says_no_platform_has_that_of_the_index_around_it(cache: Cache) -> None:
    plain = image(Platform(), [layer("plain")])
    inner = index(plain)
    made = index(AMD64, inner)
    document = json.loads(made.content.data)
    document["manifests"][1]["platform"] = {"os": "linux", "architecture": "s390x"}
    document["manifests"][1]["data"] = "e30="
    outer = Index(Content(oci.OCI_INDEX, json.dumps(document).encode()), made.entries)
    assert digests_of(chosen(cache, outer, "amd64")) == digests(AMD64)
    (entry,) = entries(chosen(cache, outer, "s390x"))
    assert entry == document["manifests"][1], "nothing in it is new"


def test_an_index_that_is_pinned_by_a_sha512_digest_is_not_a_subset(cache: Cache) -> None:
    data = index(AMD64, S390X).content.data
    put(cache, index(AMD64, S390X))
    digest = Digest("sha512", hashlib.sha512(data).hexdigest())
    cache.put(data, digest)
    name = reference.parse(f"r.io/app@{digest}")
    wanted_ = replace(wanted("amd64"), reference=name)
    choice = choose(cache, wanted_, Resolved(Descriptor(oci.OCI_INDEX, digest, len(data))))
    assert (choice.is_subset, choice.digest) == (False, digest)


def test_an_index_that_is_nested_too_deep_is_refused(cache: Cache) -> None:
    made = index(AMD64)
    for _ in range(MAX_DEPTH - 1):
        made = index(made)
    assert digests_of(chosen(cache, made)) == digests(AMD64)
    with pytest.raises(ContentError, match="nested more than"):
        chosen(cache, index(made))


def test_an_index_that_would_unfold_for_ever_does_not(cache: Cache) -> None:
    """Five hundred times the same, four deep: 250 million entries, from four little files."""
    made = index(AMD64, ARM64)
    for _ in range(MAX_DEPTH - 1):
        made = index(*[made] * 500)
    assert digests_of(chosen(cache, made)) == digests(AMD64, ARM64)


def test_what_is_not_in_the_cache_is_named(cache: Cache) -> None:
    for what in (index(AMD64, index(ARM64)), index(AMD64), AMD64):
        resolved = put(cache, what)
        missing = what.entries[-1].content if isinstance(what, Index) and isinstance(what.entries[-1], Index) else None
        gone = resolved.descriptor.digest if missing is None else Digest.parse(missing.digest)
        fresh = Cache(cache.root)
        fresh.blob(gone).unlink()
        with pytest.raises(ContentError, match=f"{gone} is not in the cache"):
            choose(fresh, wanted("all"), resolved)


def test_a_damaged_object_is_never_chosen_from(cache: Cache) -> None:
    resolved = put(cache, index(AMD64))
    cache.blob(resolved.descriptor.digest).write_bytes(index(ARM64).content.data)
    with pytest.raises(ContentError, match="does not match its digest"):
        choose(cache, wanted(), resolved)


# Names of folders


def test_slugs() -> None:
    for given_, expected in {
        Platform("linux", "amd64"): "linux-amd64",
        Platform("linux", "arm", "v7"): "linux-arm-v7",
        Platform("windows", "amd64", "", "10.0.17763.1"): "windows-amd64-10.0.17763.1",
        Platform("", "amd64"): "amd64",
        Platform(): "unknown",
        Platform("unknown", "unknown"): "unknown-unknown",
        Platform("../..", "amd64"): "+..-amd64",
        Platform("..", ""): "unknown",
        Platform(".tmp-1", "x"): "tmp-1-x",
        Platform("linux\n\x1b[31m", "a:b/c"): "linux+++31m-a+b+c",
        Platform("é", "☃"): "+-+",
        # These are what an image's folder holds beside its platforms.
        Platform("blobs"): "blobs+",
        Platform("index.json"): "index.json+",
        Platform("oci-layout"): "oci-layout+",
    }.items():
        assert slug(given_) == expected


TEXTS = st.text("aA1.-_/\\:+\0\né", max_size=8) | st.sampled_from([BLOBS, INDEX, LAYOUT_FILE, "..", "linux", "x" * 300])


@given(st.builds(Platform, TEXTS, TEXTS, TEXTS, TEXTS))
def test_a_slug_is_a_safe_name_whatever_a_registry_wrote(made: Platform) -> None:
    name = slug(made)
    assert 1 <= len(name.encode()) <= 200
    assert not name.startswith(".")
    assert not set(name) & set("/\\:@= \0\n*")
    assert name not in (BLOBS, INDEX, LAYOUT_FILE)


def test_platforms_of_one_name_are_told_apart_by_a_short_digest(cache: Cache) -> None:
    made = index(AMD64, attestation(AMD64), attestation(ARM64), ARM64)
    slugs = [each.slug for each in chosen(cache, made).platforms]
    short = [each.manifest.digest.removeprefix("sha256:")[:12] for each in made.images()]
    assert slugs == ["linux-amd64", f"unknown-unknown-{short[1]}", f"unknown-unknown-{short[2]}", "linux-arm64"]
    features = [image(Platform("windows", "amd64", "", "10.0.1", extra), [layer(str(extra))]) for extra in ((), ("win32k",))]
    assert len({each.slug for each in chosen(cache, index(*features)).platforms}) == 2


def test_a_folder_does_not_depend_on_what_else_was_asked_for(cache: Cache) -> None:
    about = [attestation(each) for each in (AMD64, ARM64, S390X)]
    made = index(AMD64, ARM64, S390X, *about)
    by_digest = {str(each.descriptor.digest): each.slug for each in chosen(cache, made, "all").platforms}
    for a in ("amd64", "arm64", "amd64,s390x"):
        for each in chosen(cache, made, a).platforms:
            assert by_digest[str(each.descriptor.digest)] == each.slug


def test_no_registry_can_make_two_platforms_share_a_folder(cache: Cache) -> None:
    twins = [image("linux/amd64", [layer("one")]), image("linux/amd64", [layer("two")])]
    short = twins[0].manifest.digest.removeprefix("sha256:")[:12]
    for liar in (image(Platform("linux", "amd64", short)), image(Platform("linux", f"amd64-{short}"))):
        for made in (index(liar, *twins), index(*twins, liar), index(twins[0], liar, twins[1])):
            slugs = [each.slug for each in chosen(cache, made, "all").platforms]
            assert len(set(slugs)) == 3
            assert max(map(len, slugs)) <= 200


PARTS = (["linux", "l:x", ""], ["amd64", "a/b", "arm"], ["", "v7"])
PLATFORMS = st.builds(Platform, *map(st.sampled_from, PARTS))


@settings(max_examples=50)
@given(st.lists(PLATFORMS, min_size=1, max_size=6), st.integers(0, 63))
def test_slugs_of_an_image_are_unique_whatever_is_chosen(platforms: list[Platform], seed: int) -> None:
    pairs = [(Digest.of(bytes([number, seed])), each) for number, each in enumerate(platforms)]
    slugs = choice_module._unique_slugs(pairs)
    assert set(slugs) == set(pairs)
    assert len(set(slugs.values())) == len(pairs)


# The record


def test_a_record_is_read_as_it_was_written(cache: Cache, clean_environment: Path) -> None:
    place = clean_environment / "record.json"
    old = Resolved(Descriptor(oci.DOCKER_SCHEMA1, Digest.of(b""), 1), Platform("linux", "arm64"))
    for resolved in (put(cache, index(AMD64)), put(cache, AMD64), old):
        resolved_record.write(place, resolved)
        read = resolved_record.read(place)
        assert read == resolved
        assert read is not None
        assert read.is_schema1 is (resolved is old)


def test_a_record_that_is_missing_damaged_or_of_another_version_is_none(clean_environment: Path) -> None:
    place = clean_environment / "record.json"
    assert resolved_record.read(place) is None
    good = Resolved(Descriptor(oci.OCI_INDEX, Digest.of(b""), 1)).to_json()
    broken: list[Any] = [{**good, "version": 0}, {**good, "descriptor": {}}, {**good, "descriptor": None}]
    for document in ([], {}, None, 1, "x", *broken):
        place.write_bytes(dump_sealed(document) if isinstance(document, dict) else dump_json(document))
        assert resolved_record.read(place) is None
    place.write_bytes(dump_sealed(good)[:-20])
    assert resolved_record.read(place) is None
    resolved_record.write(place, Resolved(Descriptor(oci.OCI_INDEX, Digest.of(b""), 1)))
    place.write_bytes(place.read_bytes().replace(b'"size": 1', b'"size": 3'))
    assert resolved_record.read(place) is None, "one bit, and it would be the size of the image in the bundle"
