"""What HTTP carries: addresses, uploads, answers.

Source: RFC 9110 (HTTP semantics), RFC 3986 (addresses).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pipeline.core.redact import redact

_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class Url(NamedTuple):
    """An absolute address of HTTP. ``target`` is path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Raises ValueError with a reason."""
        url = urlsplit(text)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("not an http address")
        if _UNPRINTABLE.search(text):
            raise ValueError("it has characters that no address may have")
        target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
        return cls(url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80), target)

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, as ``Host`` says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


class Upload(NamedTuple):
    """A body that is sent in pieces. ``pieces`` begins anew at each call."""

    size: int
    pieces: Callable[[], Iterator[bytes]]


Body = bytes | Upload | None


@dataclass(frozen=True)
class Answer:
    """A small answer, read whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def words(self) -> str:
        """What a registry says: ``{"errors": [{"code": …, "message": …}]}`` (distribution-spec, "Error Codes")."""
        document = parse_json(self.data)
        errors = document.get("errors") if isinstance(document, Mapping) else None
        messages = [each.get("message") or each.get("code") for each in _mappings(errors)]
        return redact("; ".join(" ".join(str(each).split()) for each in messages if each))[:300]


def parse_json(data: bytes | str) -> Any:
    """A JSON document, or None for what is not one: broken, or too deep."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
