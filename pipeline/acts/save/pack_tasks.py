"""Act 3 as doit tasks: one archive, its names, and what lies beside it. All wiring, no logic.

tar:<bundle>  →  compress:<bundle>  →  split:<bundle>  →  parity:<bundle>, sign:<bundle>       (pack:<bundle>)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial

from pipeline.acts.engine import TaskDict, unchanged
from pipeline.acts.save.tasks import SaveContext
from pipeline.core.errors import UsageError
from pipeline.core.log import log
from pipeline.steps import compress, parity, sign, split, tar
from pipeline.steps.images.chosen import ChosenImage
from pipeline.storage import bundle_info

ACT_3 = ("tar", "compress", "split", "parity", "sign")
LAYOUT_VERSION = 4
"""Of the archive's contents; a new one makes every bundle pack again."""
_YEAR_10000 = 253_402_300_800


def pack_tasks(context: SaveContext, saved: Sequence[ChosenImage]) -> Iterator[TaskDict]:
    """Act 3."""
    bundle, state, name = context.bundle, context.state, context.bundle.name
    listed = [item.image.reference.listed for item in saved if not item.is_referrer]
    references = [str(item.image.reference) for item in saved]
    records = [str(state.referrers(item.image.reference)) for item in saved if item.image.referrers is not None]
    epoch = source_date_epoch()
    failed = len(bundle.images) - len(listed)
    yield {
        "basename": "tar",
        "name": name,
        "doc": "lay out the archive",
        "actions": [context.action(f"tar:{name}", partial(_lay_out, context, saved, epoch))],
        "file_dep": [*(str(state.image_index(item.image.reference)) for item in saved), *records],
        "targets": [str(state.archive_layout)],
        "uptodate": [
            unchanged(
                bundle=bundle.id,
                references=references,
                version=LAYOUT_VERSION,
                epoch=epoch,
                packing=asdict(bundle_info.packing(bundle.output)),
                asked=[item.image.asked for item in saved],
                shard=[str(bundle.shard), str(bundle.shard.lock), failed] if bundle.shard else None,
                base=[context.base.digests, sorted(map(str, bundle.carried))] if context.base else None,
            ),
            partial(tar.is_current, state),
        ],
    }
    yield {
        "basename": "compress",
        "name": name,
        "doc": "write the archive",
        "actions": [context.action(f"compress:{name}", partial(_compress, context))],
        "file_dep": [str(state.archive_layout)],
        "targets": [str(state.packed)],
        "uptodate": [
            unchanged(
                bundle=bundle.id,
                compression=bundle.output.compression.value,
                level=bundle.output.level,
                part_size=bundle.output.part_size,
            ),
            partial(compress.is_current, state, bundle),
        ],
    }
    yield {
        "basename": "split",
        "name": name,
        "doc": "give the archive or its volumes their names and checksums",
        "actions": [context.action(f"split:{name}", partial(_split, context, listed))],
        "file_dep": [str(state.packed)],
        "targets": [str(state.output)],
        "uptodate": [
            unchanged(bundle=bundle.id, references=listed),
            partial(split.is_current, context.cache, state, bundle),
        ],
    }
    if bundle.output.parity:
        yield {
            "basename": "parity",
            "name": name,
            "doc": "make recovery files",
            "actions": [context.action(f"parity:{name}", partial(parity.make, state, bundle, context.interruption))],
            "file_dep": [str(state.output)],
            "targets": [str(state.parity)],
            "uptodate": [
                unchanged(bundle=bundle.id, parity=bundle.output.parity, blocks=bundle.output.parity_blocks),
                partial(parity.is_current, state),
            ],
        }
    if bundle.output.sign is not None:
        yield {
            "basename": "sign",
            "name": name,
            "doc": "sign a slip",
            "actions": [context.action(f"sign:{name}", partial(sign.sign, state, bundle, epoch, context.interruption))],
            "file_dep": [str(state.output)],
            "targets": [str(state.slip)],
            "uptodate": [
                unchanged(bundle=bundle.id, key=str(bundle.output.sign), note=bundle.output.note),
                partial(sign.is_current, state),
            ],
        }
    wanted = {"parity": bundle.output.parity is not None, "sign": bundle.output.sign is not None}
    last = [f"{kind}:{name}" for kind, is_wanted in wanted.items() if is_wanted] or [f"split:{name}"]
    yield {"basename": "pack", "name": name, "doc": f"the whole bundle {name}", "actions": None, "task_dep": last}


def source_date_epoch() -> int | None:
    """``SOURCE_DATE_EPOCH`` (reproducible-builds.org), or None. Raises UsageError for what is no time."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not (re.fullmatch("[0-9]{1,12}", text) and int(text) < _YEAR_10000):
        raise UsageError(f"SOURCE_DATE_EPOCH={text!a} is no time in seconds since 1970", tip="unset it, or use 'date +%s'")
    return int(text) if text else None


def _lay_out(context: SaveContext, saved: Sequence[ChosenImage], epoch: int | None) -> None:
    tar.lay_out(context.cache, context.state, context.bundle, saved, epoch, context.base)


def _split(context: SaveContext, listed: Sequence[str]) -> None:
    split.split(context.cache, context.state, context.bundle, listed, context.no_readers)


def _compress(context: SaveContext) -> None:
    output = context.bundle.output
    log.info("writing %s", output.destination)
    compress.compress(context.cache, context.state, context.bundle, context.interruption, context.tracker.add)
