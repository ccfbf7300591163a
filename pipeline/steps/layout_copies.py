"""Copies by skopeo from the shared blobs to a temporary layout, which prove that it can read the images.

A skopeo takes 15 ms of processor to start and 2 ms an image, so copies are joined: while blobs still arrive, until ``ENOUGH``
of them wait or ``GATHER`` has passed since the last start. They are a ``copy --all`` of an index that lists their manifests.
Where that fails, each is copied alone, so that the one that cannot be read is known from the others. One skopeo runs at a
time, as it takes the processor from what arrives; when nothing does any more, two may.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.core import files, oci
from pipeline.core.errors import ContentError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import Descriptor, Digest, Manifest
from pipeline.registry.skopeo.client import Skopeo
from pipeline.storage.cache import SHARE, Cache
from pipeline.storage.image_layout import BLOBS, INDEX, fresh_folder, layout_index

GATHER = 1.0
"""Seconds from one start of skopeo to the next, as long as there is something else to do."""
ENOUGH = 20
"""Images that are worth a start of their own."""
POLL = 0.2
"""Seconds between two looks at whether the run is to stop."""


@dataclass(eq=False, kw_only=True)
class _Wanted:
    """An image that waits for a copy. ``is_taken`` by a skopeo that is about to run, ``is_settled`` once that had it;
    ``is_proved`` where it could read it.
    """

    manifest: Manifest
    descriptor: Descriptor
    is_taken: bool = False
    is_settled: bool = False
    is_proved: bool = False

    def entry(self) -> Descriptor:
        """As an index lists it: under the media type that it states itself."""
        return Descriptor(self.manifest.media_type, self.descriptor.digest, self.descriptor.size)


class LayoutCopies:
    """Safe to use from many threads: one of those that wait runs skopeo for all of them."""

    def __init__(self, cache: Cache, skopeo: Skopeo, interruption: Interruption) -> None:
        self._cache = cache
        self._skopeo = skopeo
        self._interruption = interruption
        lock = threading.Lock()
        self._settled = threading.Condition(lock)
        """Of what those wait for who do not run skopeo."""
        self._gathered = threading.Condition(lock)
        """Of what the one waits for who is about to."""
        self._waiting: list[_Wanted] = []
        self._is_gathering = False
        """Whether somebody is about to run skopeo for all that wait."""
        self._running = 0
        self._number = 0
        self._arriving = 0
        self._started = time.monotonic()

    @contextlib.contextmanager
    def blob_arrives(self) -> Iterator[None]:
        """While a blob is fetched, which may be the last that another image needs."""
        with self._gathered:
            self._arriving += 1
        try:
            yield
        finally:
            with self._gathered:
                self._arriving -= 1
                if not self._arriving:
                    self._gathered.notify()
                    self._settled.notify_all()

    def prove(self, target: Path, manifest: Manifest, descriptor: Descriptor) -> None:
        """Have skopeo copy an image whose blobs are all here. Raises ContentError where it cannot.

        What is made for that lies beside ``target`` and is gone afterwards.
        """
        mine = _Wanted(manifest=manifest, descriptor=descriptor)
        if not self._is_proved(target, mine):
            self._prove_alone(target, mine)

    def _is_proved(self, target: Path, mine: _Wanted) -> bool:
        """False where a copy of it with others has failed."""
        with self._settled:
            self._waiting.append(mine)
            if len(self._waiting) >= ENOUGH:
                self._gathered.notify()
            while not mine.is_settled and (mine.is_taken or self._is_gathering or self._is_busy):
                self._settled.wait(POLL)
                self._interruption.check()
            if mine.is_settled:
                return mine.is_proved
            self._is_gathering = True
            self._running += 1
            self._number = number = self._number + 1
        joined: Sequence[_Wanted] = [mine]
        is_proved = False
        try:
            joined = self._gather()
            if len(joined) > 1:
                is_proved = self._prove_together(joined, number)
            else:
                self._prove_alone(target, mine)
                is_proved = True
        finally:
            with self._settled:
                for each in joined:
                    each.is_settled, each.is_proved = True, is_proved
                self._running -= 1
                self._settled.notify_all()
        return is_proved

    @property
    def _is_busy(self) -> bool:
        return self._running >= (1 if self._arriving else 2)

    def _gather(self) -> Sequence[_Wanted]:
        with self._gathered:
            try:
                while (
                    self._arriving and len(self._waiting) < ENOUGH and (left := self._started + GATHER - time.monotonic()) > 0
                ):
                    self._gathered.wait(min(left, POLL))
                    self._interruption.check()
            finally:
                self._is_gathering = False
            self._started = time.monotonic()
            joined, self._waiting = self._waiting, []
            for each in joined:
                each.is_taken = True
        return joined

    def _prove_together(self, joined: Sequence[_Wanted], number: int) -> bool:
        temporary = fresh_folder(self._cache.state / f"copies-{number}")
        manifests = {each.descriptor.digest: each for each in joined}
        document = layout_index([each.entry().to_json() for each in manifests.values()])
        index = Descriptor(oci.OCI_INDEX, Digest.of(document), len(document))
        try:
            read = [*manifests, *(each.manifest.config.digest for each in joined)]
            written = [layer for each in joined for layer in _layers(each.manifest)]
            if not (self._link(read, temporary / "read") and self._link(written, temporary / BLOBS)):
                return False
            (temporary / "read" / index.digest.algorithm).mkdir(exist_ok=True)
            files.write_new(temporary / "read" / index.digest.algorithm / index.digest.hex, document)
            self._copy(temporary, index, share="read")
        except ContentError as error:
            log.debug("%d images are copied one by one: %s", len(joined), error)
            return False
        finally:
            files.remove(temporary)
        return True

    def _prove_alone(self, target: Path, wanted: _Wanted) -> None:
        temporary = fresh_folder(target)
        try:
            # Without links it writes into the shared blobs: no harm is done, but the manifests and configs that it makes of
            # Docker's stay there.
            self._link(_layers(wanted.manifest), temporary / BLOBS)
            self._copy(temporary, wanted.entry())
        finally:
            files.remove(temporary)

    def _copy(self, temporary: Path, top: Descriptor, share: str | None = None) -> None:
        """From the layout ``source``, made here, to the layout ``copy``; ``share`` names the folder of what is read."""
        (temporary / "source").mkdir()
        files.write_new(temporary / "source" / INDEX, layout_index([top.to_json()]))
        place = str(temporary.relative_to(self._cache.root))
        blobs = f"{place}/{BLOBS}" if (temporary / BLOBS).is_dir() else SHARE
        read = f"{place}/{share}" if share else SHARE
        self._skopeo.copy_layout(self._cache.root, f"{place}/source", f"{place}/copy", share=read, blobs=blobs)

    def _link(self, digests: Iterable[Digest], folder: Path) -> bool:
        """Whether ``folder`` could be filled with links to blobs.

        skopeo finds them there and writes what it makes beside them, in place: so it must not write to the shared ones.
        """
        try:
            folder.mkdir()
            for digest in dict.fromkeys(digests):
                link = folder / digest.algorithm / digest.hex
                files.in_folder(link, partial(link.hardlink_to, self._cache.blob(digest)))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            files.remove(folder)
            return False
        return True


def _layers(manifest: Manifest) -> list[Digest]:
    return [layer.digest for layer in manifest.layers if not layer.is_foreign]
