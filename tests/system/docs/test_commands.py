"""Every command in README and docs runs as shown: in an empty folder, with a clean HOME, against real registries.

A block of shell is run as it stands, but for the names of hosts and places that are nobody's (``PLACES``). The images that
the documents name are in a registry of the tests, to which ``registries.conf`` sends what is asked of docker.io and the
others. A block that cannot run is preceded by ``<!-- not run: why -->``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.images import image, index, layer
from tests.support.push import push
from tests.support.registry import Registry
from tests.support.run import ROOT
from tests.system.save.conftest import work  # noqa: F401

DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
SHELL = ("sh", "bash", "console")
HOSTS = ("docker.io", "quay.io", "mirror.example.com", "registry.example.com:5000")
MAX_NOT_RUN = 4
BEFORE = {"docs/load.md": "image-tools save -f rancher-images.txt"}
"""Documents that begin where another one has ended."""
_FENCE = re.compile(r"(?:<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    line: int
    not_run: str

    @property
    def is_shell(self) -> bool:
        return self.kind in SHELL


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text()
    return [
        Block(match["kind"], match["text"], text.count("\n", 0, match.start("kind")) + 1, match["why"] or "")
        for match in _FENCE.finditer(text)
    ]


def images(*texts: str) -> set[str]:
    """Repository and tag of what is on docker.io and the other hosts."""
    found = re.findall(r"\b((?:rancher|jetstack|team)/[a-z0-9-]+:[\w.-]+)", "\n".join(texts))
    return {*found, "library/nginx:latest", "library/nginx:1.27", "library/redis:7"}


@pytest.fixture(scope="session")
def world(tls_registry: Registry) -> Registry:
    """The registry that has all that the documents name."""
    texts = [(ROOT / document).read_text() for document in DOCUMENTS]
    texts += [path.read_text() for path in (ROOT / "configs").glob("rke2*")]
    base = {each: layer(f"docs/base/{each}", 20_000) for each in ("linux/amd64", "linux/arm64")}
    for name in sorted(images(*texts)):
        repository, _, tag = name.rpartition(":")
        push(tls_registry, repository, tag, index(*(image(each, [base[each], layer(f"docs/{name}/{each}")]) for each in base)))
    return tls_registry


@pytest.fixture
def place(world: Registry, work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811  (the fixture)
    """The empty folder; HOME knows the registry, and PATH the program."""
    containers = Path(os.environ["HOME"], ".config", "containers")
    certificates = containers / "certs.d" / world.host
    certificates.mkdir(parents=True)
    shutil.copy(world.cert_dir / "ca.crt", certificates / "ca.crt")
    entries = [f'[[registry]]\nprefix = "{host}"\nlocation = "{world.host}"\n' for host in HOSTS]
    (containers / "registries.conf").write_text("".join(entries))
    program = work / "image-tools"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m pipeline "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{work}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return work


def prepare(document: str, place: Path) -> None:
    """What the text around the blocks says is there: files whose name stands in their first line, and our configs."""
    for block in blocks(document):
        if block.kind == "txt" and (name := re.match(r"# ([\w.-]+\.txt)\n", block.text)):
            (place / name[1]).write_text(block.text)
        if block.kind == "python" and "bundle_tasks" in block.text:
            (place / "dodo.py").write_text(block.text)
    shutil.copytree(ROOT / "configs", place / "configs", ignore=shutil.ignore_patterns("*.lock.yaml"))
    # A few of its images are enough to see that its commands work.
    listed = place / "configs" / "rke2-images.txt"
    listed.write_text("".join(listed.read_text().splitlines(keepends=True)[:4]))
    if not (place / "rancher-images.txt").exists():
        (place / "rancher-images.txt").write_text("rancher/rancher:v2.7.0\n")
    if "git add" in (ROOT / document).read_text():
        subprocess.run(["git", "init", "-q"], check=True)


def places(world: Registry, port: int) -> dict[str, str]:
    """Names that are nobody's, and where they are here."""
    return {
        r"registry\.internal(:5000)?": world.host,
        "/media/stick": "stick",
        "image-tools serve +": f"image-tools serve -listen 127.0.0.1:{port} ",
        r"127\.0\.0\.1:5000": f"127.0.0.1:{port}",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(command: str, port: int) -> Iterator[None]:
    """A server of a block, for the rest of its document."""
    with Path("server.log").open("wb") as log:
        server = subprocess.Popen(["bash", "-c", f"exec {command}"], stdout=log, stderr=log, start_new_session=True)
    try:
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.poll() is None, Path("server.log").read_text()
            time.sleep(0.05)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(10)


def typed(block: Block) -> str:
    """The commands: of a console, what stands after the prompt."""
    if block.kind != "console":
        return block.text
    return "".join(line.removeprefix("$ ") for line in block.text.splitlines(keepends=True) if line.startswith("$ "))


def shell(script: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if any(b.is_shell and not b.not_run for b in blocks(each))])
def test_commands_run_as_shown(document: str, place: Path, world: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(document, place)
    port = free_port()
    # As configs/demo.yaml says: where the bundle of the demo is served.
    monkeypatch.setenv("DEMO_REGISTRY", f"127.0.0.1:{port}")
    assert shell(BEFORE.get(document, ":")).returncode == 0
    with contextlib.ExitStack() as servers:
        for block in blocks(document):
            if not block.is_shell or block.not_run:
                continue
            text = typed(block)
            for name, here in places(world, port).items():
                text = re.sub(name, here, text)
            server = re.search(r"^(\S*image-tools serve [^#&\n]*[^#&\s])[^\n]*\n", text, re.MULTILINE)
            script = text.replace(server[0], "") if server else text
            done = shell(script)
            assert done.returncode == 0, f"{document}:{block.line}\n{script}\n{done.stdout}\n{done.stderr}"
            if server:
                servers.enter_context(serving(server[1], port))


def test_few_blocks_are_not_run() -> None:
    every = [(document, block) for document in DOCUMENTS for block in blocks(document)]
    left_out = [f"{document}:{block.line}: {block.not_run}" for document, block in every if block.not_run]
    assert len(left_out) <= MAX_NOT_RUN, left_out


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert ((ROOT / document).parent / target).exists(), target


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    text = (ROOT / "docs" / "terminal.svg").read_text()
    assert set(re.findall(r"https?://[^\"' )]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "load&#160;-s" in text or "load -s" in text
