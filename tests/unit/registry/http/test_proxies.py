"""Proxies, as Go's programs read them (golang.org/x/net/http/httpproxy, ``TestUseProxy``)."""

from __future__ import annotations

import pytest

from pipeline.core.errors import Cause, EnvironmentProblem, RegistryError
from pipeline.registry.http.proxies import Proxy, proxy_for

NO_PROXY = (
    "foobar.com, .barbaz.net, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, 2001:db8::52:0:1, "
    "[2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64, *.wild.io"
)
"""That of Go's own test, and a wildcard."""


@pytest.mark.parametrize(
    ("host", "is_used"),
    [
        ("localhost", False),
        ("127.0.0.1", False),
        ("127.0.0.2", False),
        ("::1", False),
        ("::2", True),
        ("barbaz.net", True),
        ("www.barbaz.net", False),
        ("foobar.com", False),
        ("www.foobar.com", False),
        ("foofoobar.com", True),
        ("baz.com", True),
        ("localhost.net", True),
        ("local.localhost", True),
        ("192.168.1.1", False),
        ("192.168.1.2", True),
        ("192.168.1.3", False),
        ("192.168.1.4", True),
        ("10.0.0.2", False),
        ("10.0.0.4", True),
        ("2001:db8::52:0:1", False),
        ("2001:db8::52:0:2", True),
        ("2001:db8::52:0:3", False),
        ("2002:db8:a::123", False),
        ("fe80::424b:c8be:1643:a1b6", True),
        ("a.wild.io", False),
        ("wild.io", True),
        ("FOOBAR.COM", False),
    ],
)
def test_what_is_excluded(monkeypatch: pytest.MonkeyPatch, host: str, is_used: bool) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", NO_PROXY)
    assert (proxy_for("http", host, 80) is not None) == is_used


@pytest.mark.parametrize("text", ["*", " * ", "x.io,*"])
def test_everything_is_excluded(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example")
    monkeypatch.setenv("no_proxy", text)
    assert proxy_for("https", "r.io", 443) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("proxy.example", Proxy("proxy.example", 80)),
        ("proxy.example:3128", Proxy("proxy.example", 3128)),
        ("http://[::1]:3128/", Proxy("::1", 3128)),
        ("http://me:se%40cret@proxy.example", Proxy("proxy.example", 80, "Basic bWU6c2VAY3JldA==")),
    ],
)
def test_addresses(monkeypatch: pytest.MonkeyPatch, text: str, expected: Proxy) -> None:
    monkeypatch.setenv("HTTPS_PROXY", text)
    monkeypatch.setenv("https_proxy", "http://not.me")
    assert proxy_for("https", "r.io", 443) == expected
    assert proxy_for("http", "r.io", 80) is None


@pytest.mark.parametrize(
    "text", ["socks5://me:secret@proxy.example", "socks5h://proxy.example", "https://me:secret@proxy.example"]
)
def test_those_that_only_skopeo_can_use(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", text)
    with pytest.raises(RegistryError, match="HTTPS_PROXY names a proxy that only skopeo can use") as caught:
        proxy_for("https", "r.io", 443)
    assert caught.value.cause is Cause.UNSUPPORTED
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["ftp://me:secret@proxy.example", "https://", "http://", "http://x:port"])
def test_those_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", text)
    with pytest.raises(EnvironmentProblem, match="HTTPS_PROXY names a proxy that cannot be used") as caught:
        proxy_for("https", "r.io", 443)
    assert "secret" not in str(caught.value)
