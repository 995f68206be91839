"""The address of an existing Ray cluster, and whether a server answers there."""

import os
import socket
import time
from urllib.parse import urlsplit

from embodied.errors import ConfigError

AUTO = "auto"
ANSWER_WITHIN_S = 2.5
# What an HTTP/2 client sends first: the preface and an empty SETTINGS frame (RFC 9113, 3.4). A server, such as the
# gRPC server of Ray, answers with a SETTINGS frame, whose fourth byte is its type.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
FRAME_HEADER_BYTES, FRAME_TYPE, SETTINGS = 9, 3, 4


def host_and_port(address: str) -> tuple[str, int]:
    """Returns what `address`, HOST:PORT, names; an IPv6 host stands in brackets. Raises `ConfigError`."""
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:  # The port is not a number or out of range, or a bracket is not closed.
        host, port = None, None
    if not host or not port or "@" in address or any(sign.isspace() or sign in "/?#" for sign in address):
        raise ConfigError(
            "The address of a cluster must read HOST:PORT, or auto.", value=address, remedy="Such as 10.0.0.5:6379."
        )
    return host, port


def check_address(address: str) -> None:
    """Raises `ConfigError` unless `address` reads HOST:PORT or auto."""
    if address != AUTO:
        host_and_port(address)


def require_answer(address: str) -> None:
    """Raises `ConfigError` unless a gRPC server answers at `address` within `ANSWER_WITHIN_S`; auto is left to Ray.

    Ray itself would try for minutes, and a proxy in between accepts connections to servers that do not exist. Where Ray
    uses TLS, an open connection is enough.
    """
    if address == AUTO:
        return
    due_s = time.monotonic() + ANSWER_WITHIN_S
    try:
        with socket.create_connection(host_and_port(address), timeout=ANSWER_WITHIN_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
                _require_settings(connection, due_s)
    except (OSError, UnicodeError) as error:  # `UnicodeError`: a host name that cannot be resolved.
        raise unreachable(address, error) from error


def _require_settings(connection: socket.socket, due_s: float) -> None:
    """Raises `OSError` unless the server answers with an HTTP/2 SETTINGS frame before `due_s`."""
    connection.sendall(GREETING)
    header = b""
    while len(header) < FRAME_HEADER_BYTES:
        connection.settimeout(max(0.01, due_s - time.monotonic()))
        try:
            part = connection.recv(FRAME_HEADER_BYTES - len(header))
        except TimeoutError as error:
            raise TimeoutError("the connection was accepted, but no server answered") from error
        if not part:
            raise ConnectionError("the connection was closed without an answer")
        header += part
    if header[FRAME_TYPE] != SETTINGS:
        raise ConnectionError("another kind of server answered")


def unreachable(address: str, error: Exception) -> ConfigError:
    """Returns the error for a cluster that cannot be joined because of `error`."""
    return ConfigError(
        "The address must be that of a running Ray cluster.",
        value=f"{address}: {error}",
        remedy="Start it with `ray start --head`, and use the address that it shows.",
    )
