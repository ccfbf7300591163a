"""``-require-signed``: skopeo holds each platform to a policy, with real GPG signatures in a lookaside store.

Debian's skopeo 1.9.3 has sigstore switched off, so that nothing satisfies ``sigstoreSigned`` there: only that it refuses is
tested.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.dodo import bundle_tasks
from tests.support.images import image, index, layer
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import ROOT, Result, skopeo
from tests.support.signatures import Key, cosign_tag, push_image, signature
from tests.support.tools import require
from tests.system.bundles.helpers import DODO, define, doit
from tests.system.referrers.signed import KEY, Along, Signed, brought
from tests.system.save.saving import ARCHIVE, FAILED, command, lines, save, saved

WHO = "tests@example.invalid"


@dataclass(frozen=True)
class Gpg:
    """A key pair, and where signatures lie. ``public`` is the key that policies name."""

    home: Path
    public: Path
    store: Path

    def sign(self, pushed: PushedImage, platform: str, name: str = "") -> None:
        """Into the lookaside store, as ``skopeo copy --sign-by`` would; GPG simple signing of its own name, or another."""
        found = pushed.platform(platform)
        manifest = self.home / "manifest.json"
        manifest.write_bytes(found.raw)
        place = self.store / f"{pushed.repository}@{found.manifest.replace(':', '=')}"
        place.mkdir(parents=True, exist_ok=True)
        name = name or f"{pushed.host}/{pushed.repository}:{pushed.tag}"
        self._run("skopeo", "standalone-sign", str(manifest), name, WHO, "--output", str(place / "signature-1"))

    def make_key(self) -> None:
        self._run("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", WHO, "ed25519", "sign", "never")
        self._run("gpg", "--batch", "--output", str(self.public), "--export", WHO)

    def kill_agent(self) -> None:
        self._run("gpgconf", "--kill", "all")

    def _run(self, *arguments: str) -> None:
        environment = {"GNUPGHOME": str(self.home), "HOME": str(self.home), "PATH": os.environ["PATH"]}
        result = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=30)
        assert result.returncode == 0, (arguments, result.stderr)


@pytest.fixture(scope="session")
def gpg() -> Iterator[Gpg]:
    """A key of this session. Its folder has a short name, as the agent's socket lies in it."""
    require("gpg", "gpg-agent")
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
    made = Gpg(home, home / "public.gpg", home / "store")
    try:
        made.make_key()
        yield made
    finally:
        made.kill_agent()
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def images(registry: Registry, gpg: Gpg) -> dict[str, PushedImage]:
    """``signed``: one platform is, the other is not. ``unsigned``: none."""
    made = {}
    for name in ("signed", "unsigned"):
        platforms = [image(f"linux/{each}", [layer(f"policy/{name}/{each}", 200)]) for each in ("amd64", "arm64")]
        made[name] = push(registry, f"policy/{name}", "v1", index(*platforms))
    gpg.sign(made["signed"], "linux/amd64")
    gpg.kill_agent()
    # And as cosign does: this is what comes along. It is signed by nobody itself.
    digest = made["signed"].platform("linux/amd64").manifest
    with registry.client() as client:
        push_image(client, "policy/signed", signature(digest, "policy/signed", KEY), cosign_tag(digest))
    return made


@pytest.fixture(autouse=True)
def lookaside(registry: Registry, gpg: Gpg) -> None:
    folder = Path.home() / ".config" / "containers" / "registries.d"
    folder.mkdir(parents=True)
    place = f"file://{gpg.store}"
    content = {"docker": {registry.host: {"lookaside": place, "sigstore": place, "use-sigstore-attachments": True}}}
    (folder / "tests.yaml").write_text(json.dumps(content))


def policy(registry: Registry, *requirements: dict[str, Any], name: str = "policy.json") -> Path:
    """Whatever is not of this registry is rejected."""
    path = Path(name)
    scopes = {registry.host: list(requirements)}
    path.write_text(json.dumps({"default": [{"type": "reject"}], "transports": {"docker": scopes}}))
    return path


def signed_by(gpg: Gpg) -> dict[str, Any]:
    identity = {"type": "matchRepository"}
    return {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(gpg.public), "signedIdentity": identity}


AMD64 = ("-a", "amd64")


def copies(stderr: str) -> int:
    """How often skopeo was started to copy."""
    return sum(" copy --quiet " in line for line in stderr.splitlines())


