"""Names the clients of a memory bank: `python -m launch.credentials add|remove|list file=clients.json name=panda`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError
from embodied.memory import ClientRights, Role, add_credential, read_credentials, remove_credential
from launch import cli
from launch.arguments import Arguments


class CredentialsCommand(Enum):
    """The commands."""

    add = "add"
    remove = "remove"
    list = "list"


@dataclass(kw_only=True)
class CredentialsConfig:
    """All settings of `python -m launch.credentials`; what they mean stands in sim_configs/credentials.yaml."""

    what: CredentialsCommand = MISSING
    file: str = MISSING
    name: str = ""
    role: Role = Role.ROBOT
    writers: list[str] = field(default_factory=list)
    robots: list[str] = field(default_factory=list)


def credentials(composed: cli.Composed) -> None:
    """Runs one command on a file of credentials. Raises `ConfigError` and `UnknownNameError`."""
    config: CredentialsConfig = composed.config
    for line in _lines(config, Path(config.file)):
        cli.print_text(line)


def _lines(config: CredentialsConfig, path: Path) -> Iterator[str]:
    if config.what is CredentialsCommand.list:
        for one in read_credentials(path):
            further = [f"writers={list(one.writers)}"] * bool(one.writers) + [f"robots={list(one.robots)}"] * bool(
                one.robots
            )
            yield " ".join([f"{one.name:<24}", f"{one.role.value:<8}", *further]).rstrip()
        return
    if not config.name:
        raise ConfigError("A client must be named.", value="name=''", remedy="Write name=panda.")
    if config.what is CredentialsCommand.remove:
        remove_credential(path, config.name)
        yield f"{config.name} can no longer connect."
        return
    client = ClientRights(config.name, config.role, tuple(config.writers), tuple(config.robots))
    token = add_credential(path, client)
    yield f"The token of {config.name}, which is shown only now and kept nowhere; an older one has ended:"
    yield token


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schema to which sim_configs/credentials.yaml refers."""
    del arguments
    ConfigStore.instance().store(name="credentials_schema", node=CredentialsConfig)


def main() -> None:
    """Starts the command line with the settings of sim_configs/credentials.yaml; `what=` may be left out."""
    cli.enter_command(credentials, config_name="credentials", register=register)


if __name__ == "__main__":
    main()
