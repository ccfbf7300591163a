"""The task graph of a load, all wiring, no logic.

    ACT 1   check:<target>  →  prove:<target>        what the target names there right now; has it what a delta leaves out?
    ACT 2   project:<name>  →  push:<target>         Harbor's projects; then whatever is not there
            push:<target>  →  list:<subject>         signatures and the like are listed for what they refer to

The registry is the truth, so no file is handed on: a push is up to date when act 1 found the very digest at its target.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from pipeline.acts.actions import Actions
from pipeline.acts.engine import AFTER, TaskDict
from pipeline.acts.progress import Tracker
from pipeline.core.amounts import bytes_text, duration_text
from pipeline.core.errors import ContentError
from pipeline.core.log import Done, log, log_done
from pipeline.core.oci import Digest
from pipeline.core.reference import Reference
from pipeline.reader.contents import BundledImage
from pipeline.registry.distribution import Distribution
from pipeline.registry.harbor import Harbor
from pipeline.registry.presence import Presence
from pipeline.registry.skopeo.client import Skopeo
from pipeline.steps import check, push
from pipeline.steps.prove import Prover
from pipeline.steps.push import CountingSource, LocalRegistry, Pusher


class LoadContext(Actions):
    """What the tasks of one load share."""

    def __init__(self, skopeo: Skopeo, distribution: Distribution, blob_source: CountingSource) -> None:
        super().__init__()
        self.skopeo = skopeo
        self.distribution = distribution
        self.blob_source = blob_source
        self.presence = Presence(distribution)
        self.tracker = Tracker(blob_source.has_sent)
        self.lacking: list[tuple[str, Digest, int]] = []
        """What a delta leaves out and the target does not have: the image that needs it, digest, bytes."""
        self.there: set[Reference] = set()
        """Targets that name the right digest already."""


def check_tasks(context: LoadContext, wanted: Mapping[Reference, BundledImage]) -> Iterator[TaskDict]:
    """Act 1."""
    for target, image in wanted.items():

        def work(target: Reference = target, image: BundledImage = image) -> None:
            if check.check(context.distribution, context.presence, context.blob_source.contents, image, target):
                context.there.add(target)

        yield {
            "basename": "check",
            "name": str(target),
            "doc": f"what {target} names right now",
            "actions": [context.act(f"check:{target}", work, image.m_id, text=str(image.reference))],
        }


def prove_tasks(context: LoadContext, wanted: Mapping[Reference, BundledImage], prover: Prover) -> Iterator[TaskDict]:
    """Act 1, of a delta: nothing is pushed before all of it has succeeded. What is not there goes to ``context.lacking``."""
    contents = context.blob_source.contents
    for target, image in wanted.items():

        def work(target: Reference = target, image: BundledImage = image) -> None:
            for digest in contents.closure(image.descriptor):
                absent = contents.left_out(digest)
                if absent is not None and not prover.is_there(digest, absent, target):
                    context.lacking.append((str(image.reference), digest, absent.size))

        yield {
            "basename": "prove",
            "name": str(target),
            "doc": f"whether the registry has what {image.reference} is carried without",
            "actions": [context.act(f"prove:{target}", work, image.m_id, text=str(image.reference))],
        }


def push_tasks(
    context: LoadContext, local_registry: LocalRegistry, wanted: Mapping[Reference, BundledImage], harbor: Harbor | None
) -> Iterator[TaskDict]:
    """Act 2. A push waits for those that send layers it needs too, which are mounted then, and for its project."""
    waiting = {target: image for target, image in wanted.items() if target not in context.there}
    if harbor is not None:
        yield from _project_tasks(context, waiting, harbor)
    order = push.after(context.blob_source, waiting)
    pusher = Pusher(
        skopeo=context.skopeo,
        distribution=context.distribution,
        presence=context.presence,
        source=context.blob_source,
        registry=local_registry,
    )
    for target, image in wanted.items():
        name = f"push:{target}"
        others = sorted(f"push:{other}" for other in order.get(target, ()))
        projects = [f"project:{project_of(target)}"] if harbor is not None and target in waiting else []

        def work(target: Reference = target, image: BundledImage = image) -> None:
            _push(context, pusher, target, image)

        yield {
            "basename": "push",
            "name": str(target),
            "doc": f"bring {image.reference} to {target}",
            "actions": [context.act(name, work, image.m_id, text=str(image.reference))],
            "task_dep": [*projects, *others],
            "meta": {AFTER: others},
            "uptodate": [lambda target=target: target in context.there],
        }


def list_tasks(
    context: LoadContext, wanted: Mapping[Reference, BundledImage], subjects: Mapping[Reference, Sequence[Reference]]
) -> Iterator[TaskDict]:
    """Act 2, of what refers to something: the registry must say so to whoever asks for referrers."""
    for subject, targets in subjects.items():
        pushes = [f"push:{target}" for target in targets]

        def work(subject: Reference = subject, targets: Sequence[Reference] = targets) -> None:
            assert subject.digest is not None
            descriptors = [wanted[target].descriptor for target in targets if target in context.there]
            entries = [context.blob_source.contents.referrer_entry(descriptor) for descriptor in descriptors]
            context.distribution.ensure_listed(subject, subject.digest, entries)

        yield {
            "basename": "list",
            "name": str(subject),
            "doc": f"see to it that what refers to {subject} is found there",
            "actions": [context.act(f"list:{subject}", work, wanted[targets[0]].m_id, text=str(subject))],
            "task_dep": pushes,
            "meta": {AFTER: pushes},
        }


def by_subject(context: LoadContext, wanted: Mapping[Reference, BundledImage]) -> dict[Reference, list[Reference]]:
    """The targets that refer to a manifest in their repository, by that manifest."""
    found: dict[Reference, list[Reference]] = {}
    for target, image in wanted.items():
        with suppress(ContentError):  # what is damaged is told where it is pushed
            subject = context.blob_source.contents.parse(image.descriptor.digest).subject
            if subject is not None:
                found.setdefault(target.by_digest(subject.digest), []).append(target)
    return found


def project_of(target: Reference) -> str:
    """The project in a Harbor that ``target`` belongs to."""
    return target.repository.partition("/")[0]


def _project_tasks(context: LoadContext, waiting: Mapping[Reference, BundledImage], harbor: Harbor) -> Iterator[TaskDict]:
    for project in dict.fromkeys(map(project_of, waiting)):

        def work(project: str = project) -> None:
            if harbor.ensure(project):
                log.info("made the project %s", project)

        yield {
            "basename": "project",
            "name": project,
            "doc": f"see to it that there is a project {project}",
            "actions": [context.act(f"project:{project}", work)],
        }


def _push(context: LoadContext, pusher: Pusher, target: Reference, image: BundledImage) -> None:
    closure = context.blob_source.contents.closure(image.descriptor)
    before, started = context.blob_source.sent(closure), time.monotonic()
    log.info("pushing %s to %s", image.reference, target)

    def growing() -> int:
        return context.blob_source.sent(d for d, blob in closure.items() if not context.blob_source.has_sent(blob))

    with context.tracker.transfer(str(target), tuple(closure.values()), growing):
        pusher.push(image, target)
    context.there.add(target)
    size, seconds = context.blob_source.sent(closure) - before, time.monotonic() - started
    context.tracker.credit(f"push:{target}", size)
    log_done(Done(str(target), (), size))
    figures = {"bytes": size, "seconds": round(seconds, 3)}
    log.info("pushed %s: %s, %s", target, bytes_text(size), duration_text(seconds), extra=figures)
