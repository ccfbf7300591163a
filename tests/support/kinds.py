"""One image of every kind that a registry may hold, by name.

``push_kind(registry, "windows")`` brings one there; ``everything(registry)`` all of them, each into the repository
``kinds/<kind>`` (or another folder) with the tag ``v1``. Kinds differ in their bytes, but for the two that share layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.support.images import (
    Content,
    Image,
    Index,
    artifact,
    attestation,
    foreign_layer,
    helm_chart,
    image,
    index,
    layer,
    platform,
)
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.schema1 import Schema1, schema1

TAG = "v1"


def _oci_index() -> Index:
    """Three architectures that share their upper layer."""
    shared = layer("oci-index/all")
    architectures = ("amd64", "arm64", "s390x")
    return index(*(image(f"linux/{each}", [layer(f"oci-index/{each}"), shared]) for each in architectures))


def _docker_list() -> Index:
    architectures = ("amd64", "arm64")
    return index(*(image(f"linux/{each}", [layer(f"docker-list/{each}")], docker=True) for each in architectures), docker=True)


def _arm_variants() -> Index:
    variants = ("arm/v6", "arm/v7", "arm64/v8")
    return index(*(image(f"linux/{each}", [layer(f"arm/{each}")]) for each in variants))


def _windows() -> Index:
    """Two versions of Windows, each on a base layer that is only named, and a Linux image beside them."""
    windows = (
        image(
            platform("windows/amd64", os_version=version),
            [foreign_layer(f"windows/base/{version}"), layer(f"windows/{version}")],
            docker=True,
        )
        for version in ("10.0.17763.5458", "10.0.20348.2322")
    )
    return index(image("linux/amd64", [layer("windows/linux")], docker=True), *windows, docker=True)


def _os_features() -> Index:
    """Two entries that differ in ``os.features`` alone."""
    plain = image(platform("windows/amd64", "10.0.20348.2322"), [layer("features/plain")])
    special = image(platform("windows/amd64", "10.0.20348.2322", ["win32k"]), [layer("features/win32k")])
    return index(plain, special)


def _attestations() -> Index:
    images = [image(f"linux/{each}", [layer(f"attested/{each}")]) for each in ("amd64", "arm64")]
    return index(*images, *(attestation(each, f"attested-{each.platform.architecture}") for each in images))


def _mixed_layers() -> Index:
    """Uncompressed, gzip and zstd layers in one image, random and text."""
    return index(
        *(
            image(
                f"linux/{each}",
                [
                    layer(f"mixed/{each}/tar", 9000, "", text=True),
                    layer(f"mixed/{each}/gzip", 9000, "gzip", text=True),
                    layer(f"mixed/{each}/zstd", 9000, "zstd", text=True),
                ],
            )
            for each in ("amd64", "arm64")
        )
    )


def _repeated_layer() -> Image:
    """The same layer twice in one manifest, as Docker's empty layer used to be."""
    twice = layer("repeated/empty", 0)
    return image("linux/amd64", [layer("repeated/base"), twice, twice])


def _oci_artifact() -> Image:
    """Two files under the empty config, with an ``artifactType``."""
    notes = Content("text/plain", b"notes of the tests\n" * 20)
    data = Content("application/vnd.tests.data", layer("artifact").data)
    return artifact([notes, data], artifact_type="application/vnd.tests.artifact.v1")


def _shared(which: str) -> Index:
    """Two architectures on base layers that ``shared-one`` and ``shared-two`` have in common."""
    return index(
        *(
            image(
                f"linux/{each}",
                [layer(f"shared/base/{each}"), layer("shared/everywhere"), layer(f"shared/{which}/{each}")],
            )
            for each in ("amd64", "arm64")
        )
    )


def _no_media_type() -> Index:
    """Neither the index nor its manifests say what they are."""
    architectures = ("amd64", "arm64")
    images = (image(f"linux/{each}", [layer(f"untyped/{each}")], media_type=False) for each in architectures)
    return index(*images, media_type=False)


def _same_platform_twice() -> Index:
    """An index with two images for ``linux/amd64``."""
    first, second = (image("linux/amd64", [layer(f"twice/{each}")]) for each in ("first", "second"))
    return index(first, second, image("linux/arm64", [layer("twice/arm64")]))


def _nested_index() -> Index:
    """An index that holds an image and another index."""
    inner = index(image("linux/arm64", [layer("nested/arm64")]), image("linux/s390x", [layer("nested/s390x")]))
    return index(image("linux/amd64", [layer("nested/amd64")]), inner)


KINDS: dict[str, Callable[[], Image | Index]] = {
    "oci-index": _oci_index,
    "docker-list": _docker_list,
    "oci-single": lambda: image("linux/amd64", [layer("oci-single/1"), layer("oci-single/2")]),
    "docker-single": lambda: image("linux/amd64", [layer("docker-single/1"), layer("docker-single/2")], docker=True),
    "arm-variants": _arm_variants,
    "windows": _windows,
    "os-features": _os_features,
    "attestations": _attestations,
    "uncompressed": lambda: image("linux/amd64", [layer("uncompressed/oci", compression="")]),
    "docker-uncompressed": lambda: image("linux/amd64", [layer("uncompressed/docker", compression="")], docker=True),
    "zstd": lambda: image("linux/amd64", [layer("zstd", compression="zstd")]),
    "mixed-layers": _mixed_layers,
    "repeated-layer": _repeated_layer,
    "helm-chart": lambda: helm_chart("tests-chart"),
    "oci-artifact": _oci_artifact,
    "shared-one": lambda: _shared("one"),
    "shared-two": lambda: _shared("two"),
    "no-media-type": _no_media_type,
    "same-platform-twice": _same_platform_twice,
    "nested-index": _nested_index,
}
"""Every kind but ``schema1``, whose manifest depends on where it is pushed to."""
ALL_KINDS = (*KINDS, "schema1")


def build(kind: str, repository: str, tag: str = TAG) -> Image | Index | Schema1:
    """Make an image of a kind, to be pushed to ``repository``."""
    if kind == "schema1":
        return schema1(repository, tag, [layer("schema1/1"), layer("schema1/2")])
    return KINDS[kind]()


def push_kind(registry: Registry, kind: str, repository: str = "", tag: str = TAG) -> PushedImage:
    """Push one image of a kind, to ``kinds/<kind>`` unless told otherwise."""
    place = repository or f"kinds/{kind}"
    return push(registry, place, tag, build(kind, place, tag), kind)


def everything(registry: Registry, kinds: Iterable[str] = ALL_KINDS, folder: str = "kinds") -> list[PushedImage]:
    """Push one image of every kind, each to ``<folder>/<kind>``."""
    return [push_kind(registry, kind, f"{folder}/{kind}") for kind in kinds]
