"""Access to a server: only this machine by default, other machines with a token over TLS.

Servers of policies and of memory banks share these rules, and so do their clients.
"""

import base64
import hmac
import os
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from embodied.errors import ConfigError

SCHEMES = ("Api-Key", "Bearer", "Basic")
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Access:
    """A token, "" for none, and the files of a TLS certificate and its key, None without TLS.

    The token never appears in `repr`, errors, logs or metadata.
    """

    token: str = field(default="", repr=False)
    certificate: Path | None = None
    key: Path | None = None

    def require_safe(self, host: str, *, insecure: bool, known_clients: bool = False) -> None:
        """Raises `ConfigError` if other machines can reach `host` without a token and TLS, unless `insecure`.

        With `known_clients` each client has a token of its own.
        """
        if is_loopback(host) or insecure or ((self.token or known_clients) and self.certificate is not None):
            return
        raise ConfigError(
            "A server that other machines can reach must have a token and TLS.",
            value=host,
            remedy="Set token_file or token_env, tls_certificate and tls_key; or host=127.0.0.1; or insecure=true in a "
            "network that you trust.",
        )

    def admits(self, authorization: str) -> bool:
        """Returns whether the header `Authorization` holds the token, compared in constant time.

        `Basic` holds it as the password of any user: so clients send it that take nothing but a URL, such as vla-eval's
        (`wss://user:TOKEN@host:port/vla-eval`).
        """
        if not self.token:
            return True
        return hmac.compare_digest(given_token(authorization), self.token.encode())

    def tls(self) -> ssl.SSLContext | None:
        """Returns the context of TLS, None without a certificate. Raises `ConfigError` for files that do not fit."""
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                "tls_certificate and tls_key must be PEM files that belong together.",
                value=str(self.certificate),
                remedy=str(error),
            ) from error
        return context


def given_token(authorization: str) -> bytes:
    """Returns the token in a header `Authorization`, b"" where there is none that can be read."""
    scheme, _, given = authorization.partition(" ")
    if scheme not in SCHEMES:
        return b""
    return _password(given) if scheme == "Basic" else given.strip().encode()


def _password(credentials: str) -> bytes:
    """Returns the password of credentials as RFC 7617 writes them, b"" where they are malformed."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return b""


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(*, file: str = "", variable: str = "") -> str:
    """Returns the token in the first line of `file` or in the environment variable `variable`, "" if neither is named.

    Raises `ConfigError` for both at once, and for a token that is missing or shorter than 16 characters.
    """
    if file and variable:
        raise ConfigError("A token must come from token_file or token_env, not both.")
    if not file and not variable:
        return ""
    if file:
        try:
            lines = Path(file).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("token_file must be a text file that can be read.", value=file) from error
        token = lines[0].strip() if lines else ""
    else:
        token = os.environ.get(variable, "").strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise ConfigError(
            f"A token must have at least {SHORTEST_TOKEN} printable characters.",
            value=file or variable,
            remedy="Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'.",
        )
    return token


def trusting(certificate: str, what: str = "tls_certificate") -> ssl.SSLContext:
    """Returns a client's context that trusts the authorities of the system and `certificate`, PEM text, "" for none.

    Raises `ConfigError` where the text, that of the setting `what`, holds no certificate.
    """
    context = ssl.create_default_context()
    if certificate:
        try:
            context.load_verify_locations(cadata=certificate)
        except ssl.SSLError as error:
            raise ConfigError(f"{what} must be a PEM file with a certificate.", remedy=f"{error}.") from error
    return context
