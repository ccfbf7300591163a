"""Image references, parsed the way ``distribution/reference`` parses them.

``parse`` takes a text and returns a normalised ``Reference``: registry, repository, tag, digest. ``nginx`` is
``docker.io/library/nginx:latest``. Raises ``InputError``, with the reason, for a text that is not a reference. A ``Reference``
holds no character that could leave a folder, start an option or colour a terminal.

Source: distribution/reference ``reference.go`` (grammar) and ``normalize.go`` (defaults).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from pipeline.core.errors import ContentError, InputError
from pipeline.core.oci import Digest

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
MAX_REPOSITORY_LENGTH = 255
MAX_HOST_LENGTH = 260
"""A domain name has at most 253 characters (RFC 1035), and a port follows."""
MAX_FILE_NAME = 200
"""Bytes; longer names of files and tasks are shortened with a hash (file systems end at 255)."""

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, order=True)
class Reference:
    """A normalised image reference. ``tag`` is empty only where ``digest`` alone names the image."""

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def tag_or_digest(self) -> str:
        """What ``saved-images-list.json`` calls the tag."""
        return self.tag or str(self.digest)

    @property
    def listed(self) -> str:
        """The image as ``saved-images-list.json`` tells it from others: source and tag."""
        return f"{self.name} {self.tag_or_digest}"

    def __str__(self) -> str:
        text = self.name
        if self.tag:
            text += f":{self.tag}"
        return f"{text}@{self.digest}" if self.digest else text

    @cached_property
    def folder(self) -> str:
        """The image's folder below ``images/``: never holds a colon, never the same for two references.

        ``+`` stands for ``:`` and ``@``; no reference may contain it.
        """
        head, _, last = str(self).rpartition("/")
        path = "/".join(encode_name(part) for part in head.split("/"))
        return f"{path}/{encode_name(last)}"

    def at(self, source: str) -> Reference:
        """The same image on another registry (``-s``): host, host:port or host/path."""
        host, _, path = source.partition("/")
        return Reference(host, f"{path}/{self.repository}" if path else self.repository, self.tag, self.digest)

    def by_tag(self, tag: str) -> Reference:
        return Reference(self.registry, self.repository, tag)

    def by_digest(self, digest: Digest) -> Reference:
        return Reference(self.registry, self.repository, "", digest)


def parse(text: str) -> Reference:
    """Parse and normalise one reference. Raises InputError with the reason."""
    if _IMAGE_ID.fullmatch(text):
        raise InputError(["64 hex digits are the ID of an image, not its name: write NAME@sha256:... for a digest"])
    rest, at, digest_text = text.partition("@")
    digest = _digest(digest_text) if at else None
    slash, colon = rest.rfind("/"), rest.rfind(":")
    tag = ""
    if colon > slash:
        rest, tag = rest[:colon], rest[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise InputError([f"invalid tag {_show(tag)}: at most 128 letters, digits, '_', '.', '-', not '.' or '-' first"])
    elif digest is None:
        tag = DEFAULT_TAG
    registry, repository = _split_registry(rest)
    _check_components(repository)
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    if len(repository) > MAX_REPOSITORY_LENGTH:
        raise InputError([f"the name is longer than {MAX_REPOSITORY_LENGTH} characters"])
    return Reference(registry, repository, tag, digest)


def matches(reference: Reference, patterns: Iterable[str]) -> bool:
    """Whether any pattern (``rancher/*``, ``nginx``, ``*:v2.9.*``) is a name of it, with or without registry and tag."""
    short = reference.repository.removeprefix("library/")
    end = f":{reference.tag}" if reference.tag else f"@{reference.digest}"
    names = [f"{name}{each}" for name in (reference.name, reference.repository, short) for each in ("", end)]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in (*names, str(reference)))


def is_tag(text: str) -> bool:
    return bool(_TAG.fullmatch(text))


def parse_source(text: str) -> str:
    """Check the value of ``-s``: host, host:port or host/path. Raises InputError."""
    host, slash, path = text.partition("/")
    problem = ""
    if "://" in text:
        problem = "leave out the scheme, e.g. 'registry.example.com:5000'"
    elif not _is_host(host):
        problem = f"{_show(host)} is not a host name"
    elif not _means_host(host):
        problem = f"{_show(host)} reads as a name on Docker Hub; write the full host name, or the port too, e.g. '{host}:443'"
    elif slash and not all(_COMPONENT.fullmatch(part) for part in path.split("/")):
        problem = f"{_show(path)} is not a repository path (lower case letters, digits, '.', '_', '-', '/')"
    if problem:
        raise InputError([f"invalid registry {_show(text)}: {problem}"])
    return text


def encode_name(text: str) -> str:
    """One path component or task name without ``:`` or ``@``, at most ``MAX_FILE_NAME`` bytes long."""
    return shorten(text.replace("@", "+").replace(":", "+"))


def shorten(text: str) -> str:
    """Cut ``text`` to ``MAX_FILE_NAME`` bytes; a hash of the whole keeps different texts different.

    No reference that was not shortened ends so (``:`` comes twice in no tag), so that none is taken for one that was.
    """
    data = os.fsencode(text)
    if len(data) <= MAX_FILE_NAME:
        return text
    return f"{data[:120].decode(errors='ignore')}++{hashlib.sha256(data).hexdigest()[:32]}"


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not _means_host(first):
        return DEFAULT_REGISTRY, name
    if not _is_host(first):
        raise InputError([f"invalid registry {_show(first)}"])
    return (DEFAULT_REGISTRY if first == "index.docker.io" else first), rest


def _means_host(text: str) -> bool:
    """normalize.go, splitDockerDomain: only a dot, a colon, "localhost" or an upper case letter make it a host."""
    return "." in text or ":" in text or text == "localhost" or text.lower() != text


def _is_host(text: str) -> bool:
    return len(text) <= MAX_HOST_LENGTH and _HOST.fullmatch(text) is not None


def _check_components(repository: str) -> None:
    if not repository:
        raise InputError(["no image name"])
    for part in repository.split("/"):
        if not _COMPONENT.fullmatch(part):
            lower = " (names are lower case)" if _COMPONENT.fullmatch(part.lower()) else ""
            raise InputError([f"invalid name {_show(repository)}: {_show(part)} is not a path component{lower}"])


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except ContentError as error:
        raise InputError([f"{error} (expected sha256: and 64 lower case hex digits)"]) from error


def _show(text: str) -> str:
    """Quoted, so that no control character of a list reaches a terminal."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
