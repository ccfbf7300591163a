"""A lock as real lists have them: images on bases that a few use much and many use little (Zipf), layers of any size."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from pipeline.core.oci import Descriptor, Digest
from pipeline.storage.image_lock import LockedImage, LockedPlatform

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
PLATFORMS = ("linux/amd64", "linux/arm64")


def made_lock(images: int, bases: int = 40, seed: int = 1) -> dict[str, LockedImage]:
    """``images`` of two platforms each; a base has 1 to 5 layers, an image 1 to 5 of its own upon it."""
    dice = random.Random(seed)
    known = [_layers(dice, f"base-{number}", dice.randint(1, 5), 15e6) for number in range(bases)]
    weights = [1 / (rank + 1) for rank in range(bases)]
    found = {}
    for number in range(images):
        base = dice.choices(known, weights)[0]
        platforms = []
        own = [_layers(dice, f"image-{number}-{platform}", dice.randint(1, 5), 4e6) for platform in PLATFORMS]
        for platform, layers in zip(PLATFORMS, own, strict=True):
            shared = [_of(platform, layer) for layer in base]
            size = sum(layer.size for layer in (*shared, *layers)) + 9_000
            digest = _digest(f"manifest-{number}-{platform}")
            platforms.append(LockedPlatform(platform=platform, digest=digest, size=size, layers=(*shared, *layers)))
        digest = _digest(f"index-{number}")
        found[f"registry.example.com/app-{number:04}:v1"] = LockedImage(
            asked="amd64,arm64",
            fetched_from=f"registry.example.com/app-{number:04}:v1",
            source=digest,
            digest=digest,
            platforms=tuple(platforms),
            position=number + 1,
        )
    return found


def _layers(dice: random.Random, name: str, count: int, middle: float) -> Sequence[Descriptor]:
    """Sizes are log-normal about ``middle`` bytes."""
    sizes = [int(dice.lognormvariate(0, 1.3) * middle) + 200 for _ in range(count)]
    return [Descriptor(LAYER, _digest(f"{name}-{number}"), size) for number, size in enumerate(sizes)]


def _of(platform: str, layer: Descriptor) -> Descriptor:
    return Descriptor(LAYER, _digest(f"{layer.digest}-{platform}"), layer.size)


def _digest(text: str) -> Digest:
    return Digest("sha256", hashlib.sha256(text.encode()).hexdigest())
