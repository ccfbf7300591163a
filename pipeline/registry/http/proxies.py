"""Which proxy a host is asked through, read from the environment as Go's programs read it.

``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``, upper case before lower case. ``NO_PROXY`` lists hosts, domains, addresses and
networks, each with or without a port. Loopback hosts are never asked through a proxy.

Source: golang.org/x/net/http/httpproxy, ``proxy.go``.
"""

from __future__ import annotations

import base64
import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pipeline.core.errors import Cause, EnvironmentProblem, RegistryError
from pipeline.core.redact import redact


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy. ``login`` is the value of ``Proxy-Authorization``, or empty."""

    host: str
    port: int
    login: str = ""


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """The proxy for ``scheme`` (``http`` or ``https``) and a host, or None.

    Raises RegistryError for one that only skopeo can use (SOCKS, or reached by TLS), EnvironmentProblem for none.
    """
    text = _variable(f"{scheme}_proxy")
    if not text or _is_loopback(host) or _is_excluded(host.lower().rstrip("."), port, _variable("no_proxy")):
        return None
    return _parse(text, f"{scheme.upper()}_PROXY")


def _variable(name: str) -> str:
    return os.environ.get(name.upper()) or os.environ.get(name, "")


def _parse(text: str, variable: str) -> Proxy:
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        if url.scheme in ("https", "socks5", "socks5h") and url.hostname:
            raise RegistryError(
                f"{variable} names a proxy that only skopeo can use, {redact(text)}",
                Cause.UNSUPPORTED,
                tip="'save' has skopeo fetch through it; other commands need an http:// proxy, or the host in NO_PROXY",
            )
        if url.scheme != "http" or not url.hostname:
            raise ValueError("its address begins with http://, https:// or socks5://")
        secret = f"{unquote(url.username)}:{unquote(url.password or '')}" if url.username is not None else ""
        login = "Basic " + base64.b64encode(secret.encode()).decode() if secret else ""
        return Proxy(url.hostname, url.port or 80, login)
    except ValueError as error:
        raise EnvironmentProblem(f"{variable} names a proxy that cannot be used, {redact(text)}: {error}") from error


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _is_excluded(host: str, port: int, no_proxy: str) -> bool:
    address = _address(host)
    return any(_matches(entry.strip().lower(), host, address, port) for entry in no_proxy.split(","))


def _matches(entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, its_port = _split_port(entry)
    if not name or (its_port and its_port != str(port)):
        return False
    if (excluded := _address(name)) is not None:
        return address == excluded
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, str]:
    """``host:port``, ``[address]:port``, or one without a port; an IPv6 address needs no brackets then."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    return (entry, "") if entry.count(":") > 1 else (entry.partition(":")[0], entry.partition(":")[2])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
