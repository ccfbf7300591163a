"""Parts of a list: whose number an engine gives, killed and run again, and merged to the bytes of one save."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.support.images import image, index, layer
from tests.support.proxy import FaultProxy, Slow, Status
from tests.support.push import push
from tests.support.registry import Registry
from tests.support.run import spawn
from tests.system.deltas.releases import Releases
from tests.system.load.loading import PLAIN, command

IMAGES = 60


def listed(registry: Registry, host: str) -> Path:
    """Sixty images on four bases."""
    path = Path("images.txt")
    names = []
    for number in range(IMAGES):
        base = layer(f"shards/base/{number % 4}", 20_000)
        made = index(*(image(each, [base, layer(f"shards/{number}/{each}", 2000)]) for each in ("linux/amd64", "linux/arm64")))
        names.append(push(registry, f"shards/{number:02}", "v1", made).via(host))
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def arguments(part: int, folder: Path) -> list[str]:
    return ["-f", "images.txt", PLAIN, "-a", "all", "-j", "4", "-locked", "-shard", f"{part}/3",
            "-cache", str(folder / f"cache-{part}"), "-d", str(folder / f"part-{part}.tar.gz")]  # fmt: skip


def test_three_parts_one_of_them_killed_are_the_bytes_of_one_save(registry: Registry, proxy: FaultProxy, work: Path) -> None:
    listed(registry, proxy.host)
    assert command("lock", "-f", "images.txt", PLAIN, "-a", "all", "-j", "4", "-cache", "lock-cache").code == 0
    for part in (1, 2):
        assert command("save", *arguments(part, work)).code == 0
    proxy.clear()
    proxy.fault("/blobs/", Slow(20_000), method="GET", times=None)
    with spawn("save", *arguments(3, work)) as killed:
        proxy.wait_for("/blobs/", 12)
        time.sleep(0.3)
        killed.signal_group(signal.SIGKILL)
        assert killed.wait().code == -signal.SIGKILL
    assert not (work / "part-3.tar.gz").exists()
    proxy.clear()
    assert command("save", *arguments(3, work)).code == 0
    again = {seen.path for seen in proxy.requests if "/blobs/" in seen.path and seen.method == "GET"}
    assert again, "it was killed before it had all"
    full = command(
        "save", "-f", "images.txt", PLAIN, "-a", "all", "-j", "4", "-locked", "-cache", "lock-cache", "-d", "full.tar.gz"
    )
    assert full.code == 0
    parts = [work / f"part-{part}.tar.gz" for part in (3, 1, 2)]
    assert command("merge", *parts, "-d", "merged.tar.gz").code == 0
    assert Path("merged.tar.gz").read_bytes() == Path("full.tar.gz").read_bytes()


@pytest.mark.parametrize(
    ("variables", "shard", "said"),
    [
        ({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "3"}, "auto/3", ""),
        ({"JOB_COMPLETION_INDEX": "1"}, "auto/3", ""),
        ({"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "3"}, "auto/3", ""),
        ({"BUILDKITE_PARALLEL_JOB": "1", "BUILDKITE_PARALLEL_JOB_COUNT": "3"}, "auto/3", ""),
        ({"IMAGE_TOOLS_SHARD": "2/3", "CI_NODE_INDEX": "1"}, "auto/3", ""),
        ({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "1"}, "auto/3", "is one of 1, and 3 parts were asked for"),
        ({"IMAGE_TOOLS_SHARD": "two"}, "auto/3", "IMAGE_TOOLS_SHARD is 'two', and no number"),
        ({"JOB_COMPLETION_INDEX": "3"}, "auto/3", "there is no part 4 of 3"),
        ({}, "auto/3", "auto/N needs an engine that numbers its jobs"),
        ({}, "4/3", "there is no part 4 of 3"),
        ({}, "0/3", "there is no part 0 of 3"),
        ({}, "three", "use I/N, e.g. 1/3, or auto/N"),
        ({}, "1/40", "is empty"),
    ],
)
def test_the_number_of_a_part(
    variables: dict[str, str], shard: str, said: str, releases: Releases, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if shard == "1/40":
        shard = "40/40"
    result = releases.save("first", work / "part.tar.gz", "-locked", "-shard", shard, "-dry-run")
    assert (result.code, said in result.stderr) == ((2, True) if said else (0, True)), result


def test_a_part_needs_a_lock(releases: Releases, work: Path) -> None:
    result = releases.save("first", work / "part.tar.gz", "-shard", "1/3")
    assert result.code == 2 and "it goes with -locked" in result.stderr


def test_a_part_of_which_an_image_failed_is_named_by_merge(registry: Registry, proxy: FaultProxy, work: Path) -> None:
    names = [
        push(registry, f"lost/{name}", "v1", image("linux/amd64", [layer(f"lost/{name}")])).via(proxy.host) for name in "ab"
    ]
    Path("images.txt").write_text("".join(f"{name}\n" for name in names))
    assert command("lock", "-f", "images.txt", PLAIN, "-shards", "2", "-cache", "one").code == 0
    proxy.fault("/lost/a/blobs/", Status(404), times=None)
    part = command("save", "-f", "images.txt", PLAIN, "-locked", "-shard", "1/1", "-cache", "two", "-d", "1.tar.gz")
    assert part.code == 1, part
    result = command("merge", "1.tar.gz", "-d", "merged.tar.gz")
    assert result.code == 2 and f"part 1 of 1 lacks {names[0]}, which failed there" in result.stderr, result
