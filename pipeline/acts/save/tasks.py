"""What the tasks of a save share: ``SaveContext``. The graph is every step as a doit task, for ``cli`` and ``dodo.py``.

    ACT 1   see ``resolve_tasks``
    ACT 2   see ``copy_tasks``
    ACT 3   see ``pack_tasks``

Tasks hand small JSON files to each other, never gigabytes: doit hashes its ``file_dep``, and a layout that names every blob by
digest is a perfect stand-in for the blobs. What no file carries (an order, a codec) stands in ``engine.unchanged``.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.acts.actions import Actions
from pipeline.acts.progress import Tracker
from pipeline.core import disk, files, image_list
from pipeline.core.amounts import bytes_text, duration_text
from pipeline.core.bundle import Bundle, BundleImage
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.reader.inventories import read_base
from pipeline.registry.distribution import Distribution
from pipeline.registry.policy import SignaturePolicy
from pipeline.registry.quota import Quota, QuotaWatch
from pipeline.registry.skopeo.client import Skopeo
from pipeline.registry.throttle import RegistryPaused
from pipeline.steps import compress, copy, resolve, split
from pipeline.steps.images.choose import Choice
from pipeline.steps.images.chosen import ChosenImage, one_list, with_referrers
from pipeline.steps.layout_copies import LayoutCopies
from pipeline.steps.manifest_source import ManifestSource
from pipeline.storage import locks
from pipeline.storage.bundle_state import BundleState
from pipeline.storage.cache import Cache
from pipeline.storage.delta import Base
from pipeline.storage.destination import files_at
from pipeline.storage.records import bundle as bundle_record
from pipeline.storage.records import registries as registries_record
from pipeline.storage.records.packed import read_finished
from pipeline.storage.records.registries import KnownRegistries

PAUSE_POLL = 0.5
"""Seconds between two looks at whether a registry that said "too many requests" may be asked again."""


class SaveContext(Actions):
    """What the tasks of one run share: the cache, skopeo, leases, the wish to stop, and what went wrong."""

    def __init__(self, bundle: Bundle, interruption: Interruption, beside: SaveContext | None = None) -> None:
        """``beside`` is the workshop of another bundle on the same cache, in the same run."""
        super().__init__()
        self.bundle = bundle
        self.cache: Cache = beside.cache if beside else Cache(bundle.cache, interruption.check)
        self.state: BundleState = self.cache.bundle_state(bundle)
        self.interruption = interruption
        self.patient = True
        """False where who runs the tasks can put one off while its registry is held (``engine.run`` can)."""
        self.waits = False
        """Whether to wait for other runs and for readers that are in the way (``-wait``)."""
        self.when_paused = lambda: interruption.wait(PAUSE_POLL)
        self._known_registries = registries_record.read(self.cache.known_registries)
        known = {name: Quota(*quota) for name, quota in self._known_registries.quotas.items()}
        self.quota: QuotaWatch = beside.quota if beside else QuotaWatch(interruption, known)
        self.leases: copy.Leases = beside.leases if beside else copy.Leases(interruption)
        self.choices: dict[Reference, Choice] = {}
        """What act 1 chose in this run."""
        self.probed: set[str] = set()
        """Registries that have answered in this run."""
        self.via_skopeo: set[str] = set()
        """Registries that only skopeo gets at."""
        self.planned: dict[Reference, ChosenImage] = {}
        self.tracker = Tracker(self.cache.has)
        self.fetched = 0
        self._begun: dict[str, float] = {}
        self._lock = threading.Lock()

    @cached_property
    def skopeo(self) -> Skopeo:
        return Skopeo(self.bundle.access, self.interruption, self.patient)

    @cached_property
    def copies(self) -> LayoutCopies:
        return LayoutCopies(self.cache, self.skopeo, self.interruption)

    @cached_property
    def base(self) -> Base | None:
        """What the other side has; None where a whole bundle is made. Raises InputError, ArchiveError."""
        if not self.bundle.bases:
            return None
        check, signers = self.interruption.check, self.bundle.base_signers
        inventories = tuple(read_base(path, check, signers) for path in self.bundle.bases)
        return Base(inventories=inventories, carried=self.bundle.carried)

    @cached_property
    def default_policy(self) -> SignaturePolicy:
        """The user's or the machine's signature policy."""
        return SignaturePolicy(None)

    @cached_property
    def required_policy(self) -> SignaturePolicy | None:
        """The signature policy of ``-require-signed``."""
        path = self.bundle.access.policy
        return SignaturePolicy(path) if path is not None else None

    @cached_property
    def policy_state(self) -> str:
        """Digest over the policy of ``-require-signed`` and every key file that it names."""
        assert self.bundle.access.policy is not None, "who has none does not ask"
        text = self.bundle.access.policy.read_bytes()
        keys = [Path(name) for name in re.findall(r'"(/[^"]+)"', text.decode(errors="replace"))]
        return str(Digest.of(b"".join([text, *(path.read_bytes() for path in keys if path.is_file())])))

    @cached_property
    def distribution(self) -> Distribution:
        made = Distribution(
            self.bundle.access,
            self.interruption,
            connections=2 * self.bundle.jobs,
            attempts=self.skopeo.attempts,
            strict=self.bundle.referrers is not None and self.bundle.referrers.is_strict,
            quota=self.quota,
        )
        made.heads_lie.update(self._known_registries.heads_lie)
        return made

    def is_via_skopeo(self, registry: str) -> bool:
        """Whether skopeo alone talks to a registry."""
        return self.bundle.access.via == "skopeo" or registry in self.via_skopeo

    @cached_property
    def source(self) -> ManifestSource:
        return ManifestSource(self.cache, self.distribution, self.quota, self.skopeo, self.is_via_skopeo)

    def keep_known_registries(self) -> None:
        """Remember what this run has learned of registries."""
        quotas = {name: (quota.limit, quota.window) for name, quota in self.quota.known.items()}
        known = KnownRegistries(frozenset(self.distribution.heads_lie), quotas)
        with self._lock:
            if known != self._known_registries:
                self._known_registries = known
                registries_record.write(self.cache.known_registries, known)

    def chosen(self, images: Iterable[BundleImage]) -> list[ChosenImage]:
        """What is saved of the images, by act 1 of this run or by its records: those that are known, then their referrers."""
        return one_list(self._with_referrers(image) for image in images)

    def known_choice(self, image: BundleImage) -> Choice | None:
        """The platforms of an image that are saved; None where act 1 has not found them, neither now nor in an earlier run."""
        choice = self.choices.get(image.reference) or resolve.known_choice(self.cache, image)
        if choice is not None:
            self.choices[image.reference] = choice
        return choice

    def _with_referrers(self, image: BundleImage) -> list[ChosenImage]:
        choice = self.known_choice(image)
        return with_referrers(self.cache, self.state, image, choice) if choice else []

    @contextlib.contextmanager
    def destination_locked(self) -> Iterator[None]:
        """Hold the destination against runs on other caches. Raises EnvironmentProblem."""
        if self.bundle.is_cache:
            yield
            return
        destination = self.bundle.output.destination
        disk.check_writable(destination.parent)
        with locks.lock_destination(destination, wait=self.waits, sleep=self.interruption.sleep):
            yield

    def no_readers(self, folder: Path) -> contextlib.AbstractContextManager[None]:
        """Hold a folder that is going to be replaced. Raises EnvironmentProblem where it is being read."""
        return locks.no_readers(folder, wait=self.waits, sleep=self.interruption.sleep)

    def begin(self) -> None:
        """Make the cache ready for this bundle, finish what a killed run left, remove what nobody will finish.

        Call under the lock. Raises EnvironmentProblem, and OSError where the disk does not take it.
        """
        destination = self.bundle.output.destination
        self.cache.prepare()
        self.cache.clean_up()
        if self.bundle.access.via == "skopeo":
            files.remove(self.cache.partials)  # it begins each blob anew
        split.roll_forward(self.state, self.no_readers)
        compress.remove_leftovers(self.state, self.bundle)
        recovery = destination.with_name(f"{destination.name}.par2")
        own = (self.bundle.failed_list, self.bundle.output.checksum_file, self.bundle.lock_file, destination, recovery)
        for path in own:
            for leftover in files.temporary_leftovers(path) if path else ():
                if not compress.is_waiting(self.state, leftover):
                    files.remove(leftover)
        if not self.bundle.is_cache:
            files_at(self.bundle.output, read_finished(self.state.output)).refuse_foreign()

    def remember(self, images: Sequence[BundleImage]) -> None:
        """Keep the list: going on after an interruption needs no typing, and nothing that it needs is pruned."""
        files.write_if_changed(self.state.kept_list, image_list.format_list(image.text for image in images))
        bundle_record.write(self.state.description, self.bundle, images)

    def count_fetched(self, size: int) -> None:
        with self._lock:
            self.fetched += size

    def begin_copy(self, task: str, name: str) -> None:
        """Tell, once, that the work on an image/arch begins: with the first blob fetched for it, or else with its copy."""
        with self._lock:
            is_first = task not in self._begun
            if is_first:
                self._begun[task] = time.monotonic()
        if is_first:  # not under the lock: others would wait for the terminal
            log.info("copying %s", name)

    def end_copy(self, task: str, name: str, size: int) -> None:
        """Tell that an image/arch of ``size`` bytes is whole."""
        with self._lock:
            seconds = time.monotonic() - self._begun.pop(task)
        figures = {"bytes": size, "seconds": round(seconds, 3)}
        log.info("copied %s: %s, %s", name, bytes_text(size), duration_text(seconds), extra=figures)

    def action(
        self,
        task: str,
        work: Callable[[], object],
        image: BundleImage | None = None,
        img_id: int = 0,
        asks: bool = True,
        called: str = "",
    ) -> Callable[[], Any]:
        """As ``act``, about an image of the bundle, or a part of it that is ``called`` otherwise.

        ``asks`` where its registry is asked for something.
        """

        def unless_paused() -> None:
            if asks and image is not None and not self.patient and is_paused(self, image):
                raise RegistryPaused
            work()

        if image is None:
            return self.act(task, unless_paused)
        return self.act(task, unless_paused, image.m_id, img_id, image.text, called or image.text)


def is_paused(context: SaveContext, image: BundleImage) -> bool:
    return context.skopeo.is_paused(image.source.registry)
