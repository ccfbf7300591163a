"""Parsed manifests take a bounded amount of memory."""

from __future__ import annotations

from pipeline.core.oci import OCI_INDEX, Digest, Index
from pipeline.reader.contents.parsed import ParsedManifests


def test_those_used_last_are_preserved() -> None:
    read: list[Digest] = []

    def parse(digest: Digest) -> tuple[Index, int]:
        read.append(digest)
        return Index(OCI_INDEX, ()), 40

    a, b, c = (Digest.of(each) for each in (b"a", b"b", b"c"))
    parsed = ParsedManifests(parse, room=100)
    for digest in (a, b, a, c, a, b):
        parsed(digest)
    assert read == [a, b, c, b], "b was used longest ago when there was no room for c"
