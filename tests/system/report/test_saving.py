"""``save -report``: what the report says is what is in the bundle."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.ui.report import model
from tests.support.images import image, index, layer
from tests.support.kinds import push_kind
from tests.support.push import PushedImage, push
from tests.support.registry import PASSWORD, Registry
from tests.support.run import ROOT
from tests.system.save.conftest import work  # noqa: F401
from tests.system.save.saving import ARCHIVE, CACHE, PLAIN, command, save, saved, shell, unpack, write_list


@pytest.fixture(scope="session")
def images(registry: Registry) -> list[PushedImage]:
    return [push_kind(registry, kind, f"report/{kind}") for kind in ("shared-one", "shared-two", "schema1", "oci-artifact")]


def read(name: str = "report.json") -> Any:
    return json.loads(Path(name).read_text())


def test_json_says_what_is_in_the_bundle(registry: Registry, images: list[PushedImage]) -> None:
    missing = f"{registry.host}/none/one:1"
    result = save([images[0], missing, *images[1:]], "-report", "report.json", "-j", "3")
    assert result.code == 1
    assert "report: report.json" in result.stdout
    report, bundle = read(), unpack()
    assert (report["version"], report["outcome"]) == (model.VERSION, "incomplete")
    good = [each for each in report["images"] if each["status"] != "failed"]
    assert [each["m_id"] for each in report["images"]] == [1, 2, 3, 4, 5]
    assert [each["reference"] for each in good] == bundle.names
    for each in good:
        assert each["digest"] == bundle.entry(each["reference"])["digest"]
        listed = bundle.listed(each["reference"])["Images"]
        manifests = [platform["digest"] for platform in each["platforms"]]
        assert manifests == bundle.manifests(each["digest"])
        assert [entry["Digest"] for entry in listed] == [
            digest for digest in manifests if digest not in bundle.attestations(each["digest"])
        ]
        for platform in each["platforms"]:
            needs = bundle.closure(platform["digest"])
            assert needs == {platform["digest"], platform["config"], *platform["layers"]}
            assert platform["size"] == sum(len(bundle.blobs[digest]) for digest in needs)
    assert {blob["digest"]: blob["size"] for blob in report["blobs"]}.items() <= {
        digest: len(data) for digest, data in bundle.blobs.items()
    }.items()
    for blob in report["blobs"]:
        users = [each for each in good if blob["digest"] in bundle.closure(each["digest"])]
        assert blob["images"] == len(users)
    [failed] = [each for each in report["images"] if each["status"] == "failed"]
    assert "not found" in failed["reason"]
    [file] = report["files"]
    assert (file["name"], file["size"]) == (ARCHIVE.name, ARCHIVE.stat().st_size)
    assert shell(f"sha256sum {ARCHIVE}").split()[0] == file["sha256"]
    figures = report["figures"]
    assert figures["bytes"] == sum(blob["size"] for blob in report["blobs"])
    assert (figures["images"], figures["saved"], figures["failed"], figures["reused"]) == (5, 4, 1, 0)
    fetched = [task for task in report["tasks"] if task["name"].startswith(("fetch:", "copy:"))]
    assert sum(task["bytes"] for task in fetched) == figures["fetched_bytes"]
    assert {task["worker"] for task in report["tasks"]} <= set(range(1, 19)), "three jobs; blobs six times as many at once"
    by_worker = sorted(report["tasks"], key=lambda task: (task["worker"], task["start"]))
    for before, after in itertools.pairwise(by_worker):
        assert before["worker"] != after["worker"] or before["end"] <= after["start"]
    assert [act["name"] for act in report["acts"]] == ["resolve", "copy", "pack"]


def test_a_rerun_reuses_all(images: list[PushedImage]) -> None:
    saved(images[:2])
    result = saved(images[:2], "-report", "report.json")
    assert "reused 2 images" in result.stdout
    report = read()
    assert report["outcome"] == "complete"
    assert {each["status"] for each in report["images"]} == {"reused"}
    assert report["figures"]["fetched_bytes"] == 0


def test_a_plan(images: list[PushedImage]) -> None:
    result = save(images, "-dry-run", "-report", "plan.json")
    assert result.code == 0, result
    report = read("plan.json")
    assert report["outcome"] == "planned"
    assert report["files"] == []
    assert {each["status"] for each in report["images"]} == {"planned"}
    assert not ARCHIVE.exists()


def test_html_of_a_folder_in_another_place(registry: Registry, images: list[PushedImage]) -> None:
    saved(images[:1], "-compress=dir", "-d", "bundle", "-report", "pages/report.html")
    page = Path("pages/report.html").read_text()
    assert images[0].reference in page
    assert str(Path.cwd()) not in page


def test_no_secret_and_no_control_character(login_registry: Registry) -> None:
    wicked = index(image("linux/amd64", [layer("report/1")]), image('lin\x1bux/<b>&"', [layer("report/2")]))
    pushed = push(login_registry, "report/wicked", "v1", wicked)
    login_registry.auth_file(Path("logins"))
    write_list([pushed, f"{login_registry.host}/report/gone:1"])
    access = ("-authfile", "logins/config.json", "-cert-dir", login_registry.cert_dir)
    for name in ("r.html", "r.json"):
        result = command("save", "-f", "list.txt", "-a", "all", "-report", name, *access)
        assert result.code == 1, result
        text = Path(name).read_text()
        assert PASSWORD not in text
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
        assert "lin\\x1bux" in text.replace("\\\\", "\\")


@pytest.mark.parametrize(
    "name, complaint",
    [
        ("report.txt", "must end in .html or .json"),
        ("report", "must end in .html or .json"),
        ("folder.html", "is a folder"),
        ("list.json", "another file of this run"),
        ("saved-image-cache/report.html", "lies in the cache"),
    ],
)
def test_wrong_places(name: str, complaint: str, images: list[PushedImage]) -> None:
    Path("folder.html").mkdir()
    write_list(images, Path("list.json"))
    result = command("save", "-f", "list.json", PLAIN, "-report", name)
    assert result.code == 2, result
    assert complaint in result.stderr
    assert not CACHE.exists()


def test_the_document_explains_every_key() -> None:
    text = (ROOT / "docs" / "report.md").read_text()
    types = [each for each in vars(model).values() if dataclasses.is_dataclass(each) and isinstance(each, type)]
    names = {field.name for each in types for field in dataclasses.fields(each)}
    assert {name for name in names if f"`{name}`" not in text} == set()
