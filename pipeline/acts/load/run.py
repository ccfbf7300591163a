"""A load, from source to registry: two acts, each a run of doit, so that a failed image takes itself out and nothing else.

Takes ``LoadOptions`` and an interruption, returns a ``LoadResult``. Guarantees: what can be loaded is, whatever failed; every
index and manifest arrives with its digest; what the target has is not sent; the next run goes on from there.
"""

from __future__ import annotations

import base64
import json
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path

from pipeline.acts import engine
from pipeline.acts.engine import Status, TaskDict, TaskResult
from pipeline.acts.load import tasks as load_tasks
from pipeline.acts.load.base_proof import refuse_other_registry, require
from pipeline.acts.load.options import LoadOptions, LoadPlan, LoadResult
from pipeline.acts.load.receipt import named_before, receipt
from pipeline.acts.load.tasks import LoadContext
from pipeline.core import disk, files, image_list
from pipeline.core.errors import ArchiveError, ContentError, ImageError, InputError, UsageError
from pipeline.core.interruption import Interruption
from pipeline.core.log import log
from pipeline.core.oci import Digest
from pipeline.core.parallel import in_parallel
from pipeline.core.reference import Reference, matches
from pipeline.reader import unpack
from pipeline.reader.contents import BundledImage, Contents, open_contents
from pipeline.reader.slips import demand_slip
from pipeline.reader.targets import in_registry, reference_in_registry
from pipeline.registry.distribution import Distribution
from pipeline.registry.harbor import Harbor
from pipeline.registry.skopeo.client import Skopeo
from pipeline.steps.prove import Prover
from pipeline.steps.push import CountingSource, LocalRegistry
from pipeline.storage import inventory, ssh_signature
from pipeline.storage.archive import ForeignArchiveError

_USER = "load"
_KINDS = {"dir": "a folder", "gzip": "gzip", "zstd": "zstd", "tar": "neither gzip nor zstd"}


