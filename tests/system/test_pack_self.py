"""``image-tools pack-self``: what it makes is installed, and works, where there is no network.

(By hand also in a bare root that debootstrap made, without Python: docs/installation.md.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import __version__
from tests.support.registry import RegistryFactory
from tests.support.run import run

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket() as found:
    fcntl.ioctl(found, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack-self") / "a stick" / "image-tools"
    folder.parent.mkdir()
    result = run("pack-self", "-d", folder, "-python", THIS)
    assert result.code == 0, result
    assert "sh image-tools/install.sh" in result.stdout
    return folder


@pytest.fixture(scope="module")
def installed(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, installed in a network namespace that has no route."""
    folder = tmp_path_factory.mktemp("installed") / "image-tools"
    done = subprocess.run(["unshare", "-n", "sh", packed / "install.sh", folder], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert f"image-tools {__version__} is at {folder}/image-tools" in done.stderr
    return folder / "image-tools"


def offline(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """With a loopback, and nothing else."""
    words = [sys.executable, "-c", LOOPBACK_UP, *map(str, command)]
    return subprocess.run(["unshare", "-n", *words], capture_output=True, text=True)


@pytest.fixture
def work(clean_environment: Path) -> Iterator[Path]:
    yield clean_environment


def test_it_has_all_that_an_empty_system_needs(packed: Path) -> None:
    names = {path.name.partition("_")[0] for path in (packed / "packages").glob("*.deb")}
    assert {"skopeo", "python3", "ca-certificates", "libc6"} <= names
    index = (packed / "packages/Packages").read_text()
    assert {line.removeprefix("Package: ") for line in index.splitlines() if line.startswith("Package: ")} == names
    assert [path.name for path in (packed / "wheels").glob("image_tools-*.whl")]
    assert [path.name for path in (packed / "wheels").glob("pip-*.whl")]
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=packed, check=True)


def test_the_demo_without_a_network(installed: Path, work: Path) -> None:
    done = offline(installed, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    checked = offline(installed, "verify", "image-tools-demo/saved-images.tar.gz")
    assert checked.stdout.startswith("all is intact: 6 images")


def test_damage_is_seen_before_anything_is_installed(packed: Path, work: Path) -> None:
    copy = work / "copy"
    subprocess.run(["cp", "-r", packed, copy], check=True)
    [wheel] = (copy / "wheels").glob("doit-*.whl")
    wheel.write_bytes(wheel.read_bytes()[:-1])
    done = subprocess.run(["sh", copy / "install.sh", work / "to"], capture_output=True, text=True)
    assert done.returncode == 3
    assert "is damaged: copy it again" in done.stderr
    assert not (work / "to").exists()


def test_a_tool_of_uv_from_the_wheel(packed: Path, work: Path, fresh_registry: RegistryFactory) -> None:
    """In an environment of its own: demo, save, load."""
    uv = Path(sys.executable).with_name("uv")
    places = {"UV_TOOL_DIR": f"{work}/tools", "UV_TOOL_BIN_DIR": f"{work}/bin", "UV_CACHE_DIR": f"{work}/uv"}
    options = ["--offline", "--no-index", "--find-links", str(packed / "wheels"), "--python", sys.executable, "--quiet"]
    subprocess.run([uv, "tool", "install", *options, "image-tools"], env={**os.environ, **places}, check=True)
    tool, registry = work / "bin/image-tools", fresh_registry()

    def ok(*arguments: str) -> str:
        done = subprocess.run([tool, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    ok("demo")
    ok("load", "image-tools-demo/saved-images.tar.gz", "-d", registry.host, "-tls-verify=false")
    saved = ok("save", "demo/web:1.1", "-s", registry.host, "-tls-verify=false", "-d", "web.tar.gz", "-report", "web.html")
    assert "saved 1 of 1 images" in saved
    assert "web:1.1" in Path("web.html").read_text(), "the page's template came along"
    assert "failed" not in ok("load", "web.tar.gz", "-d", f"{registry.host}/again", "-tls-verify=false")


@pytest.mark.parametrize(
    "arguments, message", [(("-python", "2.7"), "is no Python that"), (("-d", "file/below"), "cannot write to")]
)
def test_what_cannot_be(work: Path, arguments: tuple[str, ...], message: str) -> None:
    (work / "file").touch()
    result = run("pack-self", *arguments)
    assert result.code in (2, 3)
    assert message in result.stderr
    assert sorted(path.name for path in work.iterdir()) == ["file"]
