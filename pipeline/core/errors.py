"""The exception tree of image-tools, and the exit code of each branch.

    ImageToolsError            3
    ├── UsageError             2   a flag is wrong
    ├── InputError             2   an image list or a definition is wrong
    ├── ImageError             1   one image could not be saved; the others go on
    │   ├── RegistryError      1   the registry refused or failed
    │   ├── PlatformError      1   none of the asked platforms is there
    │   └── ContentError       1   bytes do not match their digest or size
    ├── ArchiveError           3   an archive or a volume is missing, truncated or foreign
    ├── DamagedBlobsError      3   blobs in the cache no longer match their digest
    ├── EnvironmentProblem     3   skopeo missing or too old, cache in use, disk full
    └── Interrupted            130 or 143

Every message says what happened, to what, and what to do next. No traceback reaches a user without ``-debug``.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_COULD_NOT = 3
EXIT_SIGNAL = 128
"""Plus the number of the signal: 130 for SIGINT, 143 for SIGTERM."""


class ImageToolsError(Exception):
    """Base of all errors that a user may see.

    ``message`` says what happened, to what; ``tip`` what to do next, without the word TIP; ``setting`` is the key of the
    setting that is wrong, as ``config.settings`` names it. ``str()`` is message and tip as people see them.
    """

    exit_code = EXIT_COULD_NOT

    def __init__(self, message: str, *, tip: str = "", setting: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.tip = tip
        self.setting = setting

    def __str__(self) -> str:
        return f"{self.message}\nTIP: {self.tip}" if self.tip else self.message


class UsageError(ImageToolsError):
    """A flag or an argument is wrong; nothing was done."""

    exit_code = EXIT_USAGE


class InputError(ImageToolsError):
    """An image list or a bundle definition is wrong; nothing was done. Carries every problem, not the first."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: Sequence[str], *, tip: str = "", setting: str = "") -> None:
        super().__init__("\n".join(problems), tip=tip, setting=setting)
        self.problems = tuple(problems)


class ImageError(ImageToolsError):
    """One image could not be saved. Others are not concerned."""

    exit_code = EXIT_SOME_FAILED


class PlatformError(ImageError):
    """An image has none of the platforms that were asked for."""


class ContentError(ImageError):
    """Bytes that came in do not match the digest or the size that names them."""


class Cause(enum.Enum):
    """Why a registry could not give what was asked. The value is shown to people."""

    NOT_FOUND = "not found"
    UNAUTHORIZED = "access denied"
    CERTIFICATE = "bad certificate"
    RATE_LIMITED = "too many requests"
    QUOTA = "quota used up"
    SERVER = "server error"
    NETWORK = "network error"
    UNREACHABLE = "cannot be reached"
    """At the first attempt: no such name, or nobody answers there."""
    UNSUPPORTED = "not supported"
    REJECTED = "refused by the policy"
    STALLED = "no data came any more"
    UNKNOWN = "failed"

    @property
    def can_pass(self) -> bool:
        """Whether trying again may help."""
        return self in (Cause.RATE_LIMITED, Cause.SERVER, Cause.NETWORK, Cause.STALLED, Cause.UNKNOWN)


_TIPS = {
    Cause.CERTIFICATE: "-cert-dir names the folder of a private authority's ca.crt; -tls-verify=false goes without TLS",
    Cause.RATE_LIMITED: "a login is often allowed more; a smaller -j asks for less at once; later, the same command goes on",
    Cause.UNAUTHORIZED: "log in with 'skopeo login' or 'docker login', or name a file with logins with -authfile",
    Cause.REJECTED: "each platform's manifest must be signed ('cosign sign --recursive'); for cosign's signatures, a policy "
    "needs a signedIdentity of type matchRepository or exactRepository; see containers-policy.json(5)",
}


class RegistryError(ImageError):
    """The registry refused or failed; ``cause`` says whether trying again may help. Some causes have a tip of their own."""

    def __init__(self, message: str, cause: Cause, *, tip: str = "") -> None:
        super().__init__(message, tip=tip or _TIPS.get(cause, ""))
        self.cause = cause


class ArchiveError(ImageToolsError):
    """An archive or one of its volumes is missing, out of order, truncated, damaged or not ours."""


class DamagedBlobsError(ImageToolsError):
    """Blobs in the cache that do not match their digest. The scan was finished: these are all of them."""

    def __init__(self, digests: Sequence[str]) -> None:
        super().__init__("damaged in the cache: " + ", ".join(digests))
        self.digests = tuple(digests)


class EnvironmentProblem(ImageToolsError):
    """The machine cannot do what was asked: a tool, the disk, a lock, a permission."""


class Interrupted(ImageToolsError):
    """A signal ended the run. ``exit_code`` is 128 plus its number."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by signal {signum}")
        self.exit_code = EXIT_SIGNAL + signum
