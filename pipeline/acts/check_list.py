"""Whether the images of a list can be saved today, asked by HEAD: gone, moved since the lock, lacking platforms.

Takes images, returns a ``Finding`` for each. A registry that does not answer is asked once. Of an image that is gone the tag is
named that is nearest to it.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.core import oci, versions
from pipeline.core.bundle import BundleImage
from pipeline.core.errors import ContentError, RegistryError
from pipeline.core.oci import Digest, Index
from pipeline.core.parallel import in_parallel
from pipeline.core.reference import Reference
from pipeline.registry.distribution import Distribution


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``problem`` is empty of an image that is as it should be. ``nearest`` is a tag that exists where this one does not."""

    image: BundleImage
    digest: Digest | None = None
    problem: str = ""
    nearest: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": str(self.image.reference),
            "digest": str(self.digest) if self.digest else None,
            "problem": self.problem or None,
            "nearest": self.nearest or None,
        }


class ListCheck:
    """One run. ``locked`` are digests by reference, ``with_platforms`` asks for indexes, too: one GET each."""

    def __init__(self, distribution: Distribution, locked: Mapping[str, Digest], with_platforms: bool) -> None:
        self._distribution = distribution
        self._locked = locked
        self._with_platforms = with_platforms
        self._lock = threading.Lock()
        self._tags: dict[str, list[str]] = {}

    def run(self, images: Sequence[BundleImage], jobs: int) -> list[Finding]:
        """Raises Interrupted."""
        registries = list({image.source.registry: image for image in images}.values())
        dead = {
            image.source.registry: reason
            for image, reason in zip(registries, in_parallel(self._probe, registries, jobs), strict=True)
            if reason
        }
        return in_parallel(partial(self._check, dead), images, jobs)

    def _probe(self, image: BundleImage) -> str:
        try:
            self._distribution.probe(image.source)
        except RegistryError as error:
            return error.message
        return ""

    def _check(self, dead: Mapping[str, str], image: BundleImage) -> Finding:
        if reason := dead.get(image.source.registry):
            return Finding(image=image, problem=reason)
        try:
            head = self._distribution.head(image.source)
            if head is None:
                return Finding(image=image, problem="gone: the registry has no such image", nearest=self._nearest(image.source))
            pinned = self._locked.get(str(image.reference))
            if pinned is not None and head.digest != pinned:
                return Finding(
                    image=image, digest=head.digest, problem=f"moved: the lock has {pinned}, today it is {head.digest}"
                )
            lacking = self._lacking(image) if self._with_platforms else ()
        except (RegistryError, ContentError) as error:
            return Finding(image=image, problem=str(error.message))
        problem = f"lacks {', '.join(lacking)}" if lacking else ""
        return Finding(image=image, digest=head.digest, problem=problem)

    def _lacking(self, image: BundleImage) -> Iterable[str]:
        """Architectures that are asked for and not there. What has no index says nothing of its platform without its config."""
        data = self._distribution.manifest(image.source)
        document = oci.parse(data) if data is not None else None
        if not isinstance(document, Index):
            return ()
        platforms = [child.platform for child in document.manifests]
        return [str(wanted) for wanted in image.platforms.architectures if not any(wanted.matches(each) for each in platforms)]

    def _nearest(self, reference: Reference) -> str:
        with self._lock:
            known = self._tags.get(reference.name)
        if known is None:
            try:
                known = self._distribution.tags(reference) or []
            except (RegistryError, ContentError):
                known = []
            with self._lock:
                self._tags[reference.name] = known
        return nearest_tag(reference.tag, known)


def nearest_tag(tag: str, tags: Sequence[str]) -> str:
    """The next version for a version that is missing, else the tag that is written most alike; empty where there is none."""
    ordered = versions.matching(tags, "*")
    if versions.is_in(tag, "*") and ordered:
        wanted = versions.sort_key(tag)
        return next((each for each in ordered if versions.sort_key(each) > wanted), ordered[-1])
    return next(iter(difflib.get_close_matches(tag, tags, n=1, cutoff=0)), "")