def test_signed_and_unsigned(registry: Registry, gpg: Gpg, images: dict[str, PushedImage]) -> None:
    """The unsigned one is refused, at once and with a tip; signatures that come along are not held to the policy."""
    required = ("-require-signed", policy(registry, signed_by(gpg)), *AMD64, "-debug")
    result = save([images["signed"], images["unsigned"]], *required, "-referrers")
    assert result.code == 1, result
    name = images["unsigned"].reference
    assert f"{name}: linux/amd64: refused by the policy: " in result.stdout
    assert "TIP: each platform's manifest must be signed ('cosign sign --recursive')" in result.stdout
    assert "trying again" not in result.stderr
    assert FAILED.read_text() == lines([images["unsigned"]])
    digest = images["signed"].platform("linux/amd64").manifest
    sig = Along(signature(digest, "policy/signed", KEY), digest, cosign_tag(digest))
    assert brought() == {sig.name(f"{registry.host}/policy/signed")}
    result = saved([images["signed"]], *required, "-referrers", "-force")
    assert copies(result.stderr) == 0, "checked once, as long as policy and keys are what they were"


def test_every_platform_must_be_signed(registry: Registry, gpg: Gpg, images: dict[str, PushedImage]) -> None:
    result = save([images["signed"]], "-require-signed", policy(registry, signed_by(gpg)), "-a", "all")
    assert result.code == 3
    assert "linux/arm64: refused by the policy" in result.stdout
    assert not ARCHIVE.exists()


def test_what_was_fetched_without_it_is_held_to_it(registry: Registry, gpg: Gpg, images: dict[str, PushedImage]) -> None:
    """Also where the policy is another one now; and an earlier bundle stays."""
    saved([images["unsigned"]], *AMD64)
    before = ARCHIVE.read_bytes()
    path = policy(registry, signed_by(gpg))
    result = save([images["unsigned"]], "-require-signed", path, *AMD64)
    assert result.code == 3
    assert "refused by the policy" in result.stdout and "stays as it was" in result.stdout
    assert ARCHIVE.read_bytes() == before
    lenient = policy(registry, {"type": "insecureAcceptAnything"}, name="lenient.json")
    assert copies(saved([images["unsigned"]], "-require-signed", lenient, *AMD64, "-debug").stderr) == 1
    assert copies(saved([images["unsigned"]], "-require-signed", lenient, *AMD64, "-debug").stderr) == 0
    policy(registry, {"type": "reject"}, name="lenient.json")
    assert save([images["unsigned"]], "-require-signed", lenient, *AMD64).code == 3


def test_another_key_in_the_same_file(registry: Registry, gpg: Gpg, images: dict[str, PushedImage], work: Path) -> None:
    """The policy names a file; what is in it counts."""
    key = work / "key.gpg"
    key.write_bytes(gpg.public.read_bytes())
    required = ("-require-signed", policy(registry, {**signed_by(gpg), "keyPath": str(key)}), *AMD64)
    saved([images["signed"]], *required)
    key.write_bytes(b"another")
    assert save([images["signed"]], *required).code == 3


def test_sigstore(registry: Registry, images: dict[str, PushedImage], work: Path) -> None:
    """Signed with another key, or, as far as Debian's skopeo is concerned, at all."""
    (work / "cosign.pub").write_bytes(Key().public)
    required = {"type": "sigstoreSigned", "keyPath": str(work / "cosign.pub")}
    result = save([images["signed"]], "-require-signed", policy(registry, required), *AMD64)
    assert result.code == 3
    assert not ARCHIVE.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "there is no such file"),
        ("{", "it is no policy"),
        ("[]", "it is no policy"),
        ("{}", "it is no policy"),
        ('{"default": {}}', "it is no policy"),
        ("[" * 200_000, "it is no policy"),
        (
            '{"default": [{"type": "insecureAcceptAnything"}], "x": ' + "[" * 900 + "]" * 900 + "}",
            "this policy accepts everything, signed or not",
        ),
        ('{"default": [{"type": "insecureAcceptAnything"}]}', "this policy accepts everything, signed or not"),
        (
            '{"default": [{"type": "insecureAcceptAnything"}], '
            '"transports": {"docker": {"r.io": [{"type": "insecureAcceptAnything"}]}}}',
            "this policy accepts everything, signed or not",
        ),
    ],
)
def test_no_policy(small: Signed, text: str | None, problem: str) -> None:
    path = Path("policy.json").absolute()
    if text is not None:
        path.write_text(text)
    result = save([small.image], "-require-signed", "policy.json")
    assert result.code == 2
    assert f"-require-signed: {path}: {problem}" in result.stderr
    assert "TIP: see containers-policy.json(5)" in result.stderr


