"""Secrets out of texts: passwords in URLs, tokens, signed query strings.

Everything that a person or a file may see passes here: log lines, errors, reports. Nothing is removed that could be a
reference: ``nginx:1.25@sha256:…`` is none.
"""

from __future__ import annotations

import re

HIDDEN = "***"
_SUSPECT = re.compile("[@?]|authorization|basic|bearer|token|passw|secret|signature", re.IGNORECASE)
"""What each of the patterns needs: most lines have nothing of it, and are written by the thousand."""
_PATTERNS = (
    # user:password@ in front of a host, with or without a scheme; but name:tag@digest is a reference.
    (re.compile(r"(\w://)[^/\s\"']+@(?!sha\d+:)"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?<![\w./-])([\w.%+-]+):[^/\s\"']+@(?!sha\d+:)"), rf"\1:{HIDDEN}@"),
    # Signed addresses, as registries redirect to them.
    (re.compile(r"(\bhttps?://[^\s\"'?]+)\?[^\s\"']+"), rf"\1?{HIDDEN}"),
    (re.compile(r"(authorization['\"]?\s*[:=]\s*['\"\[]*(?:\w+\s+)?)[^\s\"'\]]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(\b(?:basic|bearer)\s+)(?=[\w+/=.~-]{16})[\w+/=.~-]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(['\"]?\b\w*(?:token|password|passwd|secret|signature)['\"]?(?:=|\"\s*:\s*)['\"]?)[^\s\"'&,}]+", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """``text`` without passwords, tokens and signed query strings."""
    if not _SUSPECT.search(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
