"""Credential helpers: programs that keep logins, ``docker-credential-NAME``.

Protocol: https://github.com/docker/docker-credential-helpers.
"""

from __future__ import annotations

import json
import re
import shutil

from pipeline.core import process
from pipeline.core.log import log

TIMEOUT = 60.0
"""Seconds for a helper, which may ask the user to unlock a keychain."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def ask_helper(name: str, registry: str) -> tuple[str, str] | None:
    """User and password for a registry from ``docker-credential-NAME``, or None where it has none or cannot be asked."""
    program = shutil.which(f"docker-credential-{name}") if _NAME.fullmatch(name) else None
    if program is None:
        log.warning("there is no docker-credential-%s on the PATH, which holds the login to %s", name, registry)
        return None
    try:
        code, answer, _ = process.run([program, "get"], stdin=registry.encode(), timeout=TIMEOUT)
        document = json.loads(answer) if code == 0 else {}
        return (str(document["Username"]), str(document["Secret"])) if document else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        log.warning("docker-credential-%s gives no login to %s", name, registry)
        return None
