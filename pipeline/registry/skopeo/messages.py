"""What skopeo says: why it failed, whose fault that is, and that a registry wants to be left alone.

Takes its standard error, which is all that it says about a failure; returns a cause, and a reason for people, without secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pipeline.core.errors import Cause, EnvironmentProblem
from pipeline.core.redact import redact

# In order: the first that matches wins. Texts of skopeo 1.9 to 1.22 and of the registries behind it.
_CAUSES: tuple[tuple[Cause, re.Pattern[str]], ...] = tuple(
    (cause, re.compile(pattern, re.IGNORECASE))
    for cause, pattern in (
        (Cause.REJECTED, r"^Source image rejected"),
        (Cause.QUOTA, r"pull rate limit"),
        (Cause.RATE_LIMITED, r"toomanyrequests|too many requests|rate limit|\b429\b"),
        (Cause.CERTIFICATE, r"x509:|certificate|server gave HTTP response to HTTPS client|tls: "),
        (Cause.NOT_FOUND, r"manifest unknown|name unknown|blob unknown|not found|\b404\b"),
        (Cause.UNAUTHORIZED, r"unauthorized|authentication required|denied|forbidden|\b40[13]\b|invalid username/password"),
        (Cause.SERVER, r"\b50[0-9]\b|internal server error|bad gateway|service unavailable|gateway time-?out|unavailable"),
        (
            Cause.NETWORK,
            r"no such host|connection re(set|fused)|broken pipe|\bEOF\b|timed? ?out|network is unreachable|no route to host"
            r"|deadline exceeded|temporary failure|use of closed network connection|stream error|happened during read"
            r"|digest did not match|does not match|size mismatch|unexpected end of JSON|server misbehaving",
        ),
        (
            Cause.UNSUPPORTED,
            r"unsupported|not supported|unknown (MIME|media) type|unimplemented|no image found in|invalid reference format",
        ),
    )
)
# What people called things: an image named "certificate" or a tag "503" is no reason.
_NAMES = re.compile(r"\b(?:docker|https?)://[^\s\"]+|\boci:\S+|\b(?:manifest|tag) \S+ in \S+|\bregistry [^\s\"]+:(?=\s)")
# As Go words it: "write PATH: no space left on device", "rename PATH PATH: permission denied".
_LOCAL = re.compile(
    r"\b(?:open|openat|create|write|mkdir|rename|link|symlink|chmod|close|f?sync|stat|lstat|truncate|unlinkat|remove)"
    r" ([^:\n]+):+ "
    r"(no space left on device|disk quota exceeded|read-only file system|permission denied|file too large|input/output error"
    r"|operation not permitted|too many open files)"
)
_FULL = ("no space left on device", "disk quota exceeded")
WRONG_BYTES = re.compile(
    r"digest did not match|digest \S+ does not match|does not match provided manifest digest", re.IGNORECASE
)
# The second is what it then does, which some versions limit to a minute.
_TOO_MANY = re.compile(rb"Detected 'Retry-After' header \W*([0-9]+)|Too many requests to \S+ sleeping for ([0-9.]+) seconds")
_FRAME = re.compile(r'^((Error parsing image name "[^"]*"|initializing source \S+): )+')
_MISSING = re.compile(r"reading manifest (\S+) in (\S+): (?:manifest|name) unknown\b")
_TWICE = re.compile(r"\b([a-z][a-z ]{3,60}): \1\b")
"""A registry's code in words, and its message, which are often the same."""
_LOG_LINE = re.compile(r'^time="[^"]*" level=(\w+) msg="?(.*?)"?$')


def classify(text: str) -> Cause:
    """Why skopeo failed, from what it said."""
    reason = _NAMES.sub(" ", text)
    return next((cause for cause, pattern in _CAUSES if pattern.search(reason)), Cause.UNKNOWN)


class Words:
    """What skopeo says: its debug output is looked at and dropped, the rest is ``kept``."""

    def __init__(self, too_many: Callable[[float], None]) -> None:
        self.kept = bytearray()
        self._too_many = too_many
        self._rest = bytearray()

    def extend(self, data: bytes) -> None:
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if b" level=debug " not in line[:80]:
                self.kept += line + b"\n"
            elif match := _TOO_MANY.search(line):
                self._too_many(float(match[1] or match[2]))

    @property
    def text(self) -> str:
        return (self.kept + self._rest).decode(errors="replace")


def check_local(message: str, ours: tuple[str, ...]) -> None:
    """Raises EnvironmentProblem for what is wrong with our own disk, which a registry's words must not pretend."""
    for path, problem in _LOCAL.findall(message):
        if ours and path.startswith(ours):
            if problem in _FULL:
                raise EnvironmentProblem(
                    f"the disk of the cache is full; what was complete is kept\n{shortened(message)}",
                    tip="free some space and run the same command again",
                )
            raise EnvironmentProblem(
                f"the cache cannot be written: {shortened(message)}",
                tip="see to it, or name another folder with -cache, and run the same command again",
            )


def message_of(text: str) -> str:
    """The reason in skopeo's output: its last fatal line, without the frame and the reference around it."""
    reason = ""
    for line in text.splitlines():
        match = _LOG_LINE.match(line.strip())
        if match is None or match[1] == "fatal":
            reason = match[2] if match else line.strip() or reason
    return _FRAME.sub("", redact(reason.replace('\\"', '"'))) or "skopeo failed without a word"


def in_our_words(message: str) -> str:
    """Without what skopeo says twice, and as our own HTTP says it where both have a word for it."""
    missing = _MISSING.match(message)
    if missing:
        tag, repository = missing.groups()
        return f"the registry has no {repository}{'@' if ':' in tag else ':'}{tag}"
    return _TWICE.sub(r"\1", message)


def shortened(message: str) -> str:
    return message if len(message) <= 500 else message[:497] + "..."
