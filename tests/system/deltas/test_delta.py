"""A delta: what it carries, that it loads to what a full bundle loads to, and that a base which is not there stops it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pipeline.reader.contents import open_contents
from tests.support.push import PushedImage
from tests.support.registry import Registry, RegistryFactory
from tests.system.deltas.releases import Releases
from tests.system.load.loading import command, load, loaded


def everything(registry: Registry, images: tuple[PushedImage, ...]) -> dict[str, bytes]:
    """Every manifest and every blob of the images, read to its end."""
    found: dict[str, bytes] = {}
    with registry.client() as client:
        for each in images:
            found[f"{each.repository}:{each.tag}"] = client.manifest(each.repository, each.tag).body
            for platform in each.platforms:
                found[f"{each.repository}@{platform.manifest}"] = client.manifest(each.repository, platform.manifest).body
                for digest in platform.closure - {platform.manifest}:
                    answer = client.blob(each.repository, digest)
                    assert answer.status == 200, digest
                    found[f"{each.repository}@{digest}"] = answer.body
    return found


def first_loaded(releases: Releases, target: Registry, work: Path) -> Path:
    """The first release in ``target``. Returns the receipt."""
    loaded(releases.saved("first", work / "first.tar.gz"), target.host)
    return work / "first.tar.gz.receipt.json"


def test_a_release_a_delta_and_the_registry_is_as_after_a_full_load(
    releases: Releases, fresh_registry: RegistryFactory, work: Path
) -> None:
    target, other = fresh_registry(), fresh_registry()
    receipt = first_loaded(releases, target, work)
    delta = releases.saved("second", work / "delta.tar.gz", "-base", receipt)
    full = releases.saved("second", work / "second.tar.gz")
    contents = open_contents(delta)
    assert {str(digest) for digest in contents.absent} == releases.shared
    carried, whole = delta.stat().st_size, full.stat().st_size
    left_out = sum(blob.size for blob in contents.absent.values())
    assert carried < whole - left_out + 0.01 * whole + 2_000

    result = loaded(delta, target.host)
    loaded(full, other.host)
    assert "loaded 4 of 4 images" in result.stdout
    assert everything(target, releases.second) == everything(other, releases.second)
    again = releases.saved("second", work / "again.tar.gz", "-base", receipt, "-cache", work / "fresh")
    assert again.read_bytes() == delta.read_bytes(), "from the same list and base, the same bytes"


def test_the_receipt_says_what_was_read_back(releases: Releases, fresh_registry: RegistryFactory, work: Path) -> None:
    target = fresh_registry()
    document = json.loads(first_loaded(releases, target, work).read_text())
    assert (document["of"], document["names"]) == (target.host, "target")
    assert [each["reference"] for each in document["images"]] == sorted(
        f"{target.host}/{each.repository}:{each.tag}" for each in releases.first
    )
    assert {each["known"] for each in document["blobs"]} == {"read"}
    base = releases.first[0].platforms[0].layers[0]
    (entry,) = [each for each in document["blobs"] if each["digest"] == base]
    assert len(entry["repositories"]) == 4, "every image is built on it"


def test_the_receipt_of_a_part_keeps_what_is_still_there(
    releases: Releases, fresh_registry: RegistryFactory, work: Path
) -> None:
    target = fresh_registry()
    receipt = first_loaded(releases, target, work)
    whole = receipt.read_bytes()
    gone, part = releases.first[0], releases.first[1]
    asked = ("-only", f"*/{part.repository}")
    result = load(work / "first.tar.gz", target.host, *asked)
    assert result.code == 0, result.stderr
    after = json.loads(receipt.read_text())
    assert after["images"] == json.loads(whole)["images"]
    assert {each["digest"] for each in after["blobs"]} == {each["digest"] for each in json.loads(whole)["blobs"]}
    assert {each["known"] for each in after["blobs"]} == {"read", "manifest"}, "of the others, a HEAD says that they are there"
    target.delete_tag(gone.repository, gone.tag)
    result = load(work / "first.tar.gz", target.host, *asked)
    name = f"{target.host}/{gone.repository}:{gone.tag}"
    assert f"{name} is not what {receipt.name} says any more, and leaves it" in result.stderr
    left = {each["reference"] for each in json.loads(receipt.read_text())["images"]}
    assert left == {each["reference"] for each in json.loads(whole)["images"]} - {name}
    receipt.write_bytes(whole.replace(target.host.encode(), b"registry.example:5000"))
    assert load(work / "first.tar.gz", target.host, *asked).code == 0
    assert [each["reference"] for each in json.loads(receipt.read_text())["images"]] == [
        f"{target.host}/{part.repository}:{part.tag}"
    ]


@pytest.mark.parametrize("base", ["lock", "archive"])
def test_names_of_the_source_are_those_of_the_target_as_load_maps_them(
    base: str, releases: Releases, fresh_registry: RegistryFactory, work: Path
) -> None:
    target = fresh_registry()
    loaded(releases.saved("first", work / "first.tar.gz"), f"{target.host}/mirror")
    path = work / "first.tar.gz" if base == "archive" else releases.folder / "first.txt.lock.yaml"
    delta = releases.saved("second", work / "delta.tar.gz", "-base", path)
    assert {str(digest) for digest in open_contents(delta).absent} == releases.shared
    loaded(delta, f"{target.host}/mirror")
    assert load(delta, f"{target.host}/elsewhere").code == 3


def test_a_layer_that_a_garbage_collection_took_stops_the_load_and_is_carried_after(
    releases: Releases, registries_folder: Path, work: Path
) -> None:
    with Registry(registries_folder / "delta-collected", cached=True) as target:
        receipt = first_loaded(releases, target, work)
        delta = releases.saved("second", work / "delta.tar.gz", "-base", receipt)
        with target.client() as client:
            (same,) = (each for each in releases.first if each.repository == "deltas/same")
            for digest in (same.digest, *(platform.manifest for platform in same.platforms)):
                client.delete(same.repository, "manifests", digest)
        target.collect_garbage()
        with target.client() as client:
            gone = {each for each in same.layers if not target.blob_path(each).exists()}
            assert gone and all(client.request("HEAD", f"/v2/{same.repository}/blobs/{each}").status == 200 for each in gone), (
                "it says that it has them"
            )
        target.clear_requests()
        result = load(delta, target.host)
        assert result.code == 3
        assert f"lacks {len(gone)} layers" in result.stderr and "nothing was written" in result.stderr
        assert "-only missing.json" in result.stderr and "deltas/same:v1" in result.stderr
        assert not [each for each in target.requests() if each.method not in ("GET", "HEAD")]

        missing = json.loads(Path("missing.json").read_text())
        assert {each["digest"] for each in missing["blobs"]} == gone
        rest = releases.saved("second", work / "rest.tar.gz", "-base", receipt, "-only", "missing.json")
        assert gone.isdisjoint(map(str, open_contents(rest).absent))
        loaded(rest, target.host)
        loaded(delta, target.host)
        assert not Path("missing.json").exists()
        target.restart()
        everything(target, releases.second)


def test_a_receipt_of_another_registry_is_refused(releases: Releases, fresh_registry: RegistryFactory, work: Path) -> None:
    target, other = fresh_registry(), fresh_registry()
    delta = releases.saved("second", work / "delta.tar.gz", "-base", first_loaded(releases, target, work))
    result = load(delta, other.host)
    assert result.code == 2
    assert f"delta against what {target.host} has, and {other.host} is another registry" in result.stderr
    assert not other.requests()


def test_ls_verify_and_serve_know_what_a_delta_lacks(releases: Releases, fresh_registry: RegistryFactory, work: Path) -> None:
    receipt = first_loaded(releases, fresh_registry(), work)
    delta = releases.saved("second", work / "delta.tar.gz", "-base", receipt)
    listed = command("ls", delta)
    assert listed.code == 0 and "a delta" in listed.stdout, listed
    verified = command("verify", delta)
    assert verified.code == 0 and "are left out" in verified.stdout, verified
    whole = command("verify", delta, "-base", work / "first.tar.gz")
    assert whole.code == 0 and "are left out" not in whole.stdout, whole
    wrong = command("verify", delta, "-base", delta)
    assert wrong.code == 1 and "nothing that was named as its base" in wrong.stdout, wrong


def test_a_base_that_is_none(releases: Releases, work: Path) -> None:
    Path("x.json").write_text("{}")
    for base, said in (("x.json", "is no inventory of this program"), ("gone.json", "there is no such file")):
        result = releases.save("second", work / "delta.tar.gz", "-base", base)
        assert result.code == 2 and said in result.stderr, result
    result = releases.save("second", work / "delta", "-base", releases.folder / "first.txt.lock.yaml", "-compress", "dir")
    assert result.code == 2 and "a folder carries everything" in result.stderr, result


def test_a_delta_in_volumes_with_recovery_files_is_repaired(releases: Releases, work: Path) -> None:
    first = releases.saved("first", work / "first.tar.gz")
    more = ("-part", "-part-size=30K", "-parity=20%")
    delta = releases.saved("second", work / "delta.tar.gz", "-base", first, *more)
    volumes = sorted(work.glob("delta.tar.gz.part*[0-9]"))
    assert len(volumes) > 2
    lost = volumes[1].read_bytes()
    volumes[1].unlink()
    result = command("repair", delta.with_name(f"{delta.name}.part0"), "-d", work / "repaired")
    assert result.code == 0, result
    assert (work / "repaired" / volumes[1].name).read_bytes() == lost
    assert command("verify", work / "repaired" / f"{delta.name}.part0", "-base", first).code == 0


def test_a_signed_receipt_is_a_base_and_no_other(releases: Releases, fresh_registry: RegistryFactory, work: Path) -> None:
    for name in ("site", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], check=True)
    Path("signers").write_text(f"site@example.com {Path('site.pub').read_text()}")
    loaded(releases.saved("first", work / "first.tar.gz"), fresh_registry().host, "-sign", "site")
    receipt, more = Path("first.tar.gz.receipt.json"), ("-base-signers", "signers")
    delta = releases.saved("second", work / "delta.tar.gz", "-base", receipt, *more)
    assert open_contents(delta).absent
    data, signature = receipt.read_bytes(), Path(f"{receipt}.sig").read_bytes()

    def refused(said: str) -> None:
        result = releases.save("second", work / "other.tar.gz", "-base", receipt, *more)
        assert result.code == 3 and said in result.stderr, result
        assert not (work / "other.tar.gz").exists()

    receipt.write_bytes(data.replace(b'"read"', b'"reed"', 1))
    refused("was changed after it was signed")
    receipt.write_bytes(data)
    Path(f"{receipt}.sig").unlink()
    refused("is missing, and a signature is demanded")
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", "stranger", "-n", "image-tools-receipt", receipt], check=True)
    refused("its signer is not in")
    Path(f"{receipt}.sig").unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", "site", "-n", "image-tools-slip", receipt], check=True)
    refused("was changed after it was signed")
    Path(f"{receipt}.sig").write_bytes(signature)
    releases.saved("second", work / "other.tar.gz", "-base", receipt, *more)
