"""Recovery files: any volume or a thousand sectors may be lost, and nothing is left beside what was repaired."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE
from tests.support.images import image, layer
from tests.support.push import push
from tests.support.registry import Registry
from tests.system.bundles.helpers import DODO, FILE, define, doit, image_tools

SECTOR = 512
NAME = "saved-images.tar.gz"


def pushed(registry: Registry, repository: str, size: int) -> str:
    """An image with a layer that does not compress."""
    big = layer(repository, size=size)
    push(registry, repository, "v1", image("linux/amd64", [big]))
    return f"{registry.host}/{repository}:v1"


def save(name: str, *arguments: str) -> None:
    result = image_tools("save", name, "-tls-verify=false", "-a=amd64", *arguments)
    assert result.code == EXIT_OK, result


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def read_only(work: Path) -> Iterator[Path]:
    folder = work / "disc"
    folder.mkdir()
    yield folder
    folder.chmod(0o755)


def burn(folder: Path) -> dict[str, bytes]:
    """The finished files on a disc, which cannot be written to."""
    for path in Path.cwd().glob("saved-images.tar.*"):
        shutil.copy2(path, folder)
    return contents(folder)


def volumes(files: dict[str, bytes]) -> list[str]:
    return [name for name in files if ".part" in name]


def repaired(folder: Path, name: str, into: Path) -> dict[str, bytes]:
    folder.chmod(0o555)
    result = image_tools("repair", folder / name, "-d", into)
    folder.chmod(0o755)
    assert result.code == EXIT_OK, result
    assert "all have the checksums that lay beside SOURCE" in result.stdout
    return contents(into)


def test_any_volume_may_be_lost(registry: Registry, work: Path, read_only: Path) -> None:
    save(pushed(registry, "parity/ten", 1_000_000), "-parity=10%", "-part", "-part-size=110000")
    files = burn(read_only)
    names = volumes(files)
    assert len(names) == 10 and len(files[names[-1]]) < len(files[names[0]]), "the last one is short"
    whole = {name: files[name] for name in (*names, f"{NAME}.sha256")}
    for lost in names:
        (read_only / lost).unlink()
        before = contents(read_only)
        start = next(name for name in names if name != lost)
        assert repaired(read_only, start, work / "out") == whole, lost
        assert contents(read_only) == before, "nothing is left there"
        assert not list(work.glob(".tmp*"))
        shutil.rmtree(work / "out")
        (read_only / lost).write_bytes(files[lost])


def test_a_thousand_sectors_may_be_lost(registry: Registry, work: Path, read_only: Path) -> None:
    save(pushed(registry, "parity/sectors", 6_000_000), "-parity=10")
    files = burn(read_only)
    damaged = bytearray(files[NAME])
    for sector in random.Random(1).sample(range(len(damaged) // SECTOR), 1000):
        damaged[sector * SECTOR : (sector + 1) * SECTOR] = bytes(SECTOR)
    (read_only / NAME).write_bytes(damaged)
    said = image_tools("verify", read_only / NAME)
    assert said.code == EXIT_COULD_NOT or said.code == EXIT_SOME_FAILED
    assert "more may be lost" in said.stdout and "image-tools repair" in said.stdout
    assert repaired(read_only, NAME, work / "out") == {name: files[name] for name in (NAME, f"{NAME}.sha256")}


def test_a_rerun_makes_nothing_and_the_same_bytes_come_again(registry: Registry, work: Path) -> None:
    name = pushed(registry, "parity/again", 300_000)
    save(name, "-parity=20%")
    first = {path.name: path.read_bytes() for path in work.glob("*.par2")}
    times = {path: path.stat().st_mtime_ns for path in work.glob("*.par2")}
    assert len(first) >= 2
    save(name, "-parity=20%")
    assert {path: path.stat().st_mtime_ns for path in work.glob("*.par2")} == times
    next(iter(work.glob("*.vol*.par2"))).unlink()
    save(name, "-parity=20%")
    assert {path.name: path.read_bytes() for path in work.glob("*.par2")} == first, "made again"
    said = image_tools("verify", NAME)
    assert said.code == EXIT_OK and "recovery files: any " in said.stdout

    save(pushed(registry, "parity/other", 200_000), "-force")
    assert not list(work.glob("*.par2")), "those of another archive are gone"


def test_too_much_is_said_and_nothing_written(registry: Registry, work: Path, read_only: Path) -> None:
    save(pushed(registry, "parity/much", 300_000), "-parity=1%", "-part", "-part-size=50000")
    files = burn(read_only)
    for lost in volumes(files)[:3]:
        (read_only / lost).unlink()
    said = image_tools("verify", read_only / NAME)
    assert "can be repaired: copy again" in said.stdout
    result = image_tools("repair", read_only / f"{NAME}.par2", "-d", "out")
    assert result.code != EXIT_OK and "too much is lost" in result.stderr
    assert not any(Path("out").iterdir())


def test_what_cannot_be_is_refused(registry: Registry, work: Path) -> None:
    name = pushed(registry, "parity/refused", 1000)
    for arguments, said in (
        (["save", name, "-parity=10%", "-compress=dir"], "a folder has no recovery files"),
        (["save", name, "-parity=0"], "use a percentage from 1 to 100"),
        (["repair", NAME], "-d is missing"),
        (["repair", NAME, "-d", "out"], "has no recovery files beside it"),
    ):
        result = image_tools(*arguments)
        assert result.code in (EXIT_USAGE, EXIT_COULD_NOT) and said in result.stderr, result


def test_plain_doit_makes_them(registry: Registry, work: Path) -> None:
    pushed(registry, "parity/doit", 50_000)
    define(registry, ", arch: amd64, parity: 10%", demo=["parity/doit:v1"])
    Path("dodo.py").write_text(DODO)
    assert FILE.exists()
    doit()
    assert len(list(work.glob("demo.tar.gz*.par2"))) >= 2
    assert "parity:demo" in doit("list", "--all").stdout
    doit("clean", "split")
    assert not list(work.glob("demo.tar.gz*.par2"))
