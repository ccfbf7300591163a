"""What a registry is asked for, and what lies on the disk: ours beside ``skopeo sync``, first run and rerun.

    .venv/bin/python benchmarks/requests.py [IMAGES]

Images for amd64 and arm64 on two shared layers, in Debian's docker-registry on this machine; requests are counted in the
registry's own access log. Nothing is timed, so one run is enough.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.images import image, index, layer
from tests.support.push import push
from tests.support.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
PLATFORMS = ("linux/amd64", "linux/arm64")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as name, Registry(Path(name, "registry")) as registry:
        work = Path(name, "work")
        work.mkdir()
        shared = {each: [layer(f"base/{each}", 200_000), layer(f"runtime/{each}", 100_000)] for each in PLATFORMS}
        names = []
        for number in range(count):
            images = [image(each, [*shared[each], layer(f"own/{number}/{each}", 50_000)]) for each in PLATFORMS]
            names.append(push(registry, f"team/image-{number}", "v1", index(*images)))
        (work / "list.txt").write_text("".join(f"{each.reference}\n" for each in names))
        tags = "".join(f'    team/image-{number}: ["v1"]\n' for number in range(count))
        (work / "sync.yaml").write_text(f"{registry.host}:\n  tls-verify: false\n  images:\n{tags}")
        version = subprocess.run(["skopeo", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        print(f"{count} images, 2 platforms, 3 layers each of which 2 are shared; {version}\n")
        print("| | requests, first run | rerun | of them blobs, first run | rerun | bytes on the disk |")
        print("| --- | --- | --- | --- | --- | --- |")
        row("image-tools save -compress=dir", registry, work / "saved-image-cache", lambda: ours(work))
        row("skopeo sync --all", registry, work / "synced", lambda: theirs(work))


def row(name: str, registry: Registry, folder: Path, run: Callable[[], None]) -> None:
    figures = []
    for _ in range(2):
        registry.clear_requests()
        run()
        figures.append((len(registry.requests()), len(registry.blob_gets)))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    (first, blobs), (again, blobs_again) = figures
    print(f"| `{name}` | {first} | {again} | {blobs} | {blobs_again} | {size:,} |")


def ours(work: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "save", "-f", "list.txt", "-compress=dir", "-tls-verify=false", "-j", "4"]
    subprocess.run(command, cwd=work, check=True, capture_output=True, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})


def theirs(work: Path) -> None:
    # It refuses to overwrite what an earlier run has written, so that is all that a rerun can do.
    shutil.rmtree(work / "synced", ignore_errors=True)
    (work / "synced").mkdir()
    command = ["skopeo", "sync", "--all", "--src", "yaml", "--dest", "dir", "sync.yaml", "synced"]
    subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
