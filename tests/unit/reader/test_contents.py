"""What belongs together in a source."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.reader.contents import open_contents
from tests.support.images import Content, image, layer

SUBJECT = "io.image-tools.referrer.subject"


def test_what_refers_to_an_image_and_to_that_and_so_on_is_its_family(tmp_path: Path) -> None:
    """Ten thousand, each about the one before it: found in one pass, not in ten thousand."""
    made = image("linux/amd64", [layer("a")])
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    for content in (made.manifest, made.config, *made.layers):
        (tmp_path / "blobs" / content.digest.replace(":", "/")).write_bytes(content.data)
    name = "org.opencontainers.image.ref.name"
    entries = [made.manifest.descriptor(annotations={name: "r.io/app:v1"})]
    subject = made.manifest.digest
    for number in range(10_000):
        content = Content("application/vnd.oci.image.manifest.v1+json", str(number).encode())
        annotations = {name: f"r.io/app@{content.digest}", SUBJECT: subject}
        entries.append(content.descriptor(annotations=annotations))
        subject = content.digest
    other = {name: f"r.io/other@{subject}", SUBJECT: made.manifest.digest}
    entries.append({**entries[-1], "annotations": other})
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entries[0], *reversed(entries[1:])]}))
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    families = open_contents(tmp_path).families
    own, stray = families
    assert [str(member.descriptor.digest) for member in families[own]] == [entry["digest"] for entry in entries[1:10_001]]
    assert (str(stray.reference), families[stray]) == (f"r.io/other@{subject}", ())
