"""Formats of other tools that carry images: what they say of images, and by name what they say of anything else.

Source: Carvel imgpkg ("ImagesLock", "BundleLock"), Distribution Tooling for Helm ("Images.lock"), hauler (content.hauler
``Images``, ``Charts``, ``Files``), oc-mirror (``ImageSetConfiguration``), skopeo-sync(1) ("YAML file content").
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config.inputs.finding import Findings
from pipeline.config.inputs.yaml_tree import Mapping, Node, Scalar, Sequence
from pipeline.core import reference
from pipeline.core.errors import InputError

Read = Callable[[Mapping, Findings], None]


def reader_of(root: Mapping) -> tuple[str, Read] | None:
    """The format of a document, and what reads it; None where it is none of these."""
    version, kind = root.text("apiVersion"), root.text("kind")
    if kind in ("ImagesLock", "BundleLock") and (version.startswith(("imgpkg.", "v"))):
        return ("Carvel lock", _carvel) if version.startswith("imgpkg.") else ("Images.lock", _carvel)
    if version.startswith("content.hauler."):
        return f"hauler {kind}", _hauler
    if kind in ("ImageSetConfiguration", "DeleteImageSetConfiguration"):
        return "oc-mirror ImageSetConfiguration", _oc_mirror
    if _is_skopeo_sync(root):
        return "skopeo sync YAML", _skopeo_sync
    return None


def _carvel(root: Mapping, found: Findings) -> None:
    if root.text("kind") == "BundleLock":
        image = root.mapping("bundle").get("image")
        if isinstance(image, Scalar):
            found.sure(image.text, image.line, "bundle.image")
    for number, item in root.mappings("images"):
        image = item.get("image")
        if isinstance(image, Scalar):
            found.sure(image.text, image.line, f"images[{number}].image")


def _hauler(root: Mapping, found: Findings) -> None:
    kind, spec = root.text("kind"), root.mapping("spec")
    for key in ("images", "imageTxts") if kind in ("Images", "ImageTxts") else ():
        for number, item in spec.mappings(key):
            path = f"{kind} spec.{key}[{number}]"
            name = item.get("name") or item.get("ref")
            if isinstance(name, Scalar) and key == "images":
                found.sure(name.text, name.line, f"{path}.name")
            else:
                found.unknown(
                    name.text if isinstance(name, Scalar) else key, item.line, path, "a list elsewhere: give it with -f"
                )
    if kind not in ("Images", "ImageTxts"):
        for key in ("charts", "files"):
            for number, item in spec.mappings(key):
                what = item.text("name") or item.text("path")
                found.unknown(what, item.line, f"{kind} spec.{key}[{number}]", f"is one of its {key}, not an image")


def _oc_mirror(root: Mapping, found: Findings) -> None:
    mirror = root.get("mirror") or root.get("delete")
    if not isinstance(mirror, Mapping):
        return
    for number, item in mirror.mappings("additionalImages"):
        name = item.get("name")
        if isinstance(name, Scalar):
            found.sure(name.text, name.line, f"mirror.additionalImages[{number}].name")
    for number, item in mirror.mappings("operators"):
        found.unknown(
            item.text("catalog"),
            item.line,
            f"mirror.operators[{number}]",
            "a catalogue of operators: oc-mirror resolves its images",
        )
    for key in ("platform", "helm"):
        for field, value in mirror.mapping(key).items():
            for each in _named(value):
                note = "is not an image: oc-mirror resolves it" if key == "platform" else "a chart: give the chart with -f"
                found.unknown(each[0], each[1], f"mirror.{key}.{field}", note)
    for number, item in mirror.mappings("blockedImages"):
        found.unknown(item.text("name"), item.line, f"mirror.blockedImages[{number}]", "is blocked there")


def _named(value: Node) -> list[tuple[str, int]]:
    items = value.items if isinstance(value, Sequence) else []
    return [(item.text("name"), item.line) for item in items if isinstance(item, Mapping) and item.text("name")]


_SYNC_KEYS = ("images", "images-by-tag-regex", "images-by-semver")


def _is_skopeo_sync(root: Mapping) -> bool:
    values = [value for _, value in root.items()]
    return bool(values) and all(
        isinstance(value, Mapping) and any(isinstance(value.get(key), Mapping) for key in _SYNC_KEYS) for value in values
    )


def _skopeo_sync(root: Mapping, found: Findings) -> None:
    for registry, body in root.items():
        assert isinstance(body, Mapping), "it was seen to be one"
        for name, tags in body.mapping("images").items():
            path = f"{registry}.images.{name}"
            if not isinstance(tags, Sequence) or not tags.items:
                found.unknown(f"{registry}/{name}", tags.line, path, "all tags: name the ones that you carry")
                continue
            for tag in tags.items:
                if isinstance(tag, Scalar):
                    sign = "@" if tag.text.startswith("sha256:") else ":"
                    found.sure(f"{registry}/{name}{sign}{tag.text}", tag.line, path)
        for key in _SYNC_KEYS[1:]:
            for name, rule in body.mapping(key).items():
                text = rule.text if isinstance(rule, Scalar) else ""
                note = f"its tags are those that match {text}: name the ones that you carry"
                found.unknown(f"{registry}/{name}", rule.line, f"{registry}.{key}.{name}", note)


def is_signature(text: str) -> bool:
    """Whether a reference is what cosign stores beside an image, under a tag that ends in ``.sig``, ``.att`` or ``.sbom``."""
    try:
        return reference.parse(text).tag.endswith((".sig", ".att", ".sbom"))
    except InputError:
        return False
