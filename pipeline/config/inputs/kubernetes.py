"""Kubernetes objects: files, ``helm template``, ``kustomize build``, lists, custom resources.

Source: Kubernetes API reference ("Container", "ImageVolumeSource"), OLM ClusterServiceVersion ``relatedImages``, Flux
OCIRepository.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.inputs import text_scan
from pipeline.config.inputs.finding import Findings
from pipeline.config.inputs.yaml_tree import Mapping, Node, Scalar, Sequence

_CONTAINERS = frozenset(("containers", "initContainers", "ephemeralContainers", "container", "script", "sidecars"))
_REPOSITORIES = ("repository", "name")
_NOT_TEXTS = frozenset(("description", "resourceVersion", "uid"))


def is_object(root: Mapping) -> bool:
    return bool(root.text("apiVersion")) and bool(root.text("kind"))


def read(root: Mapping, found: Findings) -> None:
    """All images of an object, or of the objects of a list."""
    kind = root.text("kind")
    if kind.endswith("List") and isinstance(items := root.get("items"), Sequence):
        for item in items.items:
            if isinstance(item, Mapping) and is_object(item) and item is not root:
                read(item, found) if not item.text("kind").endswith("List") else _walk(item, found)
        return
    if kind == "CustomResourceDefinition":
        return
    if kind == "OCIRepository":
        _oci_repository(root, found)
        return
    _walk(root, found)


def _oci_repository(root: Mapping, found: Findings) -> None:
    spec = root.mapping("spec")
    url, ref = spec.text("url"), spec.mapping("ref")
    name = url.removeprefix("oci://")
    place = f"{label(root)} spec.url"
    if digest := ref.text("digest"):
        found.sure(f"{name}@{digest}", spec.line, place)
    elif tag := ref.text("tag"):
        found.sure(f"{name}:{tag}", spec.line, place)
    elif ref.text("semver"):
        found.unknown(url, spec.line, place, f"its tag is any of {ref.text('semver')}: name the one that you carry")
    else:
        found.sure(name, spec.line, place)


def label(root: Mapping) -> str:
    """What people call an object: ``Deployment/web``."""
    return f"{root.text('kind')}/{root.mapping('metadata').text('name') or '?'}"


def _walk(root: Mapping, found: Findings) -> None:
    seen: set[int] = set()
    waiting: list[tuple[Node, str, str]] = [(root, label(root), "")]
    while waiting:
        node, path, key = waiting.pop()
        if isinstance(node, Scalar):
            if key not in _NOT_TEXTS:
                _scan(node, path, key, found)
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        children = list(_of_mapping(node, path, key, found) if isinstance(node, Mapping) else _of_list(node, path, key))
        waiting += reversed(children)


def _of_mapping(node: Mapping, path: str, key: str, found: Findings) -> Iterator[tuple[Node, str, str]]:
    """Take what is an image here; what is left is to be walked."""
    taken = set(_pair(node, path, key, found))
    joint = " " if " " not in path else "."
    for name, child in node.items():
        here = f"{path}{joint}{name}"
        if name in taken:
            continue
        if name == "image" and isinstance(child, Scalar):
            _image(child, here, key in _CONTAINERS, found)
        elif name == "reference" and key == "image" and isinstance(child, Scalar):
            found.sure(child.text, child.line, here)
        elif name == "value" and isinstance(child, Scalar):
            yield child, here, node.text("name")
        else:
            yield child, here, name


def _of_list(node: Sequence, path: str, key: str) -> Iterator[tuple[Node, str, str]]:
    """An argument that follows a flag belongs to the flag."""
    before = ""
    for number, child in enumerate(node.items):
        yield child, f"{path}[{number}]", before or key
        text = child.text if isinstance(child, Scalar) else ""
        before = text if text.startswith("-") and "=" not in text and " " not in text else ""


def _image(node: Scalar, path: str, is_container: bool, found: Findings) -> None:
    text = node.text.strip()
    if node.is_null or not text:
        return
    if is_container or text_scan.is_explicit(text) or text.startswith(("$", "{")):
        found.sure(text, node.line, path)
    elif text_scan.is_more_than_a_word(text):
        found.probable(text, node.line, path)
    else:
        found.unknown(text, node.line, path, "a bare word where no container is: write it into a list if it is an image")


def _pair(node: Mapping, path: str, key: str, found: Findings) -> Iterator[str]:
    """``repository`` and ``tag``, as the values of charts and many operators have it. The keys that were taken."""
    tag, digest = node.text("tag") or node.text("imageTag"), node.text("digest")
    is_image = "image" in key.lower()
    name_key = next((each for each in _REPOSITORIES if node.text(each)), "")
    if node.text("image") and tag and not text_scan.is_explicit(node.text("image")):
        name_key, is_image = "image", True
    repository = node.text(name_key) if name_key else ""
    usable = bool(tag) or digest.startswith("sha256:")
    line = next((value.line for each, value in node.items() if each == name_key), node.line)
    if repository and not usable and is_image and name_key == "repository":
        found.unknown(repository, line, f"{path}.{name_key}", "has neither a tag nor a digest here")
    if (
        not repository
        or not usable
        or "://" in repository
        or not (is_image or (name_key == "repository" and "/" in repository))
    ):
        return
    registry = node.text("registry")
    text = f"{registry}/{repository}" if registry else repository
    text += f":{tag}" if tag else ""
    text += f"@{digest}" if digest.startswith("sha256:") else ""
    found.sure(text, line, f"{path}.{name_key}")
    yield from (name_key, "tag", "imageTag", "digest", "registry")


def _scan(node: Scalar, path: str, key: str, found: Findings) -> None:
    text = node.text
    if node.is_null or len(text) < 3:
        return
    flag, equals, value = text.partition("=")
    if equals and flag.startswith("-") and "image" in flag.lower() and " " not in text:
        text, key = value, flag
    for reference, above in text_scan.references(text, key):
        found.probable(reference, node.line + above, path)
