"""Bundles become one: the bytes of a merge are those of one save, and what does not go together is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.registry import harbor as harbor_api
from tests.support.registry import RegistryFactory
from tests.system.deltas.releases import Releases
from tests.system.load.harbor import Harbor
from tests.system.load.loading import command, loaded


def merged(target: Path, *sources: Path | str) -> Path:
    result = command("merge", *sources, "-d", target)
    assert result.code == 0, result
    return target


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_bundle_and_its_delta_are_the_bytes_of_the_whole(codec: str, releases: Releases, work: Path) -> None:
    more = (f"-compress={codec}",)
    first = releases.saved("first", work / "first", *more)
    delta = releases.saved("second", work / "delta", "-base", first, *more)
    full = releases.saved("second", work / "full", *more)
    assert merged(work / "merged", first, delta).read_bytes() == full.read_bytes()
    assert merged(work / "turned", delta, first).read_bytes() == full.read_bytes(), "in any order"


def test_packed_layers_are_taken_over_and_others_are_packed_again(releases: Releases, work: Path) -> None:
    first = releases.saved("first", work / "first.tar.zst", "-compress=zstd", "-compress-level=1")
    delta = releases.saved("second", work / "delta.tar.gz", "-base", first)
    full = releases.saved("second", work / "full.tar.gz")
    assert merged(work / "merged.tar.gz", delta, first).read_bytes() == full.read_bytes()


def test_shards_are_the_bytes_of_one_save_from_archives_volumes_and_folders(releases: Releases, work: Path) -> None:
    full = releases.saved("first", work / "full.tar.gz", "-locked")
    one = releases.saved("first", work / "1.tar.gz", "-locked", "-shard", "1/3", "-part", "-part-size=50K")
    two = releases.saved("first", work / "2.tar.gz", "-locked", "-shard", "2/3")
    three = releases.saved("first", work / "3", "-locked", "-shard", "3/3", "-compress=dir")
    target = work / "merged.tar.gz"
    assert merged(target, one.with_name(f"{one.name}.part0"), two, three).read_bytes() == full.read_bytes()
    result = command("merge", one, three, "-d", work / "lacking.tar.gz")
    assert result.code == 2 and "of 3 parts of the lock" in result.stderr and ", 2 is missing" in result.stderr
    assert not (work / "lacking.tar.gz").exists()
    assert command("merge", one, three, "-force", "-d", work / "lacking.tar.gz").code == 0


def test_shards_of_deltas(releases: Releases, work: Path) -> None:
    first = releases.saved("first", work / "first.tar.gz")
    full = releases.saved("second", work / "full.tar.gz")
    parts = [
        releases.saved("second", work / f"{number}.tar.gz", "-locked", "-shard", f"{number}/2", "-base", first)
        for number in (1, 2)
    ]
    assert merged(work / "merged.tar.gz", first, *parts).read_bytes() == full.read_bytes()


def test_what_contradicts_is_named(releases: Releases, work: Path) -> None:
    first, one = releases.saved("first", work / "first.tar.gz"), work / "one.txt"
    name = releases.first[0].reference
    one.write_text(f"{name}\n")
    result = command(
        *("save", "-f", one, "-tls-verify=false", "-a", "amd64", "-cache", releases.folder / "cache"), "-d", work / "one.tar.gz"
    )
    assert result.code == 0
    result = command("merge", first, work / "one.tar.gz", "-d", work / "both.tar.gz")
    assert result.code == 2 and "the bundles contradict each other" in result.stderr and name in result.stderr
    delta = releases.saved("second", work / "delta.tar.gz", "-base", first)
    result = command("merge", delta, "-d", work / "alone.tar.gz")
    assert result.code == 2 and "none of the bundles has" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("TIP: a delta is merged with the bundles that it was made against")


def test_two_lists_become_one_bundle_that_loads(releases: Releases, fresh_registry: RegistryFactory, work: Path) -> None:
    first = releases.saved("first", work / "first.tar.gz")
    second = releases.saved("second", work / "second.tar.gz")
    result = command("merge", first, second, "-d", work / "both.tar.gz", "-part", "-part-size=100K")
    assert result.code == 0, result
    assert "merged 2 bundles: 7 images" in result.stdout
    assert command("verify", work / "both.tar.gz").code == 0
    assert "loaded 7 of 7 images" in loaded(work / "both.tar.gz", fresh_registry().host).stdout


def test_damage_in_a_source_is_found_and_nothing_is_written(releases: Releases, work: Path) -> None:
    first = releases.saved("first", work / "first.tar.gz")
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    result = command("merge", first, "-d", work / "copy.tar.gz")
    assert result.code == 3 and "damaged" in result.stderr, result
    assert [each.name for each in work.iterdir() if "copy" in each.name] == []


def test_diff_of_anything(releases: Releases, fresh_registry: RegistryFactory, work: Path) -> None:
    target = fresh_registry()
    first = releases.saved("first", work / "first.tar.gz")
    loaded(first, f"{target.host}/mirror")
    locks = [releases.folder / f"{each}.txt.lock.yaml" for each in ("first", "second")]
    delta = releases.saved("second", work / "delta.tar.gz", "-base", locks[0])
    for old in (locks[0], first, Path("first.tar.gz.receipt.json")):
        result = command("diff", old, locks[1], "-json")
        assert result.code == 1, result
        found = json.loads(result.stdout)
        assert [len(found[each]) for each in ("added", "removed")] == [3, 3], "app and tool have other tags"
        assert found["size"] < delta.stat().st_size
    assert command("diff", first, locks[0]).stdout.startswith("no difference in images")
    assert command("diff", releases.list_of("first"), locks[0]).code == 0
    assert "added    " in command("diff", releases.list_of("first"), releases.list_of("second")).stdout


def test_inventories_of_a_registry(releases: Releases, fresh_registry: RegistryFactory, work: Path) -> None:
    target = fresh_registry()
    loaded(releases.saved("first", work / "first.tar.gz"), f"{target.host}/mirror")
    plain = "-tls-verify=false"
    listed = command("inventory", "-registry", f"{target.host}/mirror", "-f", releases.list_of("first"), plain, "-o", "a.json")
    assert listed.code == 0, listed
    every = command("inventory", "-registry", f"{target.host}/mirror", plain, "-o", "b.json")
    assert every.code == 0, every
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()
    delta = releases.saved("second", work / "delta.tar.gz", "-base", "a.json")
    loaded(delta, f"{target.host}/mirror")
    gone = command("inventory", "-registry", target.host, "-f", releases.list_of("second"), plain, "-o", "c.json")
    assert gone.code == 1 and "is not there" in gone.stderr


def test_the_inventory_of_a_harbor_which_lists_by_its_api(
    releases: Releases, fresh_registry: RegistryFactory, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harbor_api, "PAGE", 3)
    with Harbor(fresh_registry().host) as harbor:
        login = ("-authfile", harbor.auth_file(work), "-tls-verify=false")
        plain = ("-repo-type", "harbor", "-harbor-https=false")
        first = releases.saved("first", work / "first.tar.gz")
        assert command("load", first, "-d", harbor.host, "-j", "2", *login, *plain).code == 0
        harbor.repositories = [*sorted(f"deltas/{name}" for name in ("app", "old", "same", "tool")), "gone/away"]
        found = command("inventory", "-registry", harbor.host, *login, *plain, "-o", "harbor.json")
        assert found.code == 0, found
        assert [
            each["reference"].partition("/")[2] for each in json.loads(Path("harbor.json").read_text())["images"]
        ] == sorted(f"{each.repository}:{each.tag}" for each in releases.first)
        pages = [asked.path for asked in harbor.asked if "repositories" in asked.path]
        assert len(pages) == 2
