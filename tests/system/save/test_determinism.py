"""The same images give the same bytes, whatever the number of jobs, the order of arrival and the folder."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest

from tests.support.images import image, layer
from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Slow
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import COMMAND, run
from tests.system.save.saving import ARCHIVE, PLAIN, inside, prepared, save, saved, unpack, write_list


@pytest.fixture(scope="session")
def images(registry: Registry) -> list[PushedImage]:
    kinds = ("oci-index", "shared-one", "shared-two", "docker-list", "schema1", "helm-chart")
    return [push_kind(registry, kind, f"determinism/{kind}") for kind in kinds]


def test_one_job_and_ten(images: list[PushedImage]) -> None:
    """In processes of their own, with other hash seeds, umasks and time zones."""
    made = []
    for number, jobs in enumerate(("1", "10")):
        with inside(Path(f"folder-{number}" * (number + 1))):
            environment = {"PYTHONHASHSEED": str(number), "TZ": ("UTC", "Pacific/Auckland")[number]}
            script = f'umask {("022", "077")[number]}; exec "$@"'
            line = ("save", "-f", write_list(images), PLAIN, "-j", jobs)
            result = run("-c", script, "sh", *COMMAND, *line, env=environment, command=("sh",))
            assert result.code == 0, result
            saved(images, "-compress=zstd", "-j", jobs)
            made.append((ARCHIVE.read_bytes(), Path("saved-images.tar.zst").read_bytes()))
    assert made[0] == made[1]


def test_what_lay_in_the_cache_before_does_not_matter(images: list[PushedImage]) -> None:
    saved(images)
    with inside(Path("other")):
        saved([*images[3:], *images[:1]], "-a", "all", "-compress=zstd")
        saved(images[1:3], "-a", "arm64")
        saved(images)
        assert ARCHIVE.read_bytes() == (Path("..") / ARCHIVE).read_bytes()


def test_the_way_there_does_not_matter(proxy: FaultProxy, images: list[PushedImage]) -> None:
    """Slow layers, another order of arrival."""
    names = [each.via(proxy.host) for each in images[:4]]
    saved(names, "-j", "1")
    proxy.fault(images[0].platforms[0].layers[0], Slow(6000))
    proxy.fault(images[2].platforms[1].layers[0], Slow(6000))
    with inside(Path("other")):
        saved(names, "-j", "8")
        assert ARCHIVE.read_bytes() == (Path("..") / ARCHIVE).read_bytes()


def test_the_time_is_that_of_the_newest_image(registry: Registry) -> None:
    future = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=400)).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = ["2023-05-06T07:08:09.123456789Z", "2022-01-01T00:00:00+02:00", "1970-01-01T00:00:00Z", future, "nonsense"]
    images = [
        push(registry, "determinism/time", f"v{number}", image(layers=[layer("time")], created=created))
        for number, created in enumerate(times)
    ]
    expected = {2: "2023-05-06T07:08:09Z", 1: "2021-12-31T22:00:00Z", 0: "1980-01-01T00:00:00Z"}
    for chosen, time_of in ((images, expected[2]), (images[1:], expected[1]), (images[2:], expected[0])):
        saved(chosen)
        unpacked = unpack()
        assert unpacked.images_list["SavedTime"] == time_of
        mtime = datetime.datetime.fromisoformat(time_of.replace("Z", "+00:00")).timestamp()
        assert {path.lstat().st_mtime for path in unpacked.root.rglob("*")} == {mtime}


def test_source_date_epoch(images: list[PushedImage], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(images[:1])
    first = ARCHIVE.read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    assert "written:" in saved(images[:1]).stdout
    assert "unchanged" in saved(images[:1]).stdout
    unpacked = unpack()
    assert unpacked.images_list["SavedTime"] == "2020-09-13T12:26:40Z"
    assert {path.lstat().st_mtime for path in unpacked.root.rglob("*")} == {1600000000.0}
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    saved(images[:1])
    assert ARCHIVE.read_bytes() == first


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", "99999999999999", "٣"])
def test_a_source_date_epoch_that_is_no_time(images: list[PushedImage], monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    result = save(images[:1])
    assert result.code == 2
    assert "is no time in seconds since 1970" in result.stderr
    assert not ARCHIVE.exists()


def test_no_name_of_this_machine_and_no_time_of_this_run(images: list[PushedImage]) -> None:
    prepared(images[:2])
    unpacked = unpack()
    words = [str(Path.cwd()), Path.cwd().name, time.strftime("%Y-%m-%d")]
    for path in unpacked.root.rglob("*"):
        if path.is_file():
            assert not any(word.encode() in path.read_bytes() for word in words), path
    assert ARCHIVE.read_bytes()[4:8] == b"\0\0\0\0", "gzip's own time"


def test_dot_and_hidden_files_do_not_get_in(images: list[PushedImage]) -> None:
    """Whatever lies about in the cache stays there."""
    prepared(images[:1])
    data = ARCHIVE.read_bytes()
    cache = Path("saved-image-cache")
    (cache / "notes.txt").write_text("mine")
    (cache / "images" / "stray").mkdir()
    (cache / "share" / "sha256" / ("0" * 64)).write_text("stray")
    ARCHIVE.unlink()
    saved(images[:1])
    assert ARCHIVE.read_bytes() == data
    assert (cache / "notes.txt").exists()
