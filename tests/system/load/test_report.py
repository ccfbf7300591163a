"""``load -report`` and ``verify -report``: the report says what happened to each image."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.amounts import bytes_text
from tests.support.registry import RegistryFactory
from tests.system.load.loading import PLAIN, Bundle, command, flip, json_of, load
from tests.system.load.test_damage import blob_place, only_layer


def read(name: str) -> Any:
    return json.loads(Path(name).read_text())


def statuses(report: Any) -> dict[str, str]:
    return {image["reference"]: image["status"] for image in report["images"]}


def words(path: str) -> str:
    class Words(HTMLParser):
        found = ""

        def handle_data(self, data: str) -> None:
            self.found += data

    reader = Words()
    reader.feed(Path(path).read_text())
    return reader.found


def test_a_load_and_the_same_again(small: Bundle, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    names = [each["reference"] for each in json_of("ls", small.path)["images"]]
    planned = load(small, registry.host, "-dry-run", "-report", "plan.json")
    assert (planned.code, read("plan.json")["outcome"]) == (0, "planned")
    assert statuses(read("plan.json")) == dict.fromkeys(names, "planned")
    first = load(small, registry.host, "-report", "first.json")
    assert first.code == 0, first
    assert "\nreport: first.json\n" in first.stdout
    report = read("first.json")
    assert (report["command"], report["outcome"], report["registry"]) == ("load", "complete", registry.host)
    assert statuses(report) == dict.fromkeys(names, "pushed")
    layers = sum(blob["size"] for blob in report["blobs"] if blob["kind"] == "layer")
    assert 0 < layers <= report["figures"]["sent_bytes"]
    assert f"sent {bytes_text(report['figures']['sent_bytes'])} in " in first.stdout
    assert {task["name"].partition(":")[0] for task in report["tasks"]} == {"check", "push"}
    assert [act["name"] for act in report["acts"]] == ["check", "push"]
    blobs = {blob["digest"]: blob for blob in report["blobs"]}
    shared = small.images["shared-one"].layers & small.images["shared-two"].layers
    assert all(blobs[digest]["images"] == 2 for digest in shared)
    assert load(small, registry.host, "-report", "again.json").code == 0
    assert statuses(read("again.json")) == dict.fromkeys(names, "there")
    assert read("again.json")["figures"]["sent_bytes"] == 0


def test_a_damaged_bundle(small: Bundle, work: Path, fresh_registry: RegistryFactory) -> None:
    copy = small.copied(work / "copy", checksums=False)
    layer = only_layer(small, "docker-list")
    flip(copy.path, blob_place(copy.path, layer))
    result = load(copy, fresh_registry().host, "-report", "load.json")
    assert result.code == 1, result
    report = read("load.json")
    assert report["outcome"] == "incomplete"
    [failed] = [image for image in report["images"] if image["status"] == "failed"]
    assert layer in failed["reason"]
    assert sorted(statuses(report).values()) == ["failed", "pushed", "pushed"]
    checked = command("verify", copy.path, "-report", "verify.json")
    assert checked.code == 1, checked
    report = read("verify.json")
    assert (report["command"], report["outcome"]) == ("verify", "incomplete")
    assert statuses(report)[failed["reference"]] == "broken"
    assert sorted(statuses(report).values()) == ["broken", "intact", "intact"]
    assert [fault["breaks"] for fault in report["faults"] if fault["what"] == layer] == [[failed["reference"]]]


def test_pages(small: Bundle, work: Path, fresh_registry: RegistryFactory) -> None:
    registry = fresh_registry()
    assert load(small, registry.host, "-report", "load.html").code == 0
    page = words("load.html")
    assert "all images are in the registry" in page and registry.host in page
    assert command("verify", small.path, "-registry", registry.host, PLAIN, "-report", "there.html").code == 0
    assert "all is intact" in words("there.html")
    copy = small.copied(work / "copy")
    copy.path.write_bytes(copy.path.read_bytes()[:-5000])
    assert command("verify", copy.path, "-report", "cut.html").code == 3
    page = words("cut.html")
    assert "damaged beyond reading" in page and "Faults" in page
    assert str(work) not in Path("cut.html").read_text(), "no folder of this machine"


@pytest.mark.parametrize("name", ["report.txt", "folder", "none/there.html", "saved-images.tar.gz"])
def test_a_report_that_cannot_be_written(small: Bundle, fresh_registry: RegistryFactory, work: Path, name: str) -> None:
    """It is said before anything is sent."""
    (work / "folder").mkdir()
    Path("none").write_text("a file")
    registry = fresh_registry()
    result = load(small, registry.host, "-report", name)
    assert (result.code == 3 and "TIP: " in result.stderr) or "must end in" in result.stderr, result
    assert [request for request in registry.requests() if request.method != "GET"] == []
