"""Files that name images, saved from a real registry: what is sure, what is asked for, ranges of tags and their lock."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from pipeline.core.errors import EXIT_OK, EXIT_USAGE
from tests.support.images import image, index, layer
from tests.support.push import push
from tests.support.registry import Registry
from tests.system.bundles.helpers import FILE, image_tools, save, write


def pushed(registry: Registry, *references: str) -> None:
    for reference in references:
        repository, _, tag = reference.rpartition(":")
        images = (image(f"linux/{arch}", [layer(f"{reference}/{arch}")]) for arch in ("amd64", "arm64"))
        push(registry, repository, tag, index(*images))


def saved(path: str = "saved-images.tar.gz") -> list[str]:
    result = image_tools("ls", path, "-json")
    assert result.code == EXIT_OK, result
    return [each["reference"].split("/", 1)[1] for each in json.loads(result.stdout)["images"]]


def manifests_of(registry: Registry) -> str:
    write(
        f"""
        apiVersion: apps/v1
        kind: Deployment
        metadata: {{name: web}}
        spec:
          template:
            spec:
              containers:
              - image: {registry.host}/inputs/web:1
                args: [--helper-image, "{registry.host}/inputs/helper:1", "--old-image={registry.host}/inputs/gone:1"]
                env:
                - {{name: OTHER_IMAGE, value: "elsewhere.invalid/private/words:1"}}
        """,
        Path("web.yaml"),
    )
    return "web.yaml"


def test_manifests_are_saved_with_what_is_probable_and_there(registry: Registry, work: Path) -> None:
    pushed(registry, "inputs/web:1", "inputs/helper:1")
    result = image_tools("save", "-f", manifests_of(registry), "-tls-verify=false", "-a=amd64")
    assert result.code == EXIT_OK, result
    assert saved() == ["inputs/web:1", "inputs/helper:1"]
    assert "inputs/gone:1 is probable: it is not there, and left out" in result.stderr
    assert "elsewhere.invalid/private/words:1 is probable, and not taken: no sure image comes from" in result.stderr


def test_probable_ones_may_be_left_or_taken(registry: Registry, work: Path) -> None:
    pushed(registry, "inputs/web:1", "inputs/helper:1")
    name = manifests_of(registry)
    left = image_tools("save", "-f", name, "-tls-verify=false", "-a=amd64", "-probable=leave")
    assert (left.code, saved()) == (EXIT_OK, ["inputs/web:1"])
    taken = image_tools("save", "-f", name, "-tls-verify=false", "-probable=take", "-dry-run", "-s", registry.host)
    assert "inputs/gone:1" in taken.stdout and "private/words:1" in taken.stdout


def test_ranges_of_tags_become_images_and_are_locked(registry: Registry, work: Path) -> None:
    pushed(registry, *(f"inputs/app:{tag}" for tag in ("1.0.0", "1.1.0", "v1.2.3", "2.0.0", "1.1", "latest")))
    (work / "chart").mkdir()
    (work / "chart" / "Chart.yaml").write_text(
        f"apiVersion: v2\nname: c\nversion: 0.1.0\nannotations:\n  images: |\n    - image: {registry.host}/inputs/app:1.0.0\n"
    )
    write(
        f"""
        defaults: {{tls-verify: false, arch: amd64}}
        bundles:
          demo:
            images:
            - chart: chart
            - image: {registry.host}/inputs/app
              tags: ">=1.1 <2"
        """
    )
    save("-lock")
    assert saved("demo.tar.gz") == ["inputs/app:1.0.0", "inputs/app:1.1.0", "inputs/app:v1.2.3"]
    pushed(registry, "inputs/app:1.9.0")
    save("-locked")
    assert saved("demo.tar.gz") == ["inputs/app:1.0.0", "inputs/app:1.1.0", "inputs/app:v1.2.3"], "the lock holds"
    assert len(yaml.safe_load(Path("demo.lock.yaml").read_text())["images"]) == 3
    save()
    assert saved("demo.tar.gz")[-1] == "inputs/app:1.9.0"


def test_a_range_without_tags_says_what_there_is(registry: Registry, work: Path) -> None:
    pushed(registry, "inputs/solo:1.0.0")
    write(
        f"""
        defaults: {{tls-verify: false}}
        bundles: {{demo: {{images: [{{image: "{registry.host}/inputs/solo", tags: "^3"}}]}}}}
        """
    )
    result = image_tools("save", "-config", FILE)
    assert result.code == EXIT_USAGE
    assert f"{registry.host}/inputs/solo has no tag in ^3: its newest version is 1.0.0" in result.stderr
    assert not Path("demo.tar.gz").exists()


def test_images_prints_a_list_that_save_reads(registry: Registry, work: Path) -> None:
    pushed(registry, "inputs/web:1", "inputs/helper:1")
    listed = image_tools("images", manifests_of(registry))
    Path("list.txt").write_text(listed.stdout)
    assert image_tools("save", "-f", "list.txt", "-tls-verify=false", "-a=amd64").code == EXIT_OK
    assert saved() == ["inputs/web:1"], "what is probable is a comment"
    why = image_tools("images", "web.yaml", "-why", f"{registry.host}/inputs/helper:1")
    assert (
        why.stdout
        == f"web.yaml:9 (Deployment/web spec.template.spec.containers[0].args[1]): {registry.host}/inputs/helper:1 (probable)\n"
    )
