"""Answers of registries that come in pages.

Source: RFC 8288; distribution-spec 1.1, "Listing Tags", "Listing Referrers".
"""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit, urlunsplit

from pipeline.core.errors import Cause, RegistryError

_LINKS = re.compile(r'<([^>]*)>((?:"[^"]*"|[^",])*)')
"""Target and parameters; commas between quotes or in a target do not end a link."""


def next_path(path: str, header: str, what: str) -> str | None:
    """Path and query of the page after ``path``, on this registry, whatever it calls itself; None after the last one.

    ``header`` is its ``Link``, ``what`` says what cannot be done without. Raises RegistryError for what is no address.
    """
    following = next_link(header)
    if following is None:
        return None
    try:
        rest = urlsplit(urljoin(path, following))
    except ValueError as error:
        shown = ascii(following[:200])
        raise RegistryError(f"{what} to the end: {shown} is not an address", Cause.UNSUPPORTED) from error
    return urlunsplit(("", "", rest.path or "/", rest.query, ""))


def next_link(header: str) -> str | None:
    """The target of ``rel=next`` in ``Link`` (RFC 8288), whatever other links and parameters there are."""
    for target, rest in _LINKS.findall(header):
        pairs = [part.partition("=") for part in rest.split(";")]
        relations = [value.strip().strip('"') for name, _, value in pairs if name.strip().lower() == "rel"]
        if relations and "next" in relations[0].lower().split():
            return str(target)
    return None
