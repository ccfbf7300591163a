"""Bringing built images into a registry, and what a test may then expect to find of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.core.oci import Platform
from tests.support.client import RegistryClient
from tests.support.images import Content, Image, Index
from tests.support.registry import Registry
from tests.support.schema1 import MEDIA_TYPE as SCHEMA1
from tests.support.schema1 import Schema1


@dataclass(frozen=True)
class PushedPlatform:
    """One manifest of an image. ``layers`` are in order and hold the foreign ones; ``sizes`` is by digest."""

    platform: Platform
    manifest: str
    config: str
    layers: tuple[str, ...]
    foreign: frozenset[str]
    sizes: Mapping[str, int] = field(repr=False)
    media_type: str
    raw: bytes = field(repr=False)
    raw_config: bytes = field(repr=False)
    is_attestation: bool = False

    @property
    def closure(self) -> frozenset[str]:
        """Digests of everything that a copy of this platform needs: manifest, config, layers but for foreign ones."""
        return frozenset({self.manifest, self.config, *self.layers} - self.foreign - {""})

    @property
    def fetched_layers(self) -> frozenset[str]:
        """The distinct layers that the registry holds."""
        return frozenset(self.layers) - self.foreign


@dataclass(frozen=True)
class PushedImage:
    """An image in a registry: what its tag names (``digest``, ``raw``), and every manifest below it."""

    kind: str
    host: str
    repository: str
    tag: str
    media_type: str
    digest: str
    raw: bytes = field(repr=False)
    platforms: tuple[PushedPlatform, ...]
    contents: Mapping[str, bytes] = field(repr=False)
    """Every object in the registry by digest: indexes, manifests, configs, layers."""

    @property
    def reference(self) -> str:
        return f"{self.host}/{self.repository}:{self.tag}"

    @property
    def pinned(self) -> str:
        """The reference by digest."""
        return f"{self.host}/{self.repository}@{self.digest}"

    def via(self, host: str) -> str:
        """The reference through another host, such as a proxy before the registry."""
        return f"{host}/{self.repository}:{self.tag}"

    @property
    def has_index(self) -> bool:
        return "index" in self.media_type or "manifest.list" in self.media_type

    def platform(self, text: str) -> PushedPlatform:
        """The first manifest for ``linux/amd64`` and the like."""
        for each in self.platforms:
            if str(each.platform) == text:
                return each
        raise AssertionError(f"{self.reference} has no {text}")

    @property
    def layers(self) -> frozenset[str]:
        """The distinct layers of all platforms that the registry holds."""
        return frozenset().union(*(each.fetched_layers for each in self.platforms))

    @property
    def configs(self) -> frozenset[str]:
        return frozenset(each.config for each in self.platforms if each.config)


def push(registry: Registry, repository: str, tag: str, what: Image | Index | Schema1, kind: str = "") -> PushedImage:
    """Upload ``what`` with everything it points at, from the blobs up, and tag it."""
    contents: dict[str, bytes] = {}
    with registry.client() as client:
        uploader = _Uploader(client, repository, contents)
        if isinstance(what, Schema1):
            return _push_schema1(uploader, registry.host, tag, what, kind)
        uploader.content(what)
        top = what.content if isinstance(what, Index) else what.manifest
        uploader.manifest(top, tag)
    images = what.images() if isinstance(what, Index) else (what,)
    platforms = tuple(_pushed(each) for each in images)
    return PushedImage(kind, registry.host, repository, tag, top.media_type, top.digest, top.data, platforms, contents)


@dataclass
class _Uploader:
    client: RegistryClient
    repository: str
    contents: dict[str, bytes]

    def content(self, what: Image | Index) -> None:
        """Everything below ``what``, which itself is left to the caller."""
        if isinstance(what, Index):
            for entry in what.entries:
                self.content(entry)
                top = entry.content if isinstance(entry, Index) else entry.manifest
                self.manifest(top, top.digest)
            return
        for blob in (what.config, *what.layers):
            if blob.digest not in what.foreign:
                self.blob(blob.data)

    def blob(self, data: bytes) -> None:
        self.contents[self.client.put_blob(self.repository, data)] = data

    def manifest(self, content: Content, reference: str) -> None:
        if reference in self.contents:
            return
        digest = self.client.put_manifest(self.repository, reference, content.data, content.media_type)
        assert digest == content.digest, f"the registry calls {content.digest} {digest}"
        self.contents[digest] = content.data


def _pushed(each: Image) -> PushedPlatform:
    parts = (each.manifest, each.config, *each.layers)
    return PushedPlatform(
        each.platform,
        each.manifest.digest,
        each.config.digest,
        tuple(layer.digest for layer in each.layers),
        each.foreign,
        {part.digest: len(part.data) for part in parts},
        each.manifest.media_type,
        each.manifest.data,
        each.config.data,
        each.is_attestation,
    )


def _push_schema1(uploader: _Uploader, host: str, tag: str, what: Schema1, kind: str) -> PushedImage:
    """Its manifest is known by the digest of the signed payload, and has no config."""
    for layer in what.layers:
        uploader.blob(layer.data)
    digest = uploader.client.put_manifest(uploader.repository, tag, what.signed, SCHEMA1)
    assert digest == what.digest, f"the registry calls {what.digest} {digest}"
    only = PushedPlatform(
        Platform("linux", what.architecture),
        digest,
        "",
        tuple(layer.digest for layer in what.layers),
        frozenset(),
        {layer.digest: len(layer.data) for layer in what.layers},
        SCHEMA1,
        what.signed,
        b"",
    )
    contents = dict(uploader.contents)
    return PushedImage(kind, host, uploader.repository, tag, SCHEMA1, digest, what.signed, (only,), contents)
