"""Mirrors: one state of a tag, and no waiting for what does not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.bundle import Access
from pipeline.core.errors import RegistryError
from pipeline.core.interruption import Interruption
from pipeline.core.oci import Digest
from pipeline.core.reference import parse
from pipeline.registry.distribution import Distribution
from tests.unit.registry.servers import Reply, Request, Server

DATA = b"{}"
NAMED = {"Docker-Content-Digest": str(Digest.of(DATA))}


def configure(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    Path("registries.conf").write_text(text)
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", "registries.conf")


def make(retries: int = 0) -> Distribution:
    return Distribution(Access(tls_verify=False, retries=retries), Interruption(), connections=2)


def mirrored(monkeypatch: pytest.MonkeyPatch, registry: Server, mirror: Server) -> None:
    text = f'[[registry]]\nlocation = "{registry.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}"\n'
    configure(monkeypatch, text)


def test_a_blocked_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, '[[registry]]\nprefix = "r.invalid/team"\nlocation = "r.invalid/team"\nblocked = true\n')
    for ask in (make().probe, make().head, make().manifest):
        with pytest.raises(RegistryError, match=r"^r\.invalid/team/app is blocked in registries\.conf") as caught:
            ask(parse("r.invalid/team/app:v1"))
        assert not caught.value.cause.can_pass


def test_head_and_get_of_a_tag_go_to_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror has no such tag when HEAD is asked; a moment later it has."""
    has = [False]

    def late(request: Request) -> Reply:
        if request.method == "GET" and not has[0]:
            has[0] = True
            return 404, {}, b""
        return (200, NAMED, DATA) if has[0] else (404, {}, b"")

    with Server(lambda request: (200, NAMED, DATA)) as registry, Server(late) as mirror:
        mirrored(monkeypatch, registry, mirror)
        distribution = make()
        assert distribution.head(parse(f"{registry.host}/app:v1")) is not None
        mirror.seen.clear()
        assert distribution.manifest(parse(f"{registry.host}/app:v1")) == DATA
        assert not mirror.seen


def test_a_mirror_that_does_not_work_is_left_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with Server(lambda request: (200, NAMED, DATA)) as registry, Server(lambda request: (503, {}, b"")) as mirror:
        mirrored(monkeypatch, registry, mirror)
        distribution = make()
        for tag in ("v1", "v2", "v3"):
            assert distribution.manifest(parse(f"{registry.host}/app:{tag}")) == DATA
        assert mirror.asked() == ["GET /v2/app/manifests/v1"]


def test_a_mirror_that_has_not_got_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(lambda request: (200, NAMED, DATA)) as registry, Server(lambda request: (404, {}, b"")) as mirror:
        mirrored(monkeypatch, registry, mirror)
        distribution = make()
        for tag in ("v1", "v2"):
            assert distribution.manifest(parse(f"{registry.host}/app:{tag}")) == DATA
        assert mirror.asked() == ["GET /v2/app/manifests/v1", "GET /v2/app/manifests/v2"]


def test_one_that_works_is_enough_for_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site may reach its mirror only."""
    with Server(lambda request: (200, {}, DATA)) as mirror:
        text = f'[[registry]]\nlocation = "r.invalid"\n[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        configure(monkeypatch, text)
        make().probe(parse("r.invalid/app:v1"))
