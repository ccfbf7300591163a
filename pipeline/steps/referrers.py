"""Act 1, one image: what refers to it right now? Signatures, attestations, SBOMs, and what refers to these.

Takes an image and its choice, returns what was found, whose manifests are in ``share/`` then; blobs are copied in act 2, like
those of images. Looked for are cosign's tags (``sha256-<hex>.sig``) and what the registry lists,
by its API or, without one, under the fallback tag. Promises: a registry that does not answer is a failure, never "unsigned";
the number of requests is bounded: five at the most for each manifest, ours or found.

Sources: distribution-spec 1.1, "Listing Referrers", "Referrers Tag Schema"; cosign ``specs/SIGNATURE_SPEC.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pipeline.core import oci
from pipeline.core.bundle import ArtifactTypes, BundleImage, Referrer
from pipeline.core.errors import Cause, ContentError, RegistryError
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest
from pipeline.core.parallel import in_parallel
from pipeline.core.reference import Reference
from pipeline.steps import resolve
from pipeline.steps.images.choose import Choice
from pipeline.steps.manifest_source import ManifestSource
from pipeline.storage.cache import Cache
from pipeline.storage.records import referrers as referrers_record
from pipeline.storage.records.referrers import Found

COSIGN = {kind: f"application/vnd.dev.cosign.artifact.{kind}.v1+json" for kind in ("sig", "att", "sbom")}
"""Suffix of cosign's tags, and what it calls such a thing where it stores it as a referrer."""
PROBES = 4
"""Manifests of one image that are asked about at once."""
MAX_REFERRERS = 1000
"""Of one image."""
MAX_LEVELS = 4
"""What refers to an image, what refers to that, and so on."""


def find(cache: Cache, source: ManifestSource, image: BundleImage, choice: Choice) -> Found:
    """Look, and fetch the manifests. Raises RegistryError, ContentError."""
    assert image.referrers is not None, "who does not ask is not told"
    search = _Search(cache, source, image)
    kept = choice.subjects
    if image.locked_referrers is not None:
        found: tuple[Referrer, ...] = image.locked_referrers
    else:
        found = tuple(search.below(kept))
        if search.left_out:
            log.info("%s: -referrer-types leaves out %d that refer to it", image.text, len(search.left_out))
    lost = tuple(search.about(choice.top.digest)) if choice.top.digest not in kept else ()
    for referrer in found:
        # As for an image that is pinned to this digest: its config, and of an index all that is in it.
        resolve.resolve(cache, source, referrers_record.image_of(image, referrer))
    return Found(kept, str(image.referrers), found, lost)


class _Search:
    """Through one repository."""

    def __init__(self, cache: Cache, source: ManifestSource, image: BundleImage) -> None:
        self._cache = cache
        self._source = source
        self._distribution = source.distribution
        self._name = Reference(image.source.registry, image.source.repository)
        self._types = image.referrers or ArtifactTypes()
        self.left_out: set[Digest] = set()
        """What the registry lists, and whose type was not asked for."""

    def below(self, subjects: Iterable[Digest]) -> list[Referrer]:
        """All that refers to ``subjects``, and to what was found."""
        found: list[Referrer] = []
        level = list(subjects)
        seen = set(level)
        for _ in range(MAX_LEVELS + 1):  # the last of which must find nothing
            probed = in_parallel(lambda subject: list(self.about(subject)), level, PROBES)
            listed = list(dict.fromkeys(each for found_there in probed for each in found_there))
            if len(found) + len(listed) > MAX_REFERRERS:
                raise ContentError(f"more than {MAX_REFERRERS} manifests refer to it", tip="choose some with -referrer-types")
            new = in_parallel(self._read, listed, PROBES)
            known = [each for each in new if each is not None and self._is_wanted(each.digest, each.artifact_type)]
            found += known
            level = list(dict.fromkeys(each.digest for each in known if each.digest not in seen))
            seen.update(level)
            if not level:
                return found
        raise ContentError(f"what refers to it goes more than {MAX_LEVELS} levels deep", tip="choose some with -referrer-types")

    def about(self, subject: Digest) -> Iterator[Referrer]:
        """What directly refers to ``subject``, in a stable order; the sizes of cosign's are not known yet."""
        for kind, artifact_type in COSIGN.items():
            tag = f"{subject.algorithm}-{subject.hex}.{kind}"
            if subject.algorithm == "sha256" and self._types.matches(artifact_type):
                digest = self._distribution.tagged(self._name, subject, tag)
                if digest is not None:
                    yield Referrer(subject=subject, digest=digest, media_type="", size=0, artifact_type=artifact_type, tag=tag)
        listed = self._distribution.referrers(self._name, subject).entries
        entries = [each for each in map(_entry, listed) if each is not None]
        for descriptor, artifact_type in sorted(entries, key=lambda entry: entry[0].digest):
            if not artifact_type or self._is_wanted(descriptor.digest, artifact_type):
                yield Referrer(
                    subject=subject,
                    digest=descriptor.digest,
                    media_type=descriptor.media_type,
                    size=descriptor.size,
                    artifact_type=artifact_type,
                )

    def _is_wanted(self, digest: Digest, artifact_type: str) -> bool:
        if self._types.matches(artifact_type):
            return True
        self.left_out.add(digest)
        return False

    def _read(self, referrer: Referrer) -> Referrer | None:
        """The referrer as its manifest says it is, which is in the cache then; None where it cannot come along."""
        data = self._manifest(referrer)
        try:
            if data is None:
                raise ContentError("it is listed, but not there")
            parsed = oci.parse(data)
            if isinstance(parsed, oci.Schema1):
                raise ContentError("Docker schema 1")
            if not referrer.tag and (parsed.subject is None or parsed.subject.digest != referrer.subject):
                raise ContentError(f"it is listed for {referrer.subject}, but refers to something else")
        except ContentError as error:
            name = self._name.by_digest(referrer.digest)
            if self._types.is_strict:
                raise ContentError(
                    f"{name} refers to the image, but cannot come along: {error.message}",
                    tip="-referrers, without =strict, leaves it out",
                ) from error
            log.warning("%s refers to the image, but cannot come along: %s", name, error.message)
            return None
        self._cache.put(data, referrer.digest)
        artifact_type = referrer.artifact_type if referrer.tag else parsed.type
        return replace(referrer, media_type=parsed.media_type, size=len(data), artifact_type=artifact_type)

    def _manifest(self, referrer: Referrer) -> bytes | None:
        with suppress(ContentError):
            return self._cache.read(referrer.digest)
        try:
            with self._source.gets(self._name, 1) as gets:
                return gets.bytes_of(self._name.by_digest(referrer.digest))
        except RegistryError as error:
            if error.cause is Cause.NOT_FOUND:
                return None
            raise


def _entry(data: Mapping[str, Any]) -> tuple[Descriptor, str] | None:
    """A listed descriptor and its artifact type; None for what is none."""
    try:
        descriptor = Descriptor.from_json(data)
    except ContentError:
        return None
    artifact_type = data.get("artifactType")
    return descriptor, artifact_type if isinstance(artifact_type, str) else ""
