"""Whole screens, at four widths, as they were looked at: a save of sixty images, and each way in which one fails.

``testdata/screens`` holds them; ``UPDATE_SCREENS=1`` writes them anew, to be looked at.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.images import image, index, layer
from tests.support.proxy import FaultProxy, Status
from tests.support.push import push
from tests.support.registry import Registry, RegistryFactory
from tests.support.run import ROOT
from tests.system.display.screen import Terminal
from tests.system.save.conftest import work  # noqa: F401
from tests.system.save.saving import ARCHIVE, PLAIN

SCREENS = ROOT / "tests/testdata/screens"
WIDTHS = (60, 80, 120, 200)
VARYING = (
    (r"127\.0\.0\.1:\d{5}", "127.0.0.1:55555"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-11-27 12:00:00"),
    (r"sha256:[0-9a-f]{64}", f"sha256:{'0123456789abcdef' * 4}"),
    (r" in [0-9.]+ s(, [0-9.]+ [kMG]?B/s)?", " in 0.5 s"),  # a rate only where it took some time
    (r"[0-9.]+ [kMG]B of [0-9.]+ [GT]B free", "20.0 MB of 80.0 GB free"),
    (r"does not resolve \([A-Z][a-z ]+\)", "does not resolve (Name or service not known)"),  # as its resolver says it
    (r"(saved-images\.tar\.gz  )[0-9.]+ kB", r"\g<1>100.0 kB"),
    (r"sent [0-9.]+ kB", "sent 100.0 kB"),
    (r"packed [0-9.]+ kB", "packed 100.0 kB"),
    (r"nothing more of it for \d s", "nothing more of it for 2 s"),
)
"""What is another at each run, and what stands for it, of the same width where it matters."""


def as_kept(terminal: Terminal) -> str:
    """What stands there, with what varies replaced before it is wrapped."""
    lines = []
    for line in terminal.lines:
        for pattern, text in VARYING:
            line = re.sub(pattern, text, line)
        width = terminal.columns
        lines += [line[at : at + width] for at in range(0, max(1, len(line)), width)]
    return "\n".join(lines).strip("\n") + "\n"


def check(name: str, arguments: Sequence[str | Path], code: int) -> None:
    for columns in WIDTHS:
        with Terminal(*arguments, columns=columns, rows=40, env={"HOME": str(Path.cwd())}) as terminal:
            assert terminal.wait() == code, terminal.raw
            found = as_kept(terminal)
        path = SCREENS / f"{name}-{columns}.txt"
        if os.environ.get("UPDATE_SCREENS"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(found)
        assert found == path.read_text(), f"if this is better: UPDATE_SCREENS=1, and look at {path.name}"
        for each in (ARCHIVE, ARCHIVE.with_name(f"{ARCHIVE.name}.sha256"), Path("save-failed.txt")):
            each.unlink(missing_ok=True)


def a_list(names: Sequence[str]) -> str:
    Path("list.txt").write_text("".join(f"{name}\n" for name in names))
    return "list.txt"


@pytest.fixture(scope="session")
def sixty(registry: Registry) -> list[str]:
    """Sixty small images for two platforms, of which all share a layer."""
    base = layer("screens/base", 30_000, "")
    for number in range(60):
        parts = [image(f"linux/{arch}", [base, layer(f"screens/{number}/{arch}", 2_000, "")]) for arch in ("amd64", "arm64")]
        push(registry, f"screens/app{number:02}", "v1", index(*parts))
    return [f"{registry.host}/screens/app{number:02}:v1" for number in range(60)]


def test_sixty_images(sixty: list[str]) -> None:
    check("sixty", ("save", "-f", a_list(sixty), PLAIN), 0)


def test_some_that_are_not_there(registry: Registry, sixty: list[str]) -> None:
    gone = [f"{registry.host}/screens/gone{number}:v1" for number in range(9)]
    check("not-found", ("save", "-f", a_list([sixty[0], *gone, sixty[1]]), PLAIN), 1)


def test_a_login_is_lacking(login_registry: Registry) -> None:
    names = [f"{login_registry.host}/team/app{number}:v1" for number in range(60)]
    check("denied", ("save", "-f", a_list(names), "-cert-dir", login_registry.cert_dir), 3)


def test_an_unknown_certificate(tls_registry: Registry) -> None:
    check("certificate", ("save", "-f", a_list([f"{tls_registry.host}/team/app{number}:v1" for number in range(60)])), 3)


def test_no_tls_where_it_was_expected(registry: Registry) -> None:
    check("no-tls", ("save", "-f", a_list([f"{registry.host}/team/app{number}:v1" for number in range(60)])), 3)


def test_a_name_that_does_not_resolve() -> None:
    check("name", ("save", "-f", a_list([f"registry.invalid/team/app{number}:v1" for number in range(60)])), 3)


def test_too_many_requests(proxy: FaultProxy, sixty: list[str]) -> None:
    proxy.fault("/manifests/", Status(429, retry_after=1), times=None)
    name = sixty[0].replace(sixty[0].partition("/")[0], proxy.host)
    check("too-many", ("save", "-f", a_list([name]), PLAIN, "-retry", "0"), 3)


def test_the_other_side(sixty: list[str], fresh_registry: RegistryFactory) -> None:
    with Terminal("save", *sixty[:12], PLAIN, "-progress", "none") as terminal:
        assert terminal.wait() == 0
    made, target = ARCHIVE.rename("bundle.tar.gz"), fresh_registry()
    check("ls", ("ls", made), 0)
    check("verify", ("verify", made), 0)
    check("load", ("load", made, "-d", target.host, PLAIN), 0)
    check("compared", ("verify", made, "-registry", target.host, PLAIN), 0)


def test_an_address_in_use(sixty: list[str]) -> None:
    with Terminal("save", *sixty[:1], PLAIN, "-progress", "none") as terminal:
        assert terminal.wait() == 0
    made = ARCHIVE.rename("bundle.tar.gz")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        check("in-use", ("serve", made, "-listen", f"127.0.0.1:{taken.getsockname()[1]}"), 3)