def test_definitions(registry: Registry, gpg: Gpg, images: dict[str, PushedImage], work: Path) -> None:
    """The key of a definition is relative to it, and plain doit obeys it as well."""
    policy(registry, signed_by(gpg))
    define(registry, ", arch: amd64, require-signed: policy.json", signed=["policy/signed:v1"], unsigned=["policy/unsigned:v1"])
    result = command("save", "-config", "bundle.yaml")
    assert result.code == 3, "one of the bundles could not be made"
    assert Path("signed.tar.gz").exists() and not Path("unsigned.tar.gz").exists()
    Path("dodo.py").write_text(DODO)
    assert "refused by the policy" in doit("pack:unsigned", code=2).stderr
    assert not Path("unsigned.tar.gz").exists()


def test_bundles_that_share_an_image_and_not_the_policy(registry: Registry, gpg: Gpg) -> None:
    """What one bundle takes as it is must not get into another that demands a signature: doit copies it once for both."""
    policy(registry, signed_by(gpg))
    define(registry, ", arch: amd64", free=["policy/unsigned:v1"], strict=["policy/unsigned:v1"])
    text = Path("bundle.yaml").read_text()
    Path("bundle.yaml").write_text(text.replace("  strict:\n", "  strict:\n    require-signed: policy.json\n"))
    with pytest.raises(Exception, match=r"is in 'free' and 'strict', which share it here: give both the same 'require-signed'"):
        bundle_tasks("*.yaml")
    assert command("save", "-config", "bundle.yaml").code == 3
    assert Path("free.tar.gz").exists() and not Path("strict.tar.gz").exists()


# The policies in docs/signatures.md


def documented_policy(number: int, registry: Registry, gpg: Gpg) -> Path:
    """An example with our names and, as Debian's skopeo knows no sigstore, a GPG key. Identities are as they stand there."""
    text = re.findall(r"```json\n(.*?)```", (ROOT / "docs/signatures.md").read_text(), re.DOTALL)[number]
    document = json.loads(text)
    requirements = [each for scope in document["transports"]["docker"].values() for each in scope]
    for requirement in requirements:
        requirement.pop("keyPath")
        requirement.update(type="signedBy", keyType="GPGKeys", keyPath=str(gpg.public))
    document["transports"]["docker"] = {f"{registry.host}/rancher": requirements[:1]}
    path = Path("policy.json")
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def as_cosign_signs(registry: Registry, gpg: Gpg) -> Iterator[Callable[[str], PushedImage]]:
    """An image whose signature names a repository and no tag, as all of cosign's do."""

    def make(name: str) -> PushedImage:
        repository = f"rancher/signed-as-{name.replace('/', '-') or 'itself'}"
        pushed = push(registry, repository, "v1", index(image("linux/amd64", [layer(f"policy/{name}", 200)])))
        gpg.sign(pushed, "linux/amd64", name or f"{registry.host}/{repository}")
        return pushed

    yield make
    gpg.kill_agent()


CosignSigns = Callable[[str], PushedImage]


def test_the_policy_to_save_with(registry: Registry, gpg: Gpg, as_cosign_signs: CosignSigns) -> None:
    pushed = as_cosign_signs("")
    path = documented_policy(0, registry, gpg)
    saved([pushed], "-require-signed", path, *AMD64)
    document = json.loads(path.read_text())
    del document["transports"]["docker"][f"{registry.host}/rancher"][0]["signedIdentity"]
    path.write_text(json.dumps(document))
    result = save([pushed], "-require-signed", path, *AMD64, "-force")
    assert "refused by the policy" in result.stdout, "the default accepts no signature without a tag"
    assert "signedIdentity of type matchRepository" in result.stdout


def test_the_policy_of_the_other_side(registry: Registry, gpg: Gpg, as_cosign_signs: CosignSigns) -> None:
    """podman, CRI-O and skopeo pull by tag, under the new name."""
    pushed, other = as_cosign_signs("docker.io/rancher/rancher"), as_cosign_signs("docker.io/rancher/another")
    path = documented_policy(1, registry, gpg)
    assert pull(path, pushed).code == 0
    assert "is not accepted" in pull(path, other).stderr
    remap = {"type": "remapIdentity", "prefix": registry.host, "signedPrefix": "docker.io"}
    document = json.loads(path.read_text())
    document["transports"]["docker"][f"{registry.host}/rancher"][0]["signedIdentity"] = remap
    path.write_text(json.dumps(document))
    assert "is not accepted" in pull(path, pushed).stderr


def pull(path: Path, pushed: PushedImage) -> Result:
    source = f"docker://{pushed.reference}"
    return skopeo("--policy", str(path), "copy", "--src-tls-verify=false", "--remove-signatures", source, "dir:pulled")
