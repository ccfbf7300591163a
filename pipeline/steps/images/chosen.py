"""The flat list of what a run saves: the listed images in list order, then the referrers that come along, each once.

Made once, after act 1, from its records; plan, act 2 and act 3 take it. Nothing is fetched and nothing written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.core.bundle import BundleImage, Referrer
from pipeline.core.errors import ContentError, PlatformError
from pipeline.core.oci import Descriptor
from pipeline.core.reference import Reference
from pipeline.steps.images.choose import Choice, PlatformImage, choose
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.records import referrers as referrers_record
from pipeline.storage.records.resolved import Resolved


@dataclass(frozen=True)
class ChosenImage:
    """An image, or a referrer that comes along with one, with the platforms of it that are saved."""

    image: BundleImage
    choice: Choice
    closures: tuple[tuple[Descriptor, ...], ...]
    """All that each of the choice's platforms needs, in their order; empty where that is not known (Docker schema 1)."""
    referrers: tuple[Reference, ...] = ()
    """Names of what comes along with it, elsewhere in the list."""
    lost: tuple[Referrer, ...] = ()
    """What refers to the index as it was at the source, and cannot come along, as only some of its platforms are saved."""

    @property
    def is_referrer(self) -> bool:
        """Whether it comes along with an image; one that is listed itself counts as listed."""
        return self.image.about is not None

    @property
    def platforms(self) -> Iterable[tuple[PlatformImage, tuple[Descriptor, ...]]]:
        """Each platform with its closure."""
        return zip(self.choice.platforms, self.closures, strict=True)


def chosen_image(
    cache: Cache, image: BundleImage, choice: Choice, referrers: Sequence[Reference] = (), lost: Sequence[Referrer] = ()
) -> ChosenImage:
    closures = tuple(_closure(cache, platform.descriptor) for platform in choice.platforms)
    return ChosenImage(image, choice, closures, tuple(referrers), tuple(lost))


def with_referrers(cache: Cache, state: BundleState, image: BundleImage, choice: Choice) -> list[ChosenImage]:
    """The image, then what comes along with it by the last look at its registry. Empty without a record of this very choice."""
    if image.referrers is None:
        return [chosen_image(cache, image, choice)]
    found = referrers_record.read(state, image.reference)
    if found is None or found.types != str(image.referrers) or found.subjects != choice.subjects:
        return []
    try:
        along = _along(cache, image, choice, found.referrers)
    except (ContentError, PlatformError):
        return []
    return [chosen_image(cache, image, choice, [each.image.reference for each in along], found.lost), *along]


def one_list(groups: Iterable[Sequence[ChosenImage]]) -> list[ChosenImage]:
    """Groups as ``with_referrers`` makes them as one list: each once, also where several bring it or it is listed itself."""
    made = [group for group in groups if group]
    found = {group[0].image.reference: group[0] for group in made}
    for group in made:
        for each in group[1:]:
            found.setdefault(each.image.reference, each)
    return list(found.values())


def needed_by(listed: Iterable[ChosenImage], known: Mapping[Reference, ChosenImage]) -> list[ChosenImage]:
    """Those images of a list, then the referrers that come along with them, each once."""
    listed = list(listed)
    return one_list([each, *(known[name] for name in each.referrers)] for each in listed)


def _along(cache: Cache, image: BundleImage, choice: Choice, found: Sequence[Referrer]) -> list[ChosenImage]:
    along: list[ChosenImage] = []
    number = len(choice.platforms)
    for referrer in found:
        own = referrers_record.image_of(image, referrer)
        chosen = choose(cache, own, Resolved(Descriptor(referrer.media_type, referrer.digest, referrer.size)))
        platforms = tuple(replace(each, img_id=number + each.img_id) for each in chosen.platforms)
        number += len(platforms)
        along.append(chosen_image(cache, own, replace(chosen, platforms=platforms)))
    return along


def _closure(cache: Cache, descriptor: Descriptor) -> tuple[Descriptor, ...]:
    try:
        return cache.closure(descriptor)
    except ContentError:
        return ()
