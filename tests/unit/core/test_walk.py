"""The one walk through indexes: each object once, bounded, in order, and ended by whoever asks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import pytest

from pipeline.core import oci
from pipeline.core.errors import ContentError, Interrupted
from pipeline.core.oci import Descriptor, Digest, Index, Manifest, walk
from tests.support.images import Image, image, index, layer
from tests.support.images import Index as MadeIndex

AMD64, ARM64 = image("linux/amd64", [layer("shared"), layer("a")]), image("linux/arm64", [layer("shared"), layer("b")])


class Objects:
    """Reads what was made, and counts."""

    def __init__(self, made: Image | MadeIndex) -> None:
        self.data: dict[str, bytes] = {}
        self.read_count: Counter[str] = Counter()
        self._add(made)
        data = made.content if isinstance(made, MadeIndex) else made.manifest
        self.top = Descriptor.from_json(data.descriptor())

    def _add(self, made: Image | MadeIndex) -> None:
        content = made.content if isinstance(made, MadeIndex) else made.manifest
        if content.digest in self.data:
            return
        self.data[content.digest] = content.data
        for entry in made.entries if isinstance(made, MadeIndex) else ():
            self._add(entry)

    def read(self, descriptor: Descriptor) -> Manifest | Index:
        self.read_count[str(descriptor.digest)] += 1
        parsed = oci.parse(self.data[str(descriptor.digest)])
        assert isinstance(parsed, Manifest | Index)
        return parsed


def digests(*made: Image | MadeIndex) -> list[str]:
    return [(each.content if isinstance(each, MadeIndex) else each.manifest).digest for each in made]


def test_an_index_comes_before_what_it_names_or_after_it() -> None:
    inner = index(ARM64)
    made = index(AMD64, inner)
    objects = Objects(made)
    order = [str(each.digest) for each, _ in walk.walk(objects.top, objects.read)]
    assert order == digests(made, AMD64, inner, ARM64)
    order = [str(each.digest) for each, _ in walk.walk(objects.top, objects.read, innermost_first=True)]
    assert order == digests(AMD64, ARM64, inner, made)


def test_what_an_index_shares_with_one_inside_it_comes_innermost_first() -> None:
    """Order by first visit, turned around, would not do."""
    shared = index(ARM64)
    around = index(shared, AMD64)
    made = index(shared, around)
    objects = Objects(made)
    order = [str(each.digest) for each, _ in walk.walk(objects.top, objects.read, innermost_first=True)]
    assert order == digests(ARM64, shared, AMD64, around, made)


def test_each_object_is_read_once_however_often_it_is_named() -> None:
    made = index(AMD64, ARM64)
    for _ in range(walk.MAX_DEPTH - 1):
        made = index(*[made] * 80)
    objects = Objects(made)
    found = walk.closure(objects.top, objects.read)
    assert set(objects.read_count.values()) == {1}
    assert len(found) == walk.MAX_DEPTH + 2 + 2 + 3, "indexes, manifests, configs, layers"
    assert [str(each.digest) for each in walk.leaves(objects.top, Objects(made).read)] == digests(AMD64, ARM64)


def test_a_closure_is_in_order_of_first_use() -> None:
    made = index(AMD64, ARM64)
    objects = Objects(made)
    (shared, a), b = (each.digest for each in AMD64.layers), ARM64.layers[1].digest
    expected = [*digests(made, AMD64), AMD64.config.digest, shared, a, *digests(ARM64), ARM64.config.digest, b]
    assert [str(digest) for digest in walk.closure(objects.top, objects.read)] == expected
    alone = Objects(AMD64)
    assert [str(digest) for digest in walk.closure(alone.top, alone.read)] == expected[1:5]


def test_leaves_are_not_read_and_come_as_often_as_they_stand_there() -> None:
    document = json.loads(index(AMD64, ARM64).content.data)
    document["manifests"][1] = {**document["manifests"][0], "platform": {"os": "linux", "architecture": "arm64"}}
    top = Descriptor.from_json({"mediaType": oci.OCI_INDEX, "digest": f"sha256:{'0' * 64}", "size": 1})
    parsed = oci.parse(json.dumps(document).encode())
    assert isinstance(parsed, Index)
    found = list(walk.leaves(top, lambda each: parsed))
    assert [str(each.platform) for each in found] == ["linux/amd64", "linux/arm64"]
    assert found[0].digest == found[1].digest


def test_what_the_reader_passes_over_is_not_followed() -> None:
    inner = index(ARM64)
    made = index(AMD64, inner)
    objects = Objects(made)

    def read(descriptor: Descriptor) -> Manifest | Index | None:
        return None if str(descriptor.digest) == inner.content.digest else objects.read(descriptor)

    assert [str(each.digest) for each, _ in walk.walk(objects.top, read)] == digests(made, AMD64)


def test_depth_and_number_are_bounded() -> None:
    made = index(AMD64)
    for _ in range(walk.MAX_DEPTH - 1):
        made = index(made)
    objects = Objects(made)
    assert [str(each.digest) for each in walk.leaves(objects.top, objects.read)] == digests(AMD64)
    deeper = Objects(index(made))
    for follow in (walk.closure, walk.leaves):
        with pytest.raises(ContentError, match="nested more than 4 deep"):
            list(follow(deeper.top, deeper.read))
    wide = Objects(index(*(index(image(labels={"n": str(n)})) for n in range(5))))
    assert len(list(walk.indexes(wide.top, wide.read, limit=6))) == 6
    with pytest.raises(ContentError, match="more than 5 objects"):
        list(walk.indexes(wide.top, wide.read, limit=5))


def test_more_blobs_than_any_image_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects(index(AMD64, ARM64))
    monkeypatch.setattr(walk, "MAX_OBJECTS", 7)
    with pytest.raises(ContentError, match="more than 7 objects"):
        walk.closure(objects.top, objects.read)
    monkeypatch.setattr(walk, "MAX_OBJECTS", 8)
    assert len(walk.closure(objects.top, objects.read)) == 8


def test_whoever_asks_is_asked_at_every_entry() -> None:
    """An entry that was seen before costs no more than a look; but many of them are a long time."""

    def after(calls: int) -> Callable[[], None]:
        left = iter(range(calls))

        def check() -> None:
            if next(left, None) is None:
                raise Interrupted(15)

        return check

    objects = Objects(index(*[index(*[AMD64] * 80)] * 80))
    with pytest.raises(Interrupted):
        walk.closure(objects.top, objects.read, check=after(100))
    assert walk.closure(objects.top, objects.read, check=after(161))
    assert Digest.parse(AMD64.manifest.digest) in walk.closure(objects.top, objects.read)
