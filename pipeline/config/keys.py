"""The keys of a bundle definition: which there are, and what is wrong with a value or a flag, said of keys.

``settings.SETTINGS`` is the table that flags come from; here it is the one of keys. ``definition`` reads with these tables, and
``schema`` makes the JSON Schema from them, so that the two cannot differ.
"""

from __future__ import annotations

import re
from typing import Any

from pipeline.config import settings
from pipeline.config.settings import SETTINGS, Settings
from pipeline.core import bundle
from pipeline.core.bundle import PlatformFilter
from pipeline.core.errors import UsageError
from pipeline.core.log import log

KEYS = {setting.key: setting for setting in SETTINGS}
"""The settings of a bundle."""
IMAGE_KEYS = ("arch", "os", "source")
"""What an entry of ``images`` may say for itself."""
LISTS = frozenset({"arch", "os", "referrer-types"})
"""Keys that take a list of words, or one text with commas."""
NUMBERS = frozenset({"arch", "part-size"})
"""Keys whose text may look like a number: the architecture 386, a size in bytes."""
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""Of a bundle."""
VARIABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]*"

_FLAG = re.compile(
    rf"(?<![\w/.-])-({'|'.join(sorted((s.flag for s in SETTINGS), key=len, reverse=True))})(?![\w-])"
    r"(=|[ ](?=[a-z/]\S*(?:[ ]-|$)))?",
    re.MULTILINE,
)
"""A flag in a message, and whether it has a value there."""
_KEY_OF = {setting.flag: setting.key for setting in SETTINGS}


def check(key: str, value: Any) -> bool:
    """Raise what is wrong with one value where it stands, rather than where the bundle does."""
    if key == "compress":
        bundle.parse_compression(value)
    elif key == "part-size":
        bundle.parse_size(value)
    elif key == "jobs" and not 1 <= value <= bundle.MAX_JOBS:
        raise UsageError(f"invalid value {value} for -j: use a number from 1 to {bundle.MAX_JOBS}")
    elif key == "retry" and value < 0:
        raise UsageError(f"invalid value {value} for -retry: use 0 or more")
    elif key == "arch":
        unknown = bundle.unknown_architectures(bundle.parse_platforms(value, ""))
        for name in unknown:
            log.warning("'%s' is no architecture that images are usually made for", name)
    elif key == "referrer-types":
        bundle.parse_artifact_types(value)
    elif key == "os":
        bundle.parse_platforms("all", value)
    elif key == "source":
        settings.check_source(value)
    return True


def asked_platforms(values: Settings) -> PlatformFilter:
    """As ``settings.platforms``, without a warning: there would be one for each image."""
    return bundle.parse_platforms(values.text("arch"), values.text("os"))


def from_text(text: str) -> Any:
    """What a text would be without its quotes, or in an environment variable: a truth value, a whole number, or itself."""
    truths = {"true": True, "false": False}
    if re.fullmatch(r"-?[0-9]{1,9}", text.strip()):
        return int(text)
    return truths.get(text.strip().lower(), text)


def in_keys(error: Exception) -> tuple[str, list[str]]:
    """What an error says of flags, said of the keys of a definition, on one line; and the keys."""
    keys = [_KEY_OF[match[1]] for match in _FLAG.finditer(str(error))]
    text = _FLAG.sub(lambda match: f"{_KEY_OF[match[1]]}: " if match[2] else f"'{_KEY_OF[match[1]]}'", str(error))
    return text.replace("\nTIP: ", "; ").replace("\n", "; "), keys
