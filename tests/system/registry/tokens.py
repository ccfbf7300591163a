"""A real registry whose access a token server controls, as at Docker Hub.

``docker-registry`` checks the tokens itself: JSON web tokens, signed with a key whose certificate it trusts.

Sources: docker.com, "Token Authentication Specification"; RFC 7515, section 4.1.6 (``x5c``).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.client import basic
from tests.support.http_server import HttpHandler, HttpServer
from tests.support.registry import PASSWORD, USER, Registry

SERVICE, ISSUER = "tests", "token server of the tests"


class TokenServer:
    """``asked`` holds the scopes of each request. The next ``expired`` tokens are of yesterday. Anybody may pull."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.bundle = folder / "tokens.pem"
        authority.cert_pem.write_to_path(str(self.bundle))
        issued = authority.issue_cert("tokens.example")
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        certificates = [x509.load_pem_x509_certificate(pem.bytes()) for pem in issued.cert_chain_pems]
        self._chain = [base64.b64encode(each.public_bytes(serialization.Encoding.DER)).decode() for each in certificates]
        self.asked: list[list[str]] = []
        self.expired = 0
        self._server = HttpServer(self._handler())
        self._server.start()

    @property
    def realm(self) -> str:
        return f"http://{self._server.host}/token"

    def close(self) -> None:
        self._server.close()

    def token(self, scopes: list[str], is_known: bool) -> str:
        self.asked.append(scopes)
        now = int(time.time())
        if self.expired > 0:
            self.expired -= 1
            now -= 24 * 3600
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            given = [each for each in actions.split(",") if is_known or each == "pull"]
            access.append({"type": kind, "name": name, "actions": given})
        claims = {"iss": ISSUER, "sub": USER if is_known else "", "aud": SERVICE, "nbf": now - 10, "iat": now, "exp": now + 300}
        head = _encoded({"typ": "JWT", "alg": "ES256", "x5c": self._chain})
        signed = f"{head}.{_encoded({**claims, 'jti': str(len(self.asked)), 'access': access})}"
        first, second = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64(first.to_bytes(32, 'big') + second.to_bytes(32, 'big'))}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(HttpHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                given = self.headers.get("Authorization", "")
                if given and given != basic(USER, PASSWORD):
                    status, document = 401, {"errors": [{"message": "who are you?"}]}
                else:
                    token = owner.token(query.get("scope", []), bool(given))
                    status, document = 200, {"token": token, "expires_in": 300}  # type: ignore[dict-item]
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        return Handler


class TokenRegistry(Registry):
    """Asks for tokens of ``server``."""

    def __init__(self, folder: Path, server: TokenServer) -> None:
        self.server = server
        super().__init__(folder)

    def _config(self) -> dict[str, Any]:
        rules = {"realm": self.server.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(self.server.bundle)}
        return {**super()._config(), "auth": {"token": rules}}


@contextmanager
def token_registry(folder: Path) -> Iterator[TokenRegistry]:
    server = TokenServer(folder)
    try:
        registry = TokenRegistry(folder, server)
        with registry:
            yield registry
    finally:
        server.close()


def _encoded(document: object) -> str:
    return _base64(json.dumps(document).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
