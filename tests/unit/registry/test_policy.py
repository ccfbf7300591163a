"""What a signature policy asks of a name: the most specific scope decides, as containers-policy.json(5) has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import reference
from pipeline.registry.policy import SignaturePolicy

ANY = [{"type": "insecureAcceptAnything"}]
REJECT = [{"type": "reject"}]
SIGNED = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/key.gpg"}]
NAME = "r.example.com:5000/team/app/web@sha256:" + "1" * 64


def asks(folder: Path, default: Any, scopes: dict[str, Any], name: str = NAME) -> bool:
    path = folder / "policy.json"
    path.write_text(json.dumps({"default": default, "transports": {"docker": scopes, "oci": {"": REJECT}}}))
    return SignaturePolicy(path).asks_for_more(reference.parse(name))


@pytest.mark.parametrize(
    ("default", "scopes", "expected"),
    [
        (ANY, {}, False),
        (REJECT, {}, True),
        (SIGNED, {}, True),
        (REJECT, {"": ANY}, False),
        (ANY, {"": REJECT}, True),
        (REJECT, {"r.example.com:5000": ANY}, False),
        (ANY, {"r.example.com:5000": ANY, "r.example.com:5000/team": SIGNED}, True),
        (REJECT, {"": REJECT, "r.example.com:5000": REJECT, "r.example.com:5000/team/app/web": ANY}, False),
        (ANY, {NAME: SIGNED, "r.example.com:5000/team/app/web": ANY}, True),
        (ANY, {"r.example.com": SIGNED, "r.example.com:5000/te": SIGNED}, False),
        (ANY, {"*.example.com": SIGNED}, True),
        (ANY, {"*.com": SIGNED}, True),
        (SIGNED, {"*.com": SIGNED, "*.example.com": ANY}, False),
        (ANY, {"*.r.example.com": SIGNED}, False),
        (ANY, {"": [*ANY, *SIGNED]}, True),
        (ANY, {"": []}, True),
        (ANY, {"": "nonsense"}, True),
        (ANY, {"": ["nonsense"]}, True),
    ],
)
def test_scopes(tmp_path: Path, default: Any, scopes: dict[str, Any], expected: bool) -> None:
    assert asks(tmp_path, default, scopes) is expected


def test_docker_hub_is_called_by_its_whole_name(tmp_path: Path) -> None:
    assert asks(tmp_path, ANY, {"docker.io/library/nginx": SIGNED}, "nginx:1.25")
    assert asks(tmp_path, ANY, {"docker.io/library/nginx:1.25": SIGNED}, "nginx:1.25")
    assert not asks(tmp_path, ANY, {"docker.io/library/nginx:1.25": SIGNED}, "nginx:1.26")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"default": {}}', '{"transports": []}', '{"default": []}'])
def test_what_cannot_be_understood_is_for_skopeo_to_decide(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.json").write_text(text)
    assert SignaturePolicy(tmp_path / "policy.json").asks_for_more(reference.parse(NAME))


def test_the_users_own_comes_before_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("pipeline.registry.policy.SYSTEM_POLICY", tmp_path / "system.json")
    assert not SignaturePolicy(None).asks_for_more(reference.parse(NAME)), "nobody asks for anything"
    (tmp_path / "system.json").write_text(json.dumps({"default": REJECT}))
    assert SignaturePolicy(None).asks_for_more(reference.parse(NAME))
    (tmp_path / ".config/containers").mkdir(parents=True)
    (tmp_path / ".config/containers/policy.json").write_text(json.dumps({"default": ANY}))
    assert not SignaturePolicy(None).asks_for_more(reference.parse(NAME))
