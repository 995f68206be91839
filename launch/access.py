"""Who may connect to a server that a command starts, and how it is stopped."""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embodied.errors import ConfigError

if TYPE_CHECKING:
    from embodied.access import Access


class AccessSettings(Protocol):
    """Settings of a command that serves: those of the same names in sim_configs/serve.yaml."""

    host: str
    token_file: str
    token_env: str
    tls_certificate: str
    tls_key: str
    insecure: bool


def access_of(config: AccessSettings, *, known_clients: bool = False) -> "Access":
    """Returns who may connect; `known_clients` have tokens of their own.

    Raises `ConfigError` for bad tokens or certificates, and for unrestricted access.
    """
    from embodied.access import Access, read_token

    if bool(config.tls_certificate) != bool(config.tls_key):
        raise ConfigError("tls_certificate and tls_key must be given together.", value=config.tls_certificate)
    access = Access(
        token=read_token(file=config.token_file, variable=config.token_env),
        certificate=Path(config.tls_certificate) if config.tls_certificate else None,
        key=Path(config.tls_key) if config.tls_key else None,
    )
    if known_clients and access.token:
        raise ConfigError("Either all clients must have one token or each its own, by credentials.")
    access.require_safe(config.host, insecure=config.insecure, known_clients=known_clients)
    access.tls()
    return access


def signalled() -> asyncio.Future[signal.Signals]:
    """Returns a future, of the loop that runs, of the first SIGINT or SIGTERM from now on."""
    stop: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()

    def on_signal(number: signal.Signals) -> None:
        if not stop.done():
            stop.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    return stop
