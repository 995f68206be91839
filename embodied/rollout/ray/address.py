"""Where an existing Ray cluster is to be found, and whether anybody answers there."""

import socket
from urllib.parse import urlsplit

from embodied.errors import ConfigError

AUTO = "auto"
PATIENCE_S = 5.0


def host_and_port(address: str) -> tuple[str, int]:
    """Returns what `address`, HOST:PORT, names; an IPv6 host stands in brackets. Raises `ConfigError`."""
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:  # A port that is no number, or out of range; a bracket that is not closed.
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
    """Raises `ConfigError` unless somebody listens at `address` within `PATIENCE_S` seconds; auto is left to Ray.

    Ray itself would ask for minutes.
    """
    if address == AUTO:
        return
    try:
        socket.create_connection(host_and_port(address), timeout=PATIENCE_S).close()
    except (OSError, UnicodeError) as error:  # `UnicodeError`: a host that no name server could be asked for.
        raise unreachable(address, error) from error


def unreachable(address: str, error: Exception) -> ConfigError:
    """Returns the error for a cluster that cannot be joined because of `error`."""
    return ConfigError(
        "The address must be that of a running Ray cluster.",
        value=f"{address}: {error}",
        remedy="Start it with `ray start --head`, and use the address that it shows.",
    )
