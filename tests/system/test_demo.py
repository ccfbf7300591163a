"""The demo: its images are what they seem, and what it says of a save was checked."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import catalogue
from pipeline.cli.demo.images import RECIPES, make_layout
from pipeline.cli.demo.tour import run_demo
from pipeline.cli.main import main
from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, UsageError
from pipeline.reader.serve import LayoutFolder, RegistryServer

FOLDER = Path("image-tools-demo")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "images"
    make_layout(folder)
    return folder


def read(layout: Path, digest: str) -> Any:
    return json.loads((layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes())


# The images


def test_images_are_the_same_every_time(layout: Path, tmp_path: Path) -> None:
    make_layout(tmp_path / "again")

    def content(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert content(layout) == content(tmp_path / "again")


def test_images_are_small(layout: Path) -> None:
    assert sum(path.stat().st_size for path in layout.rglob("*") if path.is_file()) < 5_000_000


def test_configs_fit_their_layers(layout: Path) -> None:
    for entry in json.loads((layout / "index.json").read_bytes())["manifests"]:
        top = read(layout, entry["digest"])
        for manifest in [read(layout, child["digest"]) for child in top.get("manifests", [])] or [top]:
            config = read(layout, manifest["config"]["digest"])
            for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
                data = (layout / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")).read_bytes()
                assert f"sha256:{hashlib.sha256(gzip.decompress(data)).hexdigest()}" == diff_id


def test_skopeo_reads_every_image(layout: Path, tmp_path: Path) -> None:
    with RegistryServer(LayoutFolder(layout)) as server:
        for recipe in RECIPES:
            for platform in recipe.platforms:
                choice = ["--override-arch", platform.architecture, "--override-os", platform.os]
                variant = ["--override-variant", platform.variant] if platform.variant else []
                source = f"docker://{server.host}/{recipe.name}"
                # Into another format, so that skopeo unpacks and compares what it is given.
                target = f"docker-archive:{tmp_path}/{platform.architecture}.tar"
                command = ["skopeo", *choice, *variant, "copy", "--src-tls-verify=false", source, target]
                subprocess.run(command, check=True, capture_output=True, timeout=60)
                (tmp_path / f"{platform.architecture}.tar").unlink()


# The tour


def test_demo(clean_environment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_TOOLS_COMMAND", "../checkout/image-tools")
    assert main(["demo"]) == EXIT_OK
    out = capsys.readouterr().out
    assert out.count("$ ../checkout/image-tools save -f image-tools-demo/demo-images.txt") == 2
    assert "for no blob" in out

    # What it says can be typed can be typed.
    lines = [line.strip() for line in out.splitlines()]
    checksum = next(line.partition("checksum: ")[2] for line in lines if "its checksum: " in line)
    assert subprocess.run(checksum, shell=True, check=True, capture_output=True).stdout == b"saved-images.tar.gz: OK\n"
    inspect = next(line for line in lines if line.startswith("skopeo inspect "))
    assert json.loads(subprocess.run(inspect, shell=True, check=True, capture_output=True).stdout)["Architecture"] == "amd64"
    listed = next(line for line in lines if line.startswith("The bundle is a plain tar.gz: tar -tzf "))
    names = subprocess.run(["tar", "-tzf", "image-tools-demo/saved-images.tar.gz"], check=True, capture_output=True).stdout
    assert f" lists {len(names.splitlines())} entries" in listed
    subprocess.run(next(line for line in lines if line.startswith("rm -r ")), shell=True, check=True)
    assert list(clean_environment.iterdir()) == []


def test_demo_again_starts_fresh_and_leaves_other_files(clean_environment: Path) -> None:
    assert main(["demo", "-d", "here"]) == EXIT_OK
    bundle = clean_environment / "here" / "saved-images.tar.gz"
    before = (bundle.stat().st_ino, bundle.read_bytes())
    mine = clean_environment / "here" / "mine.txt"
    mine.write_text("not the demo's")
    assert main(["demo", "-d=here"]) == EXIT_OK
    after = (bundle.stat().st_ino, bundle.read_bytes())
    assert before[1] == after[1]
    assert mine.read_text() == "not the demo's"


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["-d", "x", "-help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str], clean_environment: Path) -> None:
    assert main(["demo", *arguments]) == EXIT_OK
    out = capsys.readouterr().out
    assert out.startswith("Usage of demo:\n  -d string\n        folder to write to")
    assert list(clean_environment.iterdir()) == []


@pytest.mark.parametrize("arguments", [["-x"], ["now"], ["-d"]])
def test_wrong_arguments(arguments: list[str], clean_environment: Path) -> None:
    assert main(["demo", *arguments]) == EXIT_USAGE
    assert list(clean_environment.iterdir()) == []


def test_folder_of_somebody_else_is_left_alone(clean_environment: Path) -> None:
    cache = clean_environment / "saved-image-cache"
    cache.mkdir()
    with pytest.raises(UsageError, match="no demo made it"):
        run_demo(Path(), never_called)
    (clean_environment / "image-tools-demo").write_text("a file")
    with pytest.raises(UsageError, match="no demo made it"):
        run_demo(FOLDER, never_called)
    assert cache.is_dir()


# What would be wrong is found


def never_called(arguments: Sequence[str]) -> int:
    raise AssertionError("save was called")


def value(arguments: Sequence[str], flag: str) -> str:
    return arguments[arguments.index(flag) + 1]


def test_save_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(FOLDER, lambda arguments: EXIT_SOME_FAILED) == EXIT_COULD_NOT
    assert "save ended with exit code 1" in capsys.readouterr().err


def test_save_is_interrupted() -> None:
    assert run_demo(FOLDER, lambda arguments: 130) == 130


def test_save_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(FOLDER, lambda arguments: EXIT_OK) == EXIT_COULD_NOT
    assert "not fetched exactly once" in capsys.readouterr().err


def test_save_does_it_all_again(capsys: pytest.CaptureFixture[str]) -> None:
    """As without its cache."""

    def forgetful(arguments: Sequence[str]) -> int:
        shutil.rmtree(value(arguments, "-cache"), ignore_errors=True)
        return catalogue.run(["save", *arguments])

    assert run_demo(FOLDER, forgetful) == EXIT_COULD_NOT
    assert "blobs were asked for again" in capsys.readouterr().err


@pytest.mark.parametrize("drop, complaint", [("image", "holds docker.io/demo/api:2.3.1, "), ("checksum", "does not match")])
def test_bundle_is_not_what_it_should_be(drop: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    def careless(arguments: Sequence[str]) -> int:
        assert catalogue.run(["save", *arguments]) == EXIT_OK
        if drop == "checksum":
            Path(value(arguments, "-d") + ".sha256").write_text(f"{'0' * 64}  saved-images.tar.gz\n")
            return EXIT_OK
        shorter = [recipe.name for recipe in RECIPES if recipe.name != "demo/migrate:2.3.1"]
        Path(value(arguments, "-f")).write_text("\n".join(shorter))
        return catalogue.run(["save", *arguments, "-force"])

    assert run_demo(FOLDER, careless) == EXIT_COULD_NOT
    assert complaint in capsys.readouterr().err
