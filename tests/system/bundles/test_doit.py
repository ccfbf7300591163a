"""Plain doit on bundle definitions, in a repository that is not ours; and ``image-tools`` on the same, before and after."""

from __future__ import annotations

import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from doit.exceptions import InvalidDodoFile

from pipeline.core.errors import EXIT_COULD_NOT
from pipeline.dodo import bundle_tasks
from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Stall, Status
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import ROOT, spawn
from tests.system.bundles.helpers import DODO, DOIT, FILE, checksum, define, doit, done, image_tools, save, write

ARCHIVES = ("one.tar.gz", "two.tar.gz")
GROUPS = ["compress", "copy", "fetch", "index", "pack", "parity", "probe", "resolve", "sign", "split", "tar"]
NONE = "kinds/none:v1"
"""No registry of the tests has it."""


@pytest.fixture(scope="module")
def images(registry: Registry) -> dict[str, PushedImage]:
    return {kind: push_kind(registry, kind, f"doit/{kind}") for kind in ("shared-one", "shared-two", "oci-single")}


@pytest.fixture
def two(registry: Registry, images: dict[str, PushedImage]) -> Path:
    """Two bundles over one cache, with layers and an image in common, and the two lines."""
    write(DODO, Path("dodo.py"))
    define(registry, one=["doit/shared-one:v1", "doit/oci-single:v1"], two=["doit/shared-two:v1", "doit/oci-single:v1"])
    registry.clear_requests()
    return FILE


def layers_asked_for(registry: Registry, images: dict[str, PushedImage]) -> Counter[str]:
    layers = {layer for image in images.values() for layer in image.layers}
    return Counter(request.reference for request in registry.blob_gets if request.reference in layers)


def sums() -> dict[str, str]:
    return {name: checksum(Path(name)) for name in ARCHIVES}


def refusal(locked: bool = False) -> list[str]:
    """What ``bundle_tasks`` says to doit, which shows it without a traceback."""
    with pytest.raises(InvalidDodoFile) as raised:
        bundle_tasks("*.yaml", locked=locked)
    return str(raised.value).splitlines()


def names(listing: str) -> list[str]:
    return [line.split()[0] for line in listing.splitlines()]


def test_doit_then_image_tools_then_doit(two: Path, registry: Registry, images: dict[str, PushedImage]) -> None:
    first = doit("-n", "8", "-P", "thread")
    assert len(done(first)) == 5 + 4 + 3 * 2, "five platforms, four indexes, and three steps for each bundle"
    fetched = layers_asked_for(registry, images)
    assert set(fetched) == {layer for image in images.values() for layer in image.layers}
    assert set(fetched.values()) == {1}, "each layer once, whatever the bundles share"
    made = sums()
    registry.clear_requests()
    assert done(doit()) == []
    saved = save()
    assert saved.stdout.count("unchanged since the last run") == 2
    assert done(doit()) == [], "and doit again"
    assert sums() == made and not layers_asked_for(registry, images)


def test_before_the_first_run_and_selection(two: Path, registry: Registry) -> None:
    listed = names(doit("list", "--all").stdout)
    index = "index:two:docker.io/doit/oci-single:v1"
    assert {"resolve:docker.io/doit/shared-one:v1", index, "split:one", "pack:two"} <= set(listed)
    info = doit("info", "tar:one", code=1).stdout
    assert "index.json" in info and "BundleImage(" not in info, "what it needs, and not all that Python knows of it"
    assert not registry.requests(), "nothing is asked to draw the tasks"
    only = "copy:docker.io/doit/oci-single:v1:linux-amd64"
    assert done(doit(only)) == [only]
    assert done(doit("pack:one"), but=("probe", "resolve", "fetch", "copy", "index")) == [
        "tar:one",
        "compress:one",
        "split:one",
    ]
    assert Path("one.tar.gz").exists() and not Path("two.tar.gz").exists()
    assert "up-to-date" in doit("info", "split:one").stdout
    doit("pack")
    Path("one.tar.gz").unlink()
    Path("two.tar.gz").unlink()
    assert done(doit("split:o*")) == ["compress:one", "split:one"], "a wildcard is what is known of a run before"
    assert not Path("two.tar.gz").exists()


