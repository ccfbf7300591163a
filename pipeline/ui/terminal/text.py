"""Figures as people read them, and text that can do a terminal no harm and gives no secret away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pipeline.core.redact import redact

BETWEEN = " · "
"""Between figures of one line."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """``text`` without control characters other than tab and newline, and without passwords and tokens."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], redact(text))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of columns, as wide as they need to be; those whose head begins with ``>`` are aligned to the right."""
    names = [name.removeprefix(">") for name in head]
    lines = [names, *rows]
    widths = [max(len(line[number]) for line in lines) for number in range(len(head))]
    for line in lines:
        cells = (
            cell.rjust(width) if name.startswith(">") else cell.ljust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def referrers_text(number: int | str) -> str:
    """What stands after a number of images: `` and 2 referrers``, or nothing."""
    return f" and {number} referrer{'' if number == 1 else 's'}" if number else ""


_SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle."
"""What cosign 3 makes, of signatures and of attestations alike: its predicate type tells them apart."""


def kind_text(artifact_type: str, predicate: str = "") -> str:
    """``signature``, ``attestation`` or ``SBOM`` for what people have a word for; otherwise the artifact type.

    ``predicate`` is the predicate type of a sigstore bundle, where it is known.
    """
    if artifact_type.startswith(_SIGSTORE_BUNDLE) and predicate:
        if re.search(r"spdx|cyclonedx", predicate):
            return "SBOM"
        return "signature" if predicate.startswith("https://sigstore.dev/cosign/sign/") else "attestation"
    known = re.search(r"cosign\.artifact\.(sig|att|sbom)\.|(spdx|cyclonedx)|(notary|notation)", artifact_type)
    if known is None:
        return harmless(artifact_type) or "artifact"
    return {"sig": "signature", "att": "attestation", "sbom": "SBOM"}.get(known[1] or "", "SBOM" if known[2] else "signature")
