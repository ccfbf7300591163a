"""The gate: what it refuses is not packed, and what it has looked at is not looked at again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.core.errors import EXIT_COULD_NOT, EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE
from tests.support.images import image, index, layer
from tests.support.push import push
from tests.support.registry import Registry
from tests.support.run import Result
from tests.system.bundles.helpers import image_tools

SCANNER = """#!/bin/sh
echo "$@" >> calls
skopeo inspect --raw "oci:$2" > /dev/null || exit 9
count=$(find "$2/blobs/sha256" -type f -o -type l | wc -l)
echo "looked at $count blobs"
if zcat "$2"/blobs/sha256/* 2>/dev/null | grep -q FORBIDDEN; then echo "found FORBIDDEN"; exit 4; fi
"""


@pytest.fixture(autouse=True)
def images(registry: Registry, work: Path) -> None:
    Path("scan").write_text(SCANNER)
    Path("scan").chmod(0o755)
    both = (image(f"linux/{arch}", [layer(f"gate/good/{arch}")]) for arch in ("amd64", "arm64"))
    push(registry, "gate/good", "v1", index(*both))
    push(registry, "gate/bad", "v1", image("linux/amd64", [layer("gate/FORBIDDEN")]))
    Path("list.txt").write_text(f"{registry.host}/gate/good:v1\n{registry.host}/gate/bad:v1\n")


def save(*arguments: str) -> Result:
    return image_tools("save", "-f", "list.txt", "-tls-verify=false", *arguments)


def test_what_is_refused_is_listed_and_the_rest_is_packed(registry: Registry) -> None:
    result = save("-gate", "./scan --input {} --quiet", "-j", "4")
    assert result.code == EXIT_SOME_FAILED, result
    assert "refused by the gate (exit code 4): found FORBIDDEN" in result.stdout
    assert Path("save-failed.txt").read_text() == f"{registry.host}/gate/bad:v1\n"
    listed = json.loads(image_tools("ls", "saved-images.tar.gz", "-json").stdout)
    assert [each["reference"] for each in listed["images"]] == [f"{registry.host}/gate/good:v1"]
    reports = {path.name: path.read_text() for path in Path("saved-images.tar.gz.gate").iterdir()}
    assert len(reports) == 2 and any("looked at 7 blobs" in text for text in reports.values()), "all of it, and no more"
    assert any("found FORBIDDEN" in text for text in reports.values())


def test_verdicts_are_remembered_by_digest_and_version(registry: Registry) -> None:
    command = ("-gate", "./scan --input {}", "-gate-version", "2026-11-26")
    save(*command)
    first = Path("calls").read_text()
    assert save(*command).code == EXIT_SOME_FAILED
    assert Path("calls").read_text() == first, "neither the refused one is looked at again"
    save("-gate", "./scan --input {}", "-gate-version", "2026-11-27")
    assert Path("calls").read_text().count("\n") == 2 * first.count("\n")
    push(registry, "gate/bad", "v1", image("linux/amd64", [layer("gate/mended")]))
    assert save(*command).code == EXIT_OK
    assert not Path("save-failed.txt").exists()
    assert Path("calls").read_text().count("\n") == 2 * first.count("\n") + 1


def test_scanners_may_ask_a_registry(registry: Registry) -> None:
    Path("ask").write_text('#!/bin/sh\nskopeo inspect --raw --tls-verify=false "$1" | grep -q manifests\n')
    Path("ask").chmod(0o755)
    result = save("-gate", "./ask {docker}")
    assert result.code == EXIT_SOME_FAILED, f"only one of them is an index: {result}"
    assert "refused by the gate (exit code 1): it said nothing" in result.stdout


def test_what_cannot_be_run_stops_the_save() -> None:
    missing = save("-gate", "./nothing {}")
    assert missing.code == EXIT_COULD_NOT and "the gate ./nothing cannot be run" in missing.stderr
    assert not Path("saved-images.tar.gz").exists()
    assert save("-gate", "'unclosed").code == EXIT_USAGE
