"""Merges the shards of an evaluation into one: `python -m launch.merge SHARD... output=DIR`."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError
from launch import cli
from launch.arguments import Arguments
from launch.folders import folder_arguments


@dataclass(kw_only=True)
class MergeConfig:
    """All settings of `python -m launch.merge`."""

    shards: list[str] = field(default_factory=list)
    output: str = MISSING


def merge(composed: cli.Composed) -> None:
    """Merges the shards, and prints the table of the whole run. Raises `ShardError`, `ConfigError`."""
    from embodied.evaluation.merging import merge as run
    from embodied.evaluation.report import terminal_table

    config: MergeConfig = composed.config
    if not config.shards:
        raise ConfigError("At least one shard must be named.", remedy="python -m launch.merge SHARD... output=DIR")
    output = cli.job_folder(config.output)
    results = run([Path(folder) for folder in config.shards], output=output)
    cli.print_text(f"\n{terminal_table(results)}\n\nReport: {output / 'report.html'}")


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schema to which sim_configs/merge.yaml refers."""
    del arguments
    ConfigStore.instance().store(name="merge_schema", node=MergeConfig)


def main() -> None:
    """Starts the command line with the settings of sim_configs/merge.yaml; folders may be given by themselves."""
    folders, rest = folder_arguments(sys.argv[1:])
    sys.argv[1:] = [*([f"shards=[{','.join(folders)}]"] if folders else []), *rest]
    cli.enter(merge, config_name="merge", register=register)


if __name__ == "__main__":
    main()
