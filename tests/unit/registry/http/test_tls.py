"""TLS contexts: whom a host is asked to prove itself to, and that the system's authorities are read once."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from pipeline.core.errors import EnvironmentProblem
from pipeline.registry.http.tls import Certificates


def test_hosts_without_files_of_their_own_share_a_context(tmp_path: Path) -> None:
    certificates = Certificates(None)
    one, two = (certificates.context(host, host, False) for host in ("one.example", "two.example:5000"))
    assert one is two is certificates.context("one.example", "cdn.example", False)
    assert (one.verify_mode, one.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_host_with_an_authority_of_its_own(clean_environment: Path) -> None:
    folder = Path.home() / ".config/containers/certs.d/own.example"
    folder.mkdir(parents=True)
    trustme.CA().cert_pem.write_to_path(str(folder / "ca.crt"))
    certificates = Certificates(None)
    own, other = (certificates.context(host, host, False) for host in ("own.example", "other.example"))
    assert own is not other
    assert own.cert_store_stats()["x509_ca"] == other.cert_store_stats()["x509_ca"] + 1
    assert certificates.context("own.example", "cdn.example", False) is own, "where it leads, it is trusted, too"


def test_where_any_certificate_will_do_no_authority_is_read() -> None:
    context = Certificates(None).context("r.example", "r.example", True)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    assert context.cert_store_stats()["x509_ca"] == 0


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(EnvironmentProblem, match=r"ca\.crt is not a certificate"):
        Certificates(tmp_path).context("r.example", "r.example", False)
