"""Serves a policy to other processes and machines: `python -m launch.serve policy=NAME port=8000`."""

import asyncio
import hashlib
import json
import signal
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError
from embodied.plugins.sources import source_digest
from launch import cli, schema
from launch.access import access_of, signalled
from launch.arguments import Arguments, names_of
from launch.parts import policy_options

if TYPE_CHECKING:
    from embodied.serving import Identity, PolicyServer, ServingSettings

PACKAGE = "embodied-memory"
MEGABYTE = 2**20
MILLI = 1000.0


@dataclass(kw_only=True)
class ServeConfig:
    """All settings of `python -m launch.serve`; what they mean stands in sim_configs/serve.yaml."""

    policy: Any = MISSING
    policy_options: Any = MISSING
    host: str = "127.0.0.1"
    port: int = 8000
    window_ms: float = 5.0
    batch: int = 32
    threads: int = 1
    bank: str = ""
    token_file: str = ""
    token_env: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    insecure: bool = False
    connections: int = 64
    sessions: int = 256
    session_idle_s: float = 3600.0
    session_mb: int = 1024
    message_mb: int = 16
    drain_s: float = 10.0

    def settings(self) -> "ServingSettings":
        """Returns them as the server wants them. Raises `ConfigError` for values out of range."""
        from embodied.serving import ServingSettings

        return ServingSettings(
            host=self.host,
            port=self.port,
            window_s=self.window_ms / MILLI,
            batch=self.batch,
            threads=self.threads,
            connections=self.connections,
            sessions=self.sessions,
            session_idle_s=self.session_idle_s,
            session_bytes=self.session_mb * MEGABYTE,
            message_bytes=self.message_mb * MEGABYTE,
            drain_s=self.drain_s,
        )


def serve(composed: cli.Composed) -> None:
    """Serves until SIGTERM, which exits with 0, or SIGINT, which exits with 130. Raises `ConfigError` and others."""
    from embodied.memory import open_bank, require_openable
    from embodied.serving import PolicyServer, SessionMoments

    config: ServeConfig = composed.config
    settings, access = config.settings(), access_of(config)
    (name,) = _one_name(config.policy)
    builder = schema.chosen_policies([name], config.policy_options)[name]
    if config.bank:
        require_openable(config.bank)
    with ExitStack() as kept:
        moments: SessionMoments | None = None
        if config.bank:
            moments = SessionMoments(kept.enter_context(open_bank(config.bank)))
        server = PolicyServer(builder, identity_of(name, builder), settings, access, moments)
        stopped_by = asyncio.run(_run(server, name))
    cli.print_text("Stopped.")
    if stopped_by is signal.SIGINT:
        raise SystemExit(cli.INTERRUPTED)


def identity_of(name: str, builder: object) -> "Identity":
    """Returns what a server states of a policy: runs of clients are resumed only where all of it is the same.

    Weights are named by their digest, a policy without weights by the digest of its settings. The version is of this
    package, followed by a digest of the source in which the policy's settings lie.
    """
    from embodied.serving import Identity

    own = getattr(builder, "decisive", None) or asdict(builder)  # type: ignore[call-overload]
    settings = json.dumps(own, sort_keys=True, default=str)
    weights = getattr(builder, "digest", "") or hashlib.sha256(settings.encode()).hexdigest()
    code = source_digest(type(builder).__module__.partition(".")[0])
    return Identity(name, f"{version(PACKAGE)}+{code[:12]}", weights)


async def _run(server: "PolicyServer", name: str) -> signal.Signals:
    """Serves until a signal comes, and returns which."""
    stop = signalled()
    await server.start()
    cli.print_text(f"Serving {name} at {server.url}")
    number = await stop
    await server.stop()
    return number


def _one_name(value: object) -> list[str]:
    names = names_of(value, "policy")
    if len(names) != 1:
        raise ConfigError("One policy must be served.", value=names, remedy="Start a server for each, on its own port.")
    return names


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schema to which sim_configs/serve.yaml refers. Raises as `schema.register`."""
    schema.register(arguments)
    ConfigStore.instance().store(name="serve_schema", node=ServeConfig(policy_options=policy_options(arguments)()))


def main() -> None:
    """Starts the command line with the settings of sim_configs/serve.yaml."""
    cli.enter(serve, config_name="serve", register=register)


if __name__ == "__main__":
    main()
