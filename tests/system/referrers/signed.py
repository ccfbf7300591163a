"""An image with all that may refer to it, in a registry; and what of it a save brings along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.storage.archive import open_archive
from tests.support.client import RegistryClient
from tests.support.images import Content, Image, image, index, layer
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.signatures import SPDX, Key, attached, cosign_tag, push_image, push_referrer, referrer, signature
from tests.system.save.saving import ARCHIVE, REF_NAME, SUBJECT, command

NOTATION = "application/vnd.cncf.notary.signature"
ATTESTATION = "application/vnd.dsse.envelope.v1+json"
KEY = Key()


@dataclass(frozen=True)
class Along:
    """One thing that refers to ``subject`` (a digest): under a tag of cosign's, or by a field of its manifest."""

    image: Image
    subject: str
    tag: str = ""

    @property
    def digest(self) -> str:
        return self.image.manifest.digest

    @property
    def target(self) -> str:
        """What a client asks the registry for."""
        return self.tag or self.digest

    @property
    def artifact_type(self) -> str:
        kind = self.tag.rpartition(".")[2]
        return f"application/vnd.dev.cosign.artifact.{kind}.v1+json" if kind else self.image.artifact_type

    @property
    def raw(self) -> bytes:
        return self.image.manifest.data

    def name(self, repository: str) -> str:
        """Its reference in a bundle."""
        return f"{repository}:{self.tag}" if self.tag else f"{repository}@{self.digest}"


@dataclass(frozen=True)
class Signed:
    """``along`` by a word for each: ``index sig``, ``amd64 sig``, ``amd64 sbom``, ``sbom sig``, ..."""

    image: PushedImage
    along: Mapping[str, Along]

    @property
    def repository(self) -> str:
        return self.image.repository

    def names(self, *words: str, host: str = "") -> set[str]:
        """Their references in a bundle."""
        return {self.along[word].name(f"{host or self.image.host}/{self.repository}") for word in words}


ON_INDEX = ("index sig", "index notation")
ON_AMD64 = ("amd64 sig", "amd64 att", "amd64 sbom", "sbom sig", "sbom notation")
ON_ARM64 = ("arm64 sig",)
ALL = (*ON_INDEX, *ON_AMD64, *ON_ARM64)


def push_signed(registry: Registry, repository: str) -> Signed:
    """An index of two platforms, signed as a whole and each; one has an attestation and an SBOM that is signed itself."""
    platforms = [image(f"linux/{each}", [layer(f"{repository}/{each}", 500)]) for each in ("amd64", "arm64")]
    pushed = push(registry, repository, "v1", index(*platforms))
    amd64, arm64 = (pushed.platform(f"linux/{each}").manifest for each in ("amd64", "arm64"))
    with registry.client() as client:
        signer = _Signer(client, repository)
        sbom = signer.refer(pushed.platforms[0].raw, SPDX, b'{"spdxVersion": "SPDX-2.3"}')
        along = {
            "index sig": signer.sign(pushed.digest),
            "index notation": signer.refer(pushed.raw, NOTATION, b"of the index"),
            "amd64 sig": signer.sign(amd64),
            "amd64 att": signer.attest(amd64),
            "amd64 sbom": sbom,
            "sbom sig": signer.sign(sbom.digest),
            "sbom notation": signer.refer(sbom.raw, NOTATION, b"of the SBOM"),
            "arm64 sig": signer.sign(arm64),
        }
    return Signed(pushed, along)


def push_small(registry: Registry, repository: str) -> Signed:
    """One platform, with a signature under a tag and an SBOM by subject."""
    pushed = push(registry, repository, "v1", image("linux/amd64", [layer(repository, 500)]))
    with registry.client() as client:
        signer = _Signer(client, repository)
        sbom = signer.refer(pushed.raw, SPDX, repository.encode())
        return Signed(pushed, {"sig": signer.sign(pushed.digest), "sbom": sbom})


def sign_again(registry: Registry, signed: Signed, word: str = "amd64") -> Along:
    """Another signature of a platform, by subject: what somebody may do at any time."""
    with registry.client() as client:
        raw = signed.image.platform(f"linux/{word}").raw
        return _Signer(client, signed.repository).refer(raw, NOTATION, b"one more")


class _Signer:
    """Pushes what refers to manifests of one repository."""

    def __init__(self, client: RegistryClient, repository: str) -> None:
        self._client = client
        self._repository = repository

    def sign(self, digest: str) -> Along:
        return self._tag(signature(digest, self._repository, KEY), digest, "sig")

    def attest(self, digest: str) -> Along:
        return self._tag(attached([Content(ATTESTATION, f'{{"payload": "{digest}"}}'.encode())]), digest, "att")

    def refer(self, subject: bytes, artifact_type: str, data: bytes) -> Along:
        made = referrer(descriptor(subject), artifact_type, [Content(artifact_type, data)])
        push_referrer(self._client, self._repository, descriptor(subject)["digest"], made)
        return Along(made, descriptor(subject)["digest"])

    def _tag(self, made: Image, digest: str, kind: str) -> Along:
        tag = cosign_tag(digest, kind)
        push_image(self._client, self._repository, made, tag)
        return Along(made, digest, tag)


def descriptor(manifest: bytes) -> dict[str, Any]:
    """Of a manifest or an index, by its bytes."""
    return Content(json.loads(manifest)["mediaType"], manifest).descriptor()


def entries(archive: Path = ARCHIVE) -> dict[str, dict[str, Any]]:
    """The descriptors in the ``index.json`` of an archive, by reference."""
    listing = json.loads(_member(archive, "index.json"))
    return {entry["annotations"][REF_NAME]: entry for entry in listing["manifests"]}


def _member(archive: Path, name: str) -> bytes:
    with open_archive(archive) as opened:
        return opened.read_metadata(name)


def brought(archive: Path = ARCHIVE) -> set[str]:
    """The references in an archive that came along with an image."""
    return {name for name, entry in entries(archive).items() if SUBJECT in entry["annotations"]}


def listed_by_tag(client: RegistryClient, repository: str, subject: str) -> list[dict[str, Any]]:
    """What a registry without the API lists, under the fallback tag."""
    answer = client.manifest(repository, subject.replace(":", "-"))
    return list(json.loads(answer.body)["manifests"]) if answer.status == 200 else []


def listed_by_api(client: RegistryClient, repository: str, subject: str, query: str = "") -> list[dict[str, Any]]:
    answer = client.request("GET", f"/v2/{repository}/referrers/{subject}{query}")
    assert answer.status == 200, answer
    return list(json.loads(answer.body)["manifests"])


def of_ls(archive: Path = ARCHIVE) -> list[dict[str, Any]]:
    """The images that ``ls`` lists, as JSON."""
    return list(json.loads(command("ls", archive, "-json").stdout)["images"])
