"""``image-tools bundle``, the JSON Schema, and the examples in ``configs/``."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.cli.demo.images import RECIPES, make_layout
from pipeline.config import schema
from pipeline.config.definition import load
from pipeline.config.settings import KEYS
from pipeline.core.errors import EXIT_USAGE
from pipeline.reader.serve import LayoutFolder, RegistryServer
from tests.support.run import ROOT
from tests.system.bundles.helpers import FILE, image_tools, write
from tests.unit.config.broken import WRONG, Broken

CONFIGS = ROOT / "configs"
EXAMPLES = sorted(path for path in CONFIGS.glob("*.yaml") if not path.name.endswith(".lock.yaml"))


def by_schema(text: str) -> list[str]:
    """What an editor marks."""
    found = jsonschema.Draft7Validator(schema.schema()).iter_errors(yaml.safe_load(text))
    return [error.message for error in found]


TWO = """
    bundles:
      one: {images: [nginx, redis], description: servers}
      two: {images: [nginx], compress: zstd, part-size: 1G, destination: /media/stick/two.tar.zst}
    """


def test_list() -> None:
    write(TWO)
    write("bundles: {third: {images: [nginx]}}", Path("third.yaml"))
    result = image_tools("bundle", "list", FILE, "third.yaml")
    assert result.code == 0
    assert result.stdout.splitlines() == [
        "FILE         BUNDLE  IMAGES  DESTINATION                          DESCRIPTION",
        "bundle.yaml  one     2       one.tar.gz                           servers",
        "bundle.yaml  two     1       /media/stick/two.tar.zst in volumes",
        "third.yaml   third   1       third.tar.gz",
    ]


def test_check() -> None:
    write(TWO)
    write("version: 1\n", Path("one.lock.yaml"))
    for arguments in ([FILE, "one.lock.yaml"], ["-config", FILE], [FILE]):
        result = image_tools("bundle", "check", *arguments)
        lines = ["bundle.yaml: one: ok, 2 images", "bundle.yaml: two: ok, 1 image"]
        assert (result.code, result.stdout.splitlines(), result.stderr) == (0, lines, "")


def test_check_reports_all_files_at_once() -> None:
    write("bundles: {a: {image: [x]}}", Path("a.yaml"))
    write("bundles: {b: {images: [X]}}", Path("b.yaml"))
    result = image_tools("bundle", "check", "a.yaml", "b.yaml", "none.yaml")
    assert result.code == EXIT_USAGE
    assert [line.partition(":")[0] for line in result.stderr.removeprefix("image-tools: ").splitlines()] == [
        "a.yaml", "a.yaml", "b.yaml", "cannot read the bundle definition none.yaml",
    ]  # fmt: skip


def test_show_fills_in_what_was_left_out(work: Path) -> None:
    write(TWO)
    assert yaml.safe_load(image_tools("bundle", "show", FILE, "one").stdout) == {
        "bundles": {
            "one": {
                "description": "servers",
                "jobs": 1,
                "cache": str(work / "saved-image-cache"),
                "destination": str(work / "one.tar.gz"),
                "compress": "gzip",
                "failed-list": str(work / "one-failed.txt"),
                "tls-verify": True,
                "referrers": False,
                "quota": "stop",
                "retry": 3,
                "parity-blocks": 12000,
                "via": "auto",
                "images": [
                    {"image": "docker.io/library/nginx:latest", "arch": "amd64,arm64", "os": "all"},
                    {"image": "docker.io/library/redis:latest", "arch": "amd64,arm64", "os": "all"},
                ],
            }
        }
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "there is no command 'bundle chek'\nUsage:\n"),
        (["check"], "no definition given\nTIP: name its file, e.g. 'image-tools bundle check configs/demo.yaml'"),
        (["check", "-lockd", FILE], "flag provided but not defined: -lockd (did you mean -locked?)"),
        (["check", "one.lock.yaml"], "one.lock.yaml is a lock, not a definition"),
        (["show"], "no definition given"),
        (["show", FILE, "three"], "bundle.yaml has no bundle three; it has one, two"),
        (["schema", FILE], "unexpected argument 'bundle.yaml'"),
    ],
)
def test_usage_errors(arguments: list[str], said: str) -> None:
    write(TWO)
    result = image_tools("bundle", *arguments)
    assert (result.code, result.stdout) == (EXIT_USAGE, "")
    assert result.stderr.startswith(f"image-tools: {said}")


def test_show_has_every_setting(work: Path) -> None:
    Path("policy.json").write_text('{"default": [{"type": "reject"}]}')
    write(
        """
        bundles:
          one:
            images: [{image: nginx, source: mirror.example.com}]
            authfile: policy.json
            cert-dir: .
            compress-level: 4
            part-size: 1G
            parity: 10%
            sign: policy.json
            base: policy.json
            base-signers: policy.json
            note: change
            referrers: true
            referrer-types: [application/spdx+json, "application/vnd.dev.cosign.*"]
            require-signed: policy.json
        """
    )
    shown = yaml.safe_load(image_tools("bundle", "show", FILE).stdout)["bundles"]["one"]
    assert shown["require-signed"] == str(work / "policy.json")
    assert (shown["referrers"], shown["referrer-types"]) == (True, "application/spdx+json,application/vnd.dev.cosign.*")
    assert {"images", *KEYS} == {*shown, *shown["images"][0], "part"} - {"image"}, "part-size says that it is cut"
    again = write(yaml.safe_dump({"bundles": {"one": shown}}), Path("again.yaml"))
    (mine,), (theirs,) = load(FILE).bundles, load(again).bundles
    assert replace(mine, images=()) == replace(theirs, images=())
    assert [(each.reference, each.source, each.platforms, each.referrers) for each in mine.images] == [
        (each.reference, each.source, each.platforms, each.referrers) for each in theirs.images
    ]


# The schema


def test_the_schema_in_the_repository_is_that_of_the_program() -> None:
    shown = image_tools("bundle", "schema")
    assert (CONFIGS / schema.FILE).read_text() == shown.stdout, "run: image-tools bundle schema > configs/bundle.schema.json"
    jsonschema.Draft7Validator.check_schema(json.loads(shown.stdout))


@pytest.mark.parametrize("broken", WRONG, ids=lambda broken: broken.name)
def test_editors_mark_what_the_schema_can_know(broken: Broken) -> None:
    try:
        marked = bool(by_schema(broken.text))
    except yaml.YAMLError:
        marked = True
    assert marked == broken.by_schema


def test_editors_accept_every_form() -> None:
    text = """
        environment: {MIRROR: "", JOBS: "2", REQUIRED:}
        defaults: &defaults {source: "${MIRROR}", jobs: "${JOBS}", tls-verify: "${MIRROR}", part-size: "${JOBS}", os: ""}
        bundles:
          one:
            <<: *defaults
            arch: [amd64, 386, arm/v7]
            compress: "${MIRROR}"
            compress-level: 3
            images: [nginx, {image: nginx, arch: 386, os: [linux], source: ""}, {list: x.txt, arch: all}]
          two: {part-size: 1024, images: [x], description: y, part: true, cache: a, destination: b, failed-list: c}
          three: {part-size: 3900M, images: [x], authfile: "", cert-dir: d, retry: 0}
        """
    assert by_schema(text) == []


# The examples


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_right(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# yaml-language-server: $schema={schema.FILE}\n")
    assert by_schema(text) == []
    result = image_tools("bundle", "check", path)
    assert (result.code, result.stderr) == (0, "")


def test_the_demo_bundle_holds_the_demo_images(monkeypatch: pytest.MonkeyPatch, work: Path) -> None:
    """Both of its bundles, from a registry that serves them, one after the other over one cache."""
    copied = work / "configs" / "demo.yaml"
    copied.parent.mkdir()
    copied.write_bytes((CONFIGS / "demo.yaml").read_bytes())
    layers = {str(layer) for image in make_layout(work / "layout") for layer in image.layers}
    requests: list[str] = []
    with RegistryServer(LayoutFolder(work / "layout"), on_request=lambda *request: requests.append(request[1])) as server:
        monkeypatch.setenv("DEMO_REGISTRY", server.host)
        result = image_tools("save", "-config", copied)
        assert result.code == 0, result
        demo, edge = load(copied).bundles
        assert [image.text for image in demo.images] == [recipe.name for recipe in RECIPES]
    made = {path.name for path in (work / "dist").iterdir()}
    assert {demo.output.destination.name, f"{edge.output.destination.name}.part0"} <= made
    fetched = Counter(path.rpartition("/")[2] for path in requests if path.rpartition("/")[2] in layers)
    assert set(fetched.values()) == {1}, "what the bundles share is fetched once"


def test_the_documents_show_yaml_that_is_right(work: Path) -> None:
    text = (ROOT / "docs" / "bundles.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        assert yaml.safe_load(block)
    write(blocks[0], Path("configs/rke2.yaml"))
    Path("configs/rke2-images.txt").write_bytes((CONFIGS / "rke2-images.txt").read_bytes())
    assert by_schema(blocks[0]) == [] and image_tools("bundle", "check", "configs/rke2.yaml").code == 0
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    assert set(KEYS) <= {name for row in rows for name in row.split("`")}, "every setting is in the table"


def test_merged_text_is_read_as_editors_read_it() -> None:
    """PyYAML merges where the text is loaded; we do it ourselves. Both come to the same."""
    text = write("bundles:\n  one: &one {images: [x], jobs: 2}\n  two: {<<: *one, jobs: 3, failed-list: f}\n").read_text()
    theirs: dict[str, Any] = yaml.safe_load(text)["bundles"]
    assert {bundle.name: bundle.jobs for bundle in load(FILE).bundles} == {name: body["jobs"] for name, body in theirs.items()}
