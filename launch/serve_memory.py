"""Serves a memory bank to robots on other machines: `python -m launch.serve_memory url=sqlite:///site.db port=8100`."""

import asyncio
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError
from embodied.memory import (
    BankService,
    Credentials,
    OwnedError,
    bank_path,
    open_bank,
    opened_when_free,
    prepare_owner_process,
    require_openable,
)
from embodied.prometheus import metrics_served
from launch import cli
from launch.access import access_of, signalled
from launch.arguments import Arguments

if TYPE_CHECKING:
    from embodied.memory.service.socket_server import SocketServer


@dataclass(kw_only=True)
class ServeMemoryConfig:
    """All settings of `python -m launch.serve_memory`; what they mean stands in sim_configs/serve_memory.yaml."""

    url: str = MISSING
    root: str = ""
    host: str = "127.0.0.1"
    port: int = 8100
    credentials: str = ""
    token_file: str = ""
    token_env: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    insecure: bool = False
    connections: int = 512
    events_per_s: float = 500.0
    burst_events: float = 10_000.0
    wait_s: float = 60.0
    metrics_port: int | None = None


def serve_memory(composed: cli.Composed) -> None:
    """Serves until SIGTERM, which exits with 0, or SIGINT, which exits with 130. Raises `ConfigError` and others."""
    from embodied.memory.service.socket_server import SocketServer, require_usable
    from embodied.memory.service.socket_settings import SocketSettings

    config: ServeMemoryConfig = composed.config
    root = Path(config.root) if config.root else None
    settings = SocketSettings(
        host=config.host,
        port=config.port,
        connections=config.connections,
        events_per_s=config.events_per_s,
        burst_events=config.burst_events,
        insecure=config.insecure,
    )
    credentials = Credentials(Path(config.credentials)) if config.credentials else None
    access = access_of(config, known_clients=credentials is not None)
    if bank_path(config.url, root=root) is None:
        raise ConfigError("A bank that is served must lie in a file.", value=config.url, remedy="Write sqlite:///FILE.")
    with suppress(OwnedError):  # It may be free again by the time that all else is known to be in order.
        require_openable(config.url, root=root)
    require_usable(settings)
    bank = opened_when_free(
        lambda: open_bank(config.url, root=root),
        wait_s=config.wait_s,
        on_wait=lambda error: cli.print_text(f"Waiting up to {config.wait_s:g} s for the bank: {error}"),
    )
    with BankService(bank) as service, ExitStack() as kept:
        if config.metrics_port is not None:
            url = kept.enter_context(metrics_served(service.metrics, config.metrics_port))
            cli.print_text(f"Metrics for Prometheus: {url}")
        stopped_by = asyncio.run(_run(SocketServer(service, settings, access, credentials), config.url))
    cli.print_text("Stopped.")
    if stopped_by is signal.SIGINT:
        raise SystemExit(cli.INTERRUPTED)


async def _run(server: "SocketServer", url: str) -> signal.Signals:
    """Serves until a signal comes, and returns which."""
    stop = signalled()
    await server.start()
    prepare_owner_process()
    cli.print_text(f"Serving {url} at {server.url}")
    number = await stop
    await server.stop()
    return number


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schema to which sim_configs/serve_memory.yaml refers."""
    del arguments
    ConfigStore.instance().store(name="serve_memory_schema", node=ServeMemoryConfig)


def main() -> None:
    """Starts the command line with the settings of sim_configs/serve_memory.yaml."""
    cli.enter(serve_memory, config_name="serve_memory", register=register)


if __name__ == "__main__":
    main()