class Load:
    """One run, all of it under the lock: ``open``, ``check``, then ``push`` and ``finish``; or look at ``plan``."""

    def __init__(self, options: LoadOptions, interruption: Interruption) -> None:
        self.result = LoadResult()
        self.options = options
        self._interruption = interruption
        self._skopeo = Skopeo(options.access, interruption)
        self._distribution = Distribution(
            *(options.access, interruption), connections=2 * options.jobs, mirrors=False, attempts=self._skopeo.attempts
        )

    def open(self) -> None:
        """Read what the source holds; unpack it where it cannot be read in place.

        Raises UsageError, InputError, ArchiveError, EnvironmentProblem.
        """
        _check_compression(self.options)
        for file in (self.options.failed_list, self.options.receipt):
            if file is not None:
                disk.check_writable(file.parent)
        self.context = LoadContext(self._skopeo, self._distribution, CountingSource(self._open()))
        if self.options.slip_signers is not None:
            self._demand_slip(self.options.slip_signers)
        for problem in self.context.blob_source.contents.problems:
            log.error("%s", problem)
            # In the failed list it is a comment: there is no name to write.
            self.result.failures[f"# {' '.join(problem.split())}"] = problem
        self.result.referrers = frozenset(str(held.reference) for held in self.context.blob_source.contents.along)
        refuse_other_registry(self.context.blob_source.contents, self.options.registry, self.options.source)
        self._targets = self._choose_targets()
        self._asked = frozenset(self._targets)
        self._kept: dict[Reference, BundledImage] = {}

    def _demand_slip(self, allowed: Path) -> None:
        """Before anything is asked or sent, and of the very files that are open. Raises ArchiveError."""
        found = demand_slip(self.options.source, self.context.blob_source.contents.store, allowed, self._interruption)
        log.info("slip: signed by %s on %s: %s", found["signer"], found.get("created", "?"), found.get("note") or "no note")

    def check(self) -> None:
        """Act 1: what the targets name right now. Failures are recorded, not raised."""
        self.context.tracker.begin("checking", len(self._targets), 0, "check")
        results = self._run(load_tasks.check_tasks(self.context, self._targets))
        for target, image in list(self._targets.items()):
            result = results[f"check:{target}"]
            if not result.ok:
                self.result.failures[str(image.reference)] = result.message
                del self._targets[target]

    def prove(self) -> None:
        """Of a delta: that the registry has what it leaves out. Raises ArchiveError, EnvironmentProblem where it does not."""
        if self.context.blob_source.contents.delta is None:
            return
        options, waiting = self.options, {t: image for t, image in self._targets.items() if t not in self.context.there}
        prover = Prover(self.context.presence, options.registry, self._renamed)
        self.context.tracker.begin("proving", len(waiting), 0, "prove")
        results = self._run(load_tasks.prove_tasks(self.context, waiting, prover))
        require(self.context, waiting, results, options.registry, options.missing)

    @property
    def plan(self) -> LoadPlan:
        contents = self.context.blob_source.contents
        missing = {target: image for target, image in self._targets.items() if target not in self.context.there}
        blobs: dict[Digest, int] = {}
        damaged: dict[str, str] = {}
        for image in missing.values():
            try:
                closure = contents.closure(image.descriptor).items()
                blobs.update({digest: blob.size for digest, blob in closure if contents.left_out(digest) is None})
            except ContentError as error:
                damaged[str(image.reference)] = str(error)
        targets = {str(image.reference): str(target) for target, image in missing.items()}
        return LoadPlan(targets, sum(blobs.values()), damaged)

    @property
    def there(self) -> list[str]:
        """References of the source that the target has already."""
        return [str(image.reference) for target, image in self._targets.items() if target in self.context.there]

    def push(self) -> None:
        """Act 2. Failures are recorded, not raised."""
        options, plan = self.options.harbor, self.plan
        projects = None
        if options is not None and plan.missing:
            projects = Harbor(self.options.registry, self._distribution.session, options.https)
        subjects = load_tasks.by_subject(self.context, self._targets)
        with self._local_registry() as local_registry:
            self.context.tracker.begin("pushing", len(self._targets), plan.size, "push")
            pushes = load_tasks.push_tasks(self.context, local_registry, self._targets, projects)
            results = self._run(chain(pushes, load_tasks.list_tasks(self.context, self._targets, subjects)))
        for target, image in self._targets.items():
            self._note(str(image.reference), results, target)
        for subject, targets in subjects.items():
            if results[f"list:{subject}"].status is Status.FAILED:
                for target in targets:
                    self._note_unlisted(str(self._targets[target].reference), results[f"list:{subject}"].message)
        self.result.sent = self.context.blob_source.sent()
        self.context.tracker.end()

    def read_back(self) -> None:
        """What an earlier receipt names and this load was not asked for: so the receipt of a part does not replace that of all.

        A HEAD each. What cannot be asked for is left out, as what is not there any more.
        """
        if not self.result.loaded or self.options.receipt is None:
            return
        bundled = self.context.blob_source.contents.bundled
        others = {target: image for image in bundled if (target := self._target(image)) not in self._asked}
        named = named_before(self.options.receipt, self.options.registry, others) if others else {}

        def is_there(target: Reference) -> bool:
            with suppress(ImageError):
                return self._distribution.digest_of(target) == named[target].descriptor.digest
            return False

        for target, is_kept in zip(named, in_parallel(is_there, list(named), self.options.jobs), strict=True):
            if is_kept:
                self._kept[target] = named[target]
            else:
                log.warning("%s is not what %s says any more, and leaves it", target, self.options.receipt.name)

    def finish(self) -> None:
        """Write the receipt and the failed list, and remove what was unpacked once nothing needs it."""
        if self.result.loaded and self.options.receipt is not None:
            found = receipt(self.context, self._targets, self._kept, self.options.registry)
            inventory.write(self.options.receipt, found)
            if self.options.sign is not None:
                signature = ssh_signature.sign(inventory.dump(found), self.options.sign, ssh_signature.RECEIPT)
                files.write_atomic(self.options.receipt.with_name(self.options.receipt.name + ssh_signature.SUFFIX), signature)
        image_list.write_failed(self.options.failed_list, self.result.failures, self.options.list_files)
        if not self.result.failures:
            files.remove(self.options.unpacked)

    def _open(self) -> Contents:
        try:
            return open_contents(self.options.source, self._interruption.check)
        except ForeignArchiveError:
            if self.options.source.is_dir():
                raise
        folder = unpack.folder_for(self.options.source, self.options.unpacked)
        try:
            unpack.unpack(self.options.source, folder, self._interruption)
        except OSError as error:
            raise disk.problem(error) from error
        try:
            return open_contents(folder, self._interruption.check, str(self.options.source))
        except ArchiveError:
            files.remove(folder)
            raise

    def _choose_targets(self) -> dict[Reference, BundledImage]:
        """Each image's target. Two images that would get one name, and are not the same, cannot both have it."""
        held = self._chosen()
        targets: dict[Reference, BundledImage] = {}
        for image in held:
            target = self._target(image)
            first = targets.setdefault(target, image)
            if first.descriptor.digest != image.descriptor.digest:
                problem = UsageError(
                    f"{target} is where {first.reference} goes, which is another image",
                    tip=f"load them apart, with -f and another -d, e.g. {self.options.registry}/{image.reference.registry}",
                )
                self.result.failures[str(image.reference)] = str(problem)
        return targets

    def _chosen(self) -> Iterable[BundledImage]:
        """What the list and the patterns name, with what refers to it, in the order of the source. Raises InputError."""
        contents, only, patterns = self.context.blob_source.contents, self.options.only, self.options.patterns
        if only is None and not patterns:
            return contents.bundled
        lacking = sorted(str(name) for name in (only or frozenset()) - {image.reference for image in contents.bundled})
        if lacking:
            raise InputError([f"{self.options.source} does not hold {name}" for name in lacking])
        chosen = {
            image
            for image in contents.bundled
            if image.reference in (only or ()) or (image.subject is None and matches(image.reference, patterns))
        }
        if not chosen:
            raise InputError([f"{self.options.source} holds no image that is called {' or '.join(patterns)}"])
        chosen |= {member for image, family in contents.families.items() if image in chosen for member in family}
        return sorted(chosen, key=lambda image: image.m_id)

    def _target(self, image: BundledImage) -> Reference:
        if (named := self.options.names.get(image.reference)) is not None:
            return named
        return in_registry(image, self.options.registry, self._project)

    @property
    def _project(self) -> str:
        """That of what has none in Harbor."""
        return self.options.harbor.default_project if self.options.harbor else ""

    def _renamed(self, name: Reference) -> Reference:
        return reference_in_registry(name, self.options.registry, self._project)

    def _note(self, name: str, results: Mapping[str, TaskResult], target: Reference) -> None:
        result = results[f"push:{target}"]
        if result.status is Status.DONE:
            self.result.pushed.append(name)
        elif result.status is Status.UP_TO_DATE:
            self.result.there.append(name)
        else:
            project = results.get(f"project:{load_tasks.project_of(target)}")
            self.result.failures[name] = result.message or (project.message if project else "not tried")

    def _note_unlisted(self, name: str, reason: str) -> None:
        """It is there, but nobody will find it."""
        for done in (self.result.pushed, self.result.there):
            if name in done:
                done.remove(name)
        self.result.failures[name] = reason

    @contextmanager
    def _local_registry(self) -> Iterator[LocalRegistry]:
        """Our own registry, on this machine, for nobody but our skopeos."""
        from pipeline.reader.serve import RegistryServer  # here: where all is there already, nothing is served

        password = secrets.token_urlsafe(24)
        with ExitStack() as stack:
            server = stack.enter_context(RegistryServer(self.context.blob_source, login=(_USER, password), patience=None))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="image-tools-")))
            token = base64.b64encode(f"{_USER}:{password}".encode()).decode()
            login = folder / "auth.json"
            login.touch(0o600)
            login.write_text(json.dumps({"auths": {server.host: {"auth": token}}}))
            yield LocalRegistry(server.host, login)

    def _run(self, graph: Iterable[TaskDict]) -> Mapping[str, TaskResult]:
        results = engine.run(
            graph,
            jobs=self.options.jobs,
            database=self.options.database,
            observer=self.context.tracker,
            interruption=self._interruption,
        )
        self._interruption.check()
        if self.context.fatal is not None:
            raise self.context.fatal
        return results


def _check_compression(options: LoadOptions) -> None:
    found = unpack.kind_of(options.source)
    if options.compression and options.compression != found:
        raise UsageError(
            f"-compress={options.compression}, but {options.source} is {_KINDS[found]}",
            tip="leave -compress out: what SOURCE is, is seen",
        )
