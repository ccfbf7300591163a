"""``ls``, ``verify``, ``load -f`` and ``serve`` on bundles with signatures in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pipeline.reader.contents import open_contents
from tests.support.registry import Registry
from tests.support.run import spawn
from tests.system.load.loading import Bundle, command, flip, json_of, load, loaded
from tests.system.referrers.signed import ALL, ON_AMD64, Signed
from tests.system.save.saving import unpack


def test_ls(whole: Bundle, signed: Signed) -> None:
    """With their image, in its order: what each is, and what it is about. None is an image of its own."""
    [listed] = json_of("ls", whole.path)["images"]
    assert listed["reference"] == signed.image.reference
    told = {each["digest"]: each for each in listed["referrers"]}
    assert set(told) == {signed.along[word].digest for word in ALL}
    for each in signed.along.values():
        parts = (each.image.manifest, each.image.config, *each.image.layers)
        assert told[each.digest] == {
            "artifactType": each.artifact_type,
            "digest": each.digest,
            "subject": each.subject,
            "tag": each.tag or None,
            "size": sum(len(part.data) for part in parts),
        }
    text = command("ls", "-v", whole.path).stdout
    sbom, sig = signed.along["amd64 sbom"], signed.along["arm64 sig"]
    assert f"    SBOM             {sbom.digest}  " in text
    assert f"    attestation      {signed.along['amd64 att'].digest}  " in text
    after = text.split(f"    signature        {sig.digest}", 1)[1].splitlines()
    assert after[1].endswith("of linux/arm64")
    assert text.count("    signature ") == 6
    assert "1 images and 8 referrers, 2 image/arches, " in text


def test_sizes_of_images_are_their_own(whole: Bundle, subset: Bundle) -> None:
    """What came along does not count for an image, but for the bundle."""
    both, one = (json_of("ls", bundle.path) for bundle in (whole, subset))
    assert both["images"][0]["platforms"][0]["size"] == one["images"][0]["platforms"][0]["size"]
    contents = open_contents(whole.path)
    blobs = {digest for image in contents.bundled for digest in contents.closure(image.descriptor)}
    assert both["blobs"] == len(blobs)
    assert both["size"] > both["images"][0]["size"]


def test_verify(whole: Bundle, signed: Signed, work: Path) -> None:
    """Damage in a signature is told by its name, and by nothing else's."""
    assert "all is intact: 1 images and 8 referrers, " in command("verify", whole.path).stdout
    unpacked = unpack(whole.path, work / "out")
    blob = signed.along["amd64 att"].image.layers[0].digest
    flip(unpacked.root / "share" / blob.replace(":", "/"), 3)
    result = command("verify", unpacked.root)
    assert result.code == 1
    [name] = signed.names("amd64 att")
    assert [line.strip() for line in result.stdout.splitlines() if "breaks" in line] == [f"breaks {name}"]
    assert blob in result.stdout
    result = load(unpacked.root, "127.0.0.1:9", "-dry-run", "-retry", "0")
    assert result.code != 0 and "Traceback" not in result.stderr


def test_a_damaged_manifest_of_a_signature(whole: Bundle, signed: Signed, work: Path, other_registry: Registry) -> None:
    """``ls`` and ``load`` go on with the rest."""
    unpacked = unpack(whole.path, work / "out")
    broken = signed.along["amd64 sbom"]
    flip(unpacked.root / "share" / broken.digest.replace(":", "/"), 3)
    [listed] = json_of("ls", unpacked.root)["images"]
    assert len(listed["referrers"]) == len(ALL)
    result = load(unpacked.root, f"{other_registry.host}/damaged", "-j", "4")
    assert result.code == 1
    assert "loaded 1 of 1 images and 7 of 8 referrers" in result.stdout
    assert Path("load-failed.txt").read_text().split() == list(signed.names("amd64 sbom"))


def test_verify_against_a_registry(subset: Bundle, signed: Signed, other_registry: Registry) -> None:
    """A referrer that is there, but in no list, is as good as lost; so is a tag that is gone."""
    to = f"{other_registry.host}/compared"
    loaded(subset, to, "-j", "4")
    sbom, sig = signed.along["amd64 sbom"], signed.along["amd64 sig"]
    repository = f"compared/{signed.repository}"
    other_registry.delete_tag(repository, sbom.subject.replace(":", "-"))
    other_registry.delete_tag(repository, sig.tag)
    result = command("verify", subset.path, "-registry", to, "-tls-verify=false", "-json")
    assert result.code == 1
    faults = {fault["what"]: fault["problem"] for fault in json.loads(result.stdout)["faults"]}
    place = f"{other_registry.host}/{repository}"
    assert faults.pop(f"{place}@{sbom.digest}") == "it is there, but not listed as a referrer: load again"
    assert faults.pop(f"{place}:{sig.tag}") == "it is not there"
    assert not faults
    result = loaded(subset, to)
    assert "sent " in result.stdout
    assert command("verify", subset.path, "-registry", to, "-tls-verify=false").code == 0


def test_load_of_one_image_brings_what_refers_to_it(subset: Bundle, signed: Signed, other_registry: Registry) -> None:
    """And of a referrer, itself alone."""
    Path("one.txt").write_text(f"{signed.image.reference}\n")
    result = loaded(subset, f"{other_registry.host}/one", "-f", "one.txt", "-j", "4", "-dry-run")
    assert all(name in result.stdout for name in signed.names(*ON_AMD64))
    [name] = signed.names("sbom sig")
    Path("one.txt").write_text(f"{name}\n")
    result = loaded(subset, f"{other_registry.host}/one", "-f", "one.txt")
    assert "loaded 0 of 0 images and 1 of 1 referrers" in result.stdout
    with other_registry.client() as client:
        assert client.manifest(f"one/{signed.repository}", signed.along["sbom sig"].tag).status == 200


def test_serve_says_what_it_serves(whole: Bundle) -> None:
    with spawn("serve", whole.path, "-listen", "127.0.0.1:0") as running:
        running.wait_for("until Ctrl-C")
        assert "serving 1 images and 8 referrers from" in running.stdout
        running.signal_group()
        assert running.wait().code == 0


def test_a_folder(subset: Bundle, work: Path) -> None:
    """The same in every form."""
    unpacked = unpack(subset.path, work / "out")
    shutil.copytree(unpacked.root, work / "copy", symlinks=True)
    assert json_of("ls", work / "copy")["images"] == json_of("ls", subset.path)["images"]
    assert "all is intact" in command("verify", work / "copy").stdout