@pytest.mark.parametrize(
    ("arguments", "asked", "made"),
    [
        (["pack:one"], {"doit/shared-one", "doit/oci-single"}, ["one.tar.gz"]),
        (["run", "split:o*"], {"doit/shared-one", "doit/oci-single"}, ["one.tar.gz"]),
        (["-n", "4", "-P", "thread", "pack:two", "tar:one"], None, ["two.tar.gz"]),
        (["copy:docker.io/doit/shared-two:v1:linux-amd64"], {"doit/shared-two"}, []),
        (["index:two:docker.io/doit/oci-single:v1"], {"doit/oci-single"}, []),
        (["resolve:docker.io/doit/oci-single:v1"], {"doit/oci-single"}, []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_selection_asks_for_what_it_needs_alone(
    two: Path, registry: Registry, arguments: list[str], asked: set[str] | None, made: list[str]
) -> None:
    """In a repository with a third bundle, whose registry does not answer."""
    write("bundles: {dead: {images: [nginx], source: '127.0.0.1:9', retry: 0, tls-verify: false}}", Path("dead.yaml"))
    doit(*arguments)
    assert sorted(path.name for path in Path().glob("*.tar.gz")) == made
    repositories = {request.repository for request in registry.requests() if "/manifests/" in request.path}
    assert repositories == (asked or {"doit/shared-one", "doit/shared-two", "doit/oci-single"})
    registry.clear_requests()
    for command in (["list", "--all"], ["info", "pack:dead"]):
        doit(*command, code=1 if command[0] == "info" else 0)
    assert not registry.requests()


def test_a_selection_ends_as_its_own_bundles_do(two: Path) -> None:
    write("bundles: {dead: {images: [nginx], source: '127.0.0.1:9', retry: 0, tls-verify: false}}", Path("dead.yaml"))
    assert "cannot be reached" in doit("-n", "4", "pack:dead", "pack:one", code=2).stdout
    assert Path("one.tar.gz").exists() and not Path("dead.tar.gz").exists()
    doit("pack:two", "split:one")


def test_forget_clean_and_ignore(two: Path, registry: Registry, images: dict[str, PushedImage]) -> None:
    doit("-n", "4")
    made = sums()
    registry.clear_requests()
    would = doit("clean", "-n").stdout
    assert f"would remove {Path('one.tar.gz').absolute()}" in would and sums() == made
    doit("clean")
    assert not list(Path().glob("*.tar.gz*"))
    assert sorted(done(doit("-n", "4"))) == ["compress:one", "compress:two", "split:one", "split:two"]
    assert sums() == made
    doit("clean", "-c", "pack:one")
    assert [path.name for path in sorted(Path().glob("*.tar.gz"))] == ["two.tar.gz"]

    doit("ignore", "tar:one")
    assert "!! split:one" in doit().stdout and not Path("one.tar.gz").exists()
    save()
    assert sums() == made, "what doit was told is no reason for image-tools to leave out what it is asked for"
    doit("forget")
    assert len(done(doit("-n", "4"))) == 5 + 4 + 3 * 2, "forgotten as a whole, and done again"
    assert sums() == made and not layers_asked_for(registry, images), "but the cache knows better than to fetch"


def test_a_failing_image(two: Path, registry: Registry, images: dict[str, PushedImage]) -> None:
    doit("-n", "4")
    made = sums()
    define(registry, one=["doit/shared-one:v1", NONE], two=["doit/shared-two:v1", "doit/oci-single:v1"])
    Path("two.tar.gz").unlink()
    registry.clear_requests()
    failed = doit("-n", "4", code=2)
    assert "TaskFailed - taskid:pack:one\nnot all images are known: kinds/none:v1" in failed.stdout
    assert done(failed, but=("probe", "resolve", "fetch", "pack")) == ["compress:two", "split:two"]
    assert sums() == made, "the archive of the failing bundle is as it was, the other one made again"
    push_kind(registry, "oci-single", "kinds/none")
    registry.clear_requests()
    assert "split:one" in done(doit("-n", "4"))
    assert not layers_asked_for(registry, {"shared-one": images["shared-one"]}), "nothing again"
    assert sums()["one.tar.gz"] != made["one.tar.gz"]
    registry.delete_tag("kinds/none", "v1")


def test_a_layer_that_fails(two: Path, registry: Registry, images: dict[str, PushedImage], proxy: FaultProxy) -> None:
    """Here the image is known, but cannot be fetched."""
    define(registry, ", retry: 0", one=["doit/oci-single:v1"], two=["doit/shared-two:v1"])
    FILE.write_text(FILE.read_text().replace(registry.host, proxy.host))
    broken = images["oci-single"].platforms[0].layers[0]
    proxy.fault(broken, Status(404), times=None)
    failed = doit(code=2)
    assert not Path("one.tar.gz").exists() and Path("two.tar.gz").exists()
    assert f"TaskFailed - taskid:fetch:{broken}" in failed.stdout
    proxy.clear()
    registry.clear_requests()
    assert "split:one" in done(doit())
    assert layers_asked_for(registry, images)[broken] == 1


def test_a_stranger_at_a_destination_is_named_by_every_task(two: Path, registry: Registry) -> None:
    """No lock is left over from the first task, that would be in the way of the others."""
    stranger = Path("two.tar.gz.part7")
    stranger.write_text("mine")
    failed = doit(code=2)
    assert f"are of no bundle that is known: {stranger.absolute()}" in failed.stdout
    assert "in use by another run" not in failed.stdout + failed.stderr
    assert registry.blob_gets == []
    stranger.unlink()
    doit()
    assert not list(Path().glob(".tmp-*"))


def test_from_a_folder_below_beside_their_settings_and_tasks(two: Path) -> None:
    Path("sub").mkdir()
    Path("pyproject.toml").write_text('[tool.doit]\nbackend = "json"\ndep_file = "theirs.json"\nverbosity = "2"\n')
    assert names(doit("-f", "../dodo.py", "list", cwd=Path("sub")).stdout) == GROUPS
    Path("dodo.py").write_text(DODO + 'def task_lint():\n    return {"actions": ["touch linted"]}\n')
    assert done(doit("-k", "-n", "4", "pack", "lint", cwd=Path("sub")))[-1].startswith(("lint", "split:"))
    assert Path("linted").exists()
    assert Path("one.tar.gz").exists() and not Path("theirs.json").exists()
    wrong = doit("-f", "../dodo.py", "--dir", ".", "list", cwd=Path("sub"), code=3).stderr
    assert wrong.rstrip() == f"ERROR: no bundle definition matches *.yaml in {Path('sub').absolute()}"


def test_one_run_at_a_time(two: Path, registry: Registry, images: dict[str, PushedImage], proxy: FaultProxy) -> None:
    """doit and image-tools on one cache; and Ctrl-C, which leaves no skopeo (the fixture ``no_leftovers`` looks)."""
    FILE.write_text(FILE.read_text().replace(registry.host, proxy.host))
    for layer in images["shared-one"].layers:
        proxy.fault(layer, Stall(60, after=100), times=None)
    with spawn("-n", "4", command=DOIT) as running:
        running.wait_for("copying doit/shared-one:v1 linux/amd64")
        busy = image_tools("save", "-config", FILE)
        assert busy.code == EXIT_COULD_NOT and f"is in use by another run (process {running.pid}" in busy.stderr
        also = doit("resolve", code=2)
        assert f"is in use by another run (process {running.pid}" in also.stdout
        assert doit("clean").stderr.startswith("nothing is removed: the cache ")
        started = time.monotonic()
        running.signal_group(signal.SIGINT)
        assert running.wait(10).code != 0
        assert time.monotonic() - started < 5
    proxy.clear()
    assert done(doit("-n", "4"))[-1].startswith("split:")


@pytest.mark.parametrize("option", ["-P process", "-Pprocess", "--parallel-type=process"])
def test_processes_are_refused(two: Path, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["doit", "-n", "2", *option.split()])
    assert refusal() == ["these tasks share a cache, and so a process: use 'doit -n N -P thread'"]


def test_locks_are_no_definitions_and_can_be_held_to(two: Path, registry: Registry) -> None:
    save("-lock")
    made = sums()
    push_kind(registry, "oci-index", "doit/oci-single")
    try:
        write(DODO.replace('"*.yaml"', '"*.yaml", locked=True'), Path("dodo.py"))
        registry.clear_requests()
        assert done(doit(), but=()) == [], "the lock says it all"
        assert not registry.requests() and sums() == made
        write(DODO, Path("dodo.py"))
        assert "tar:one" in done(doit("-n", "4")) and sums() != made, "the tag has moved"
        Path("two.lock.yaml").unlink()
        assert refusal(locked=True)[0].startswith(f"cannot read the lock {Path('two.lock.yaml').absolute()}")
    finally:
        push_kind(registry, "oci-single", "doit/oci-single")


def test_definitions_that_do_not_go_together() -> None:
    write("bundles: {one: {images: [nginx]}}", Path("a.yaml"))
    write("bundles: {one: {images: [nginx]}, two: {images: [nginx], source: m.example.com, cache: c}}", Path("b.yaml"))
    write("bundles: {three: {images: [nginx], source: m.example.com, destination: one.tar.gz}}", Path("c.yaml"))
    here = Path.cwd()
    assert refusal() == [
        "b.yaml: another definition has a bundle 'one' too",
        "the bundles name different caches; one dodo.py works on one: set 'cache' alike in 'defaults'",
        f"'destination' of 'three' is 'destination' of 'one', too: {here}/one.tar.gz",
        "docker.io/library/nginx:latest comes from docker.io/library/nginx:latest in 'one' and from "
        "m.example.com/library/nginx:latest in 'three', but one cache holds one of them: use one source, or give the bundles a "
        "'cache' each",
    ]


def test_our_own_dodo(work: Path) -> None:
    shutil.copy(ROOT / "dodo.py", work)
    shutil.copytree(ROOT / "configs", work / "configs")
    listed = doit("list", "--all").stdout
    assert {"pack:demo", "pack:demo-edge", "pack:rke2", "pack:rancher"} <= set(names(listed))
